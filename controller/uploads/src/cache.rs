//! Remembers in the store which layers a registry already has, so that pushing a layer again sends nothing. Entries are
//! hints: if the store fails, the layer is sent again.

use cofferdam_core::chain;
use cofferdam_registry::push::cache::LayerCache;
use cofferdam_store::Store;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub(crate) struct StoreCache {
    store: Store,
}

impl StoreCache {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

fn warn(action: &str, error: &cofferdam_store::Error) {
    tracing::warn!(error = %chain(error), "cannot {action} the layer cache");
}

impl LayerCache for StoreCache {
    fn get<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, Option<String>> {
        let known = self.store.layer_hint(scope, key);
        async move {
            known.await.unwrap_or_else(|error| {
                warn("read", &error);
                None
            })
        }
        .boxed()
    }

    fn put<'a>(&'a self, scope: &'a str, key: &'a str, value: String) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.store.put_layer_hint(scope, key, &value).await {
                warn("write", &error);
            }
        }
        .boxed()
    }

    fn forget<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.store.delete_layer_hint(scope, key).await {
                warn("write", &error);
            }
        }
        .boxed()
    }
}
