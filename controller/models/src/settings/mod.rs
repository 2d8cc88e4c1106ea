//! Settings of organizations and of the operator: upstreams, aliases, rules, budgets, prices and privacy. Documents in the
//! store become one [`Catalogue`] for each organization, which calls read from memory.
//!
//! Never shows a key, and never a document of one organization to another. Start reading at `catalogue.rs`.

mod alias;
mod broken;
mod cache;
mod catalogue;
mod change;
mod costs;
mod document;
mod dollars;
mod error;
mod keys;
mod operator;
mod pattern;
mod price;
mod rule;
mod unique;
mod upstreams;

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{ConfigError, Vault};
use cofferdam_store::Store;
use cofferdam_upstreams::{Net, Owner, Upstream};
use tokio_util::sync::CancellationToken;

pub use cofferdam_upstreams::{TestReport, UpstreamSpec};

pub use alias::{AliasSpec, Choice, Step};
pub use broken::Broken;
pub use catalogue::Catalogue;
pub use costs::ModelCost;
pub use document::{Document, DocumentKind, DocumentOwner, Spec};
pub use dollars::Dollars;
pub use error::Error;
pub use keys::{KeyEntry, NamedSecrets, NoSecrets, SecretError};
pub use operator::{ModelsFile, OperatorModels, OperatorUpstream};
pub use price::{LongPrice, PriceSpec, PriceTable, Prices};
pub use rule::{Privacy, RuleSpec, Subject};
pub use unique::Unique;
pub use upstreams::{PutUpstream, UpstreamDocument};

use cache::Cache;
use catalogue::Shared;

/// The table of prices that the program brings.
const BUILT_IN_PRICES: &str = include_str!("prices.toml");

/// The settings of all organizations.
pub struct Settings {
    store: Store,
    cache: Cache,
}

impl Settings {
    /// Makes the operator's upstreams; organizations' documents are read when they are needed.
    ///
    /// # Errors
    /// One of the operator's upstreams cannot be made, or an alias of the operator's names a model that none of them serves.
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        secrets: Arc<dyn NamedSecrets>,
        operator: OperatorModels,
        net: Net,
    ) -> Result<Arc<Self>, ConfigError> {
        let mut upstreams = BTreeMap::new();
        for OperatorUpstream { name, spec, keys } in &operator.upstreams {
            let made = Upstream::new(name, Owner::Operator, spec.clone(), keys.clone(), &net);
            let made = made.map_err(|why| ConfigError::value(format!("the upstream {name}"), why))?;
            upstreams.insert(name.clone(), made);
        }
        for (name, alias) in &operator.aliases {
            for (at, model) in alias.models() {
                change::check_served(&upstreams, model)
                    .map_err(|why| ConfigError::value(format!("models.aliases, {name:?}: chain[{at}]"), why))?;
            }
        }
        let built_in = Arc::new(operator::price_table("the built-in prices", BUILT_IN_PRICES)?);
        let shared = Shared { vault, secrets, net, operator, upstreams, built_in };
        Ok(Arc::new(Self { store: store.clone(), cache: Cache::new(store, shared) }))
    }

    /// The organization's catalogue. Waits for the store only if it is not in memory.
    ///
    /// # Errors
    /// The store failed, or a stored secret could not be read.
    pub async fn of(&self, organization: &OrganizationId) -> Result<Arc<Catalogue>, Error> {
        self.cache.load(organization).await
    }

    /// Sees to it that changes of other processes are seen here within a second, until the process ends.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        self.cache.keep(stop).await;
    }

    fn shared(&self) -> &Shared {
        &self.cache.shared
    }
}
