//! What is known of layers that were pushed, kept in the store: a second push of a layer sends nothing. Hints only; where
//! the store fails, a layer is sent once more.

use cofferdam_registry::push::cache::LayerCache;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::Error;
use crate::store::Store;

pub struct StoreCache {
    store: Store,
}

impl StoreCache {
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

fn log(what: &str, error: &Error) {
    tracing::warn!(error = %error.chain(), "the layers' cache could not be {what}");
}

impl LayerCache for StoreCache {
    fn get<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, Option<String>> {
        let known = self.store.layer_hint(scope, key);
        async move {
            known.await.unwrap_or_else(|error| {
                log("read", &error);
                None
            })
        }
        .boxed()
    }

    fn put<'a>(&'a self, scope: &'a str, key: &'a str, value: String) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.store.put_layer_hint(scope, key, &value).await {
                log("written", &error);
            }
        }
        .boxed()
    }

    fn forget<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.store.delete_layer_hint(scope, key).await {
                log("written", &error);
            }
        }
        .boxed()
    }
}
