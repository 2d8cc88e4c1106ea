//! The keys in memory, so that no call waits for the database to know its caller. Refreshed in the background: a key
//! that is revoked here is gone at once, one that is revoked by another controller within [`REFRESH`].

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use tokio::sync::Mutex;

use super::key::{Hash, hash, hex};
use super::scope::Scopes;
use crate::Error;
use crate::store::{KeyRow, Store};

/// How often the keys are read again.
pub const REFRESH: Duration = Duration::from_secs(10);
/// The most keys that are kept in memory; others are looked up at each call.
const MOST: i64 = 10_000;

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub key: String,
    pub organization: OrganizationId,
    pub scopes: Scopes,
}

impl From<&KeyRow> for Caller {
    fn from(row: &KeyRow) -> Self {
        Self { key: row.id.clone(), organization: row.organization.clone(), scopes: Scopes::from_text(&row.scopes) }
    }
}

pub struct Keyring {
    store: Store,
    known: RwLock<HashMap<String, Arc<Caller>>>,
    /// Held while the store is read or changed: a key cannot come back by a read that began before it was revoked, and
    /// guessing callers make the database do one thing at a time.
    changing: Mutex<()>,
}

impl Keyring {
    /// # Errors
    /// Where the store cannot be read.
    pub async fn load(store: Store) -> Result<Self, Error> {
        let keyring = Self { store, known: RwLock::default(), changing: Mutex::new(()) };
        keyring.refresh().await?;
        Ok(keyring)
    }

    /// Reads the keys again.
    ///
    /// # Errors
    /// Where the store cannot be read; the keys known before stay.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _turn = self.changing.lock().await;
        let rows = self.store.all_keys(MOST).await?;
        let known = rows.iter().map(|row| (row.hash.clone(), Arc::new(Caller::from(row)))).collect();
        *self.known.write().unwrap_or_else(|e| e.into_inner()) = known;
        Ok(())
    }

    /// The caller whose key this is. The text is compared by its hash, so the time tells nothing of other keys.
    ///
    /// # Errors
    /// Where the store fails for a key that is not in memory.
    pub async fn find(&self, key: &str) -> Result<Option<Arc<Caller>>, Error> {
        let digest: Hash = hash(key);
        let hex = hex(&digest);
        if let Some(caller) = self.known.read().unwrap_or_else(|e| e.into_inner()).get(&hex) {
            return Ok(Some(Arc::clone(caller)));
        }
        let _turn = self.changing.lock().await;
        let Some(row) = self.store.key_by_hash(&hex).await? else { return Ok(None) };
        let caller = Arc::new(Caller::from(&row));
        self.remember(&row);
        Ok(Some(caller))
    }

    pub fn remember(&self, row: &KeyRow) {
        let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
        if known.len() < usize::try_from(MOST).unwrap_or(usize::MAX) {
            known.insert(row.hash.clone(), Arc::new(Caller::from(row)));
        }
    }

    /// Revokes a key in the store and forgets it; whether there was one.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn revoke(&self, organization: &OrganizationId, id: &str) -> Result<bool, Error> {
        let _turn = self.changing.lock().await;
        let revoked = self.store.revoke_key(organization, id).await?;
        if revoked {
            self.known.write().unwrap_or_else(|e| e.into_inner()).retain(|_, caller| caller.key != id);
        }
        Ok(revoked)
    }
}
