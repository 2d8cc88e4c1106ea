//! Settings over a real store: on SQLite, and on PostgreSQL if `COFFERDAM_TEST_DATABASE_URL` names one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod documents;
mod operator;
mod snapshots;
mod upstreams;

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Failure, Source, Vault};
use cofferdam_models::Settings;
use cofferdam_models::settings::{Error, ModelsFile, NamedSecrets, OperatorModels, SecretError};
use cofferdam_store::Store;
use cofferdam_testkit::database::On;
use cofferdam_upstreams::Net;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Secrets in memory: each with the host that it may be sent to.
#[derive(Default)]
struct Named(Mutex<BTreeMap<String, (String, String)>>);

impl NamedSecrets for Named {
    fn open<'a>(
        &'a self,
        organization: &'a OrganizationId,
        name: &'a str,
        host: &'a str,
        _: u16,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, SecretError>> {
        Box::pin(async move {
            match self.0.lock().get(name) {
                _ if *organization != own() => Err(SecretError::Refused(format!("there is no secret {name:?}"))),
                Some((_, value)) if value == "down" => Err(SecretError::Unavailable("the store is down".to_owned())),
                Some((only, value)) if only == host => Ok(Zeroizing::new(value.clone())),
                Some(_) => Err(SecretError::Refused(format!("{name:?} is not for {host}"))),
                None => Err(SecretError::Refused(format!("there is no secret {name:?}"))),
            }
        })
    }
}

/// A store with what belongs to it.
struct Ground {
    store: Store,
    vault: Arc<Vault>,
    secrets: Arc<Named>,
    folder: TempDir,
}

impl Ground {
    fn settings(&self, operator: OperatorModels) -> Arc<Settings> {
        let secrets = Arc::clone(&self.secrets) as Arc<dyn NamedSecrets>;
        let net = Net::new(Vec::new(), Vec::new());
        Settings::new(self.store.clone(), Arc::clone(&self.vault), secrets, operator, net).unwrap()
    }
}

/// Runs a test on a new database of each kind.
async fn on_each(test: impl AsyncFn(&Ground)) {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let config = on.database(&folder).await;
        let store = Store::open(&config).await.unwrap();
        store.ensure_organization(&own()).await.unwrap();
        store.ensure_organization(&stranger()).await.unwrap();
        let vault = Arc::new(Vault::open(None, folder.path()).unwrap());
        let ground = Ground { store, vault, secrets: Arc::default(), folder };
        test(&ground).await;
        ground.store.close().await;
    }
}

fn own() -> OrganizationId {
    OrganizationId::parse("acme").unwrap()
}

fn stranger() -> OrganizationId {
    OrganizationId::parse("stranger").unwrap()
}

/// The operator's documents from the text of a file and variables.
fn operator(text: &str, variables: &[(&str, &str)]) -> Result<OperatorModels, String> {
    let file: ModelsFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    OperatorModels::parse(&file, &Source::new(&env)).map_err(|error| error.to_string())
}

/// An upstream `openai` of the operator's, without a list of models.
fn with_openai() -> OperatorModels {
    operator("", &[("OPENAI_API_KEY", "sk-of-the-operator-1")]).unwrap()
}

/// The kind and the detail of a refusal.
fn refusal<T>(outcome: Result<T, Error>) -> (String, String) {
    let error = outcome.err().expect("it has to be refused");
    let problem = error.refused().unwrap_or_else(|| panic!("{error:?}"));
    (problem.kind().to_owned(), problem.detail.clone())
}
