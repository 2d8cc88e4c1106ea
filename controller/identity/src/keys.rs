//! API keys: create, list, revoke. A key's text leaves this process once, in the response that creates it.

use std::sync::Arc;

use cofferdam_contract::Problem;
use cofferdam_core::{Caller, Scope, Scopes, Secret, now, random_bits};
use cofferdam_store::{Added, KeyRow, Store};

use crate::key::{hash, new_key};
use crate::{Error, Keyring, SERVE_KEY};

/// The longest name of a key, in characters.
const MAX_NAME: usize = 100;

/// The operator's limit for API keys.
#[derive(Debug, Clone, Copy)]
pub struct KeysConfig {
    /// Keys of one organization that are not revoked.
    pub max_per_organization: u64,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { max_per_organization: 1_000 }
    }
}

/// API keys of all organizations.
pub struct Keys {
    store: Store,
    keyring: Arc<Keyring>,
    config: KeysConfig,
}

impl Keys {
    pub fn new(store: Store, keyring: Arc<Keyring>, config: KeysConfig) -> Self {
        Self { store, keyring, config }
    }

    /// Creates a key. It is accepted as soon as this returns.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the name or the scopes, [`Problem::overloaded`] at the limit, or the store failed.
    pub async fn create(&self, caller: &Caller, name: &str, scopes: Vec<Scope>) -> Result<(KeyRow, Secret), Error> {
        if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            let detail = format!("name: 1 to {MAX_NAME} characters, no control characters");
            return Err(Problem::invalid(detail).into());
        }
        if scopes.is_empty() {
            return Err(Problem::invalid("scopes: at least one of admin, deploy, run, read").into());
        }
        let key = new_key()?;
        let row = KeyRow {
            id: format!("key_{:032x}", random_bits()?),
            organization: caller.organization.clone(),
            name: name.to_owned(),
            hash: hex::encode(hash(key.expose())),
            scopes: Scopes::new(scopes).to_text(),
            created_at: now(),
        };
        let max = self.config.max_per_organization;
        if self.store.add_key(&row, max).await? != Added::Done {
            return Err(Problem::overloaded(format!("The organization has {max} API keys; revoke some.")).into());
        }
        self.keyring.remember(&row);
        Ok((row, key))
    }

    /// The organization's keys.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<KeyRow>, Error> {
        Ok(self.store.keys(&caller.organization).await?)
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// [`Problem::not_found`], or [`Problem::conflict`] for the key that the operator sets.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        if id == SERVE_KEY {
            let detail = "This is the key that `cofferdam serve` is given or creates; change it there.";
            return Err(Problem::conflict(detail).into());
        }
        if self.keyring.revoke(&caller.organization, id).await? {
            return Ok(());
        }
        Err(Problem::not_found("There is no such key.").into())
    }
}
