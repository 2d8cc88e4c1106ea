//! Connectors over a store of a test's own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_connectors::{Addresses, CallError, CallOptions, Connectors, Net, Resolve, ToolResult};
use cofferdam_contract::OrganizationId;
use cofferdam_contract::work::{ConnectorAuth, ConnectorSpec};
use cofferdam_core::{Caller, Scope, Scopes, Vault};
use cofferdam_policy::Cidr;
use cofferdam_store::Store;
use cofferdam_testkit::database::On;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::time::Instant;

/// A resolver that knows what a test tells it.
#[derive(Default)]
pub(crate) struct Names(pub(crate) parking_lot::Mutex<BTreeMap<String, Vec<IpAddr>>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a> {
        let found = self.0.lock().get(host).cloned();
        Box::pin(async move { found.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

pub(crate) struct Rig {
    pub(crate) connectors: Arc<Connectors>,
    pub(crate) store: Store,
    pub(crate) vault: Arc<Vault>,
    pub(crate) names: Arc<Names>,
    pub(crate) caller: Caller,
    _folder: TempDir,
}

impl Rig {
    /// Loopback is open.
    pub(crate) async fn new() -> Self {
        Self::on(On::Sqlite, &["127.0.0.0/8"]).await
    }

    pub(crate) async fn on(on: On, private: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let vault = Arc::new(Vault::open(None, folder.path()).unwrap());
        let names = Arc::new(Names::default());
        let caller = Caller::new("key_test", OrganizationId::default_organization(), Scopes::new(vec![Scope::Admin]));
        let connectors = another(&store, &vault, &names, private);
        Self { connectors, store, vault, names, caller, _folder: folder }
    }

    /// Another process on the same store.
    pub(crate) fn another(&self) -> Arc<Connectors> {
        another(&self.store, &self.vault, &self.names, &["127.0.0.0/8"])
    }

    pub(crate) async fn put(&self, spec: ConnectorSpec) {
        self.connectors.put(&self.caller, "x", spec).await.unwrap();
    }

    pub(crate) async fn call(&self, tool: &str) -> Result<ToolResult, CallError> {
        self.call_of(None, tool).await
    }

    pub(crate) async fn call_of(&self, person: Option<&str>, tool: &str) -> Result<ToolResult, CallError> {
        call(&self.connectors, &self.caller, person, tool, Duration::from_secs(20)).await
    }
}

fn another(store: &Store, vault: &Arc<Vault>, names: &Arc<Names>, private: &[&str]) -> Arc<Connectors> {
    let private = private.iter().map(|range| Cidr::parse(range).unwrap()).collect();
    let net = Net::new(private, Vec::new()).with_resolver(Arc::clone(names) as Arc<dyn Resolve>);
    Connectors::new(store.clone(), Arc::clone(vault), net, "http://127.0.0.1:7070".to_owned()).unwrap()
}

pub(crate) async fn call(
    connectors: &Connectors,
    caller: &Caller,
    person: Option<&str>,
    tool: &str,
    time: Duration,
) -> Result<ToolResult, CallError> {
    let options =
        CallOptions { deadline: Instant::now() + time, idempotency_key: "task_1/call_1".to_owned(), progress: None };
    let arguments: Map<String, Value> = Map::from_iter([("x".to_owned(), "1".into())]);
    connectors.call(&caller.organization, "x", person, tool, &arguments, options).await
}

pub(crate) fn spec(url: &str) -> ConnectorSpec {
    ConnectorSpec { url: url.to_owned(), ..ConnectorSpec::default() }
}

pub(crate) fn oauth(url: &str, per_person: bool) -> ConnectorSpec {
    let auth =
        ConnectorAuth::Oauth2 { client_id: None, client_secret: None, issuer: None, scopes: Vec::new(), per_person };
    ConnectorSpec { auth, ..spec(url) }
}
