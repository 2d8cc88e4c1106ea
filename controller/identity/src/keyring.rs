//! The keys in memory, so that no call waits for the database to recognize its caller. A key that is revoked here is
//! rejected at once and one that another controller revokes within a second, and so do its requests end that are under
//! way: [`Keyring::watch`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Scopes, chain, every, now};
use cofferdam_store::{KeyRow, Store};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::key::hash;

/// The time between two reads of all keys.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two looks for keys that another controller has revoked.
const REVOKED_INTERVAL: Duration = Duration::from_millis(500);
/// Keys that were revoked within this time are looked for each time, in seconds: the clocks of controllers differ.
const REVOKED_WINDOW_S: i64 = 120;
/// The most keys kept in memory. Others are looked up in the store at each call.
const MAX_KEYS: usize = 10_000;

fn caller(row: &KeyRow) -> Arc<Caller> {
    Arc::new(Caller {
        key: row.id.clone(),
        organization: row.organization.clone(),
        scopes: Scopes::from_text(&row.scopes),
    })
}

/// The keys in memory.
pub struct Keyring {
    store: Store,
    /// By the key's hash in hex.
    known: RwLock<HashMap<String, Arc<Caller>>>,
    /// By the key's id: cancelled when it is revoked. Keys without requests under way are taken out as others come.
    watched: Mutex<HashMap<String, Arc<CancellationToken>>>,
    /// Held while the store is read or changed. A read that began before a key was revoked cannot bring it back, and
    /// callers that guess keys cause one query at a time.
    changing: AsyncMutex<()>,
}

impl Keyring {
    /// Reads all keys from the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(store: Store) -> Result<Self, Error> {
        let keyring =
            Self { store, known: RwLock::default(), watched: Mutex::default(), changing: AsyncMutex::new(()) };
        keyring.refresh().await?;
        Ok(keyring)
    }

    /// Reads the keys again, every ten seconds, and the revoked ones twice a second, until `stop`. A failure is logged
    /// and the keys known before stay.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let (mut all, mut revoked) = (every(REFRESH_INTERVAL), every(REVOKED_INTERVAL));
        // The first tick is immediate, and the keys have just been loaded.
        all.tick().await;
        loop {
            let read = tokio::select! {
                _ = all.tick() => self.refresh().await,
                _ = revoked.tick() => self.forget_revoked().await,
                () = stop.cancelled() => return,
            };
            if let Err(error) = read {
                tracing::warn!(error = %chain(&error), "reading the keys failed; retrying");
            }
        }
    }

    /// Forgets the keys that any controller has revoked lately.
    async fn forget_revoked(&self) -> Result<(), Error> {
        for id in self.store.revoked_keys(now() - REVOKED_WINDOW_S).await? {
            self.forget(&id);
        }
        Ok(())
    }

    /// Rejects a key from now on, and ends its requests that are under way.
    fn forget(&self, id: &str) {
        let is_known = self.known.read().values().any(|caller| caller.key == id);
        if is_known {
            self.known.write().retain(|_, caller| caller.key != id);
        }
        if let Some(revoked) = self.watched.lock().remove(id) {
            revoked.cancel();
        }
    }

    /// Cancelled when the caller's key is revoked.
    pub fn watch(&self, caller: &Caller) -> Arc<CancellationToken> {
        self.watch_key(&caller.key)
    }

    /// Cancelled when the key with this id is revoked.
    pub(crate) fn watch_key(&self, key: &str) -> Arc<CancellationToken> {
        let mut watched = self.watched.lock();
        if let Some(token) = watched.get(key) {
            return Arc::clone(token);
        }
        if watched.len() == watched.capacity() {
            watched.retain(|_, token| Arc::strong_count(token) > 1);
        }
        let token = Arc::new(CancellationToken::new());
        watched.insert(key.to_owned(), Arc::clone(&token));
        token
    }

    /// Reads the keys again.
    ///
    /// # Errors
    /// The store cannot be read; the keys known before stay.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _turn = self.changing.lock().await;
        let rows = self.store.all_keys(i64::try_from(MAX_KEYS).unwrap_or(i64::MAX)).await?;
        *self.known.write() = rows.into_iter().map(|row| (row.hash.clone(), caller(&row))).collect();
        Ok(())
    }

    /// The caller with this key. Keys are compared by their hashes, so the time taken reveals nothing about other keys.
    ///
    /// # Errors
    /// The store failed for a key that is not in memory.
    pub async fn find(&self, key: &str) -> Result<Option<Arc<Caller>>, Error> {
        let digest = hex::encode(hash(key));
        if let Some(caller) = self.known.read().get(&digest) {
            return Ok(Some(Arc::clone(caller)));
        }
        let _turn = self.changing.lock().await;
        let Some(row) = self.store.key_by_hash(&digest).await? else { return Ok(None) };
        self.remember(&row);
        Ok(Some(caller(&row)))
    }

    /// Adds a key that was just created or looked up, if there is room.
    pub fn remember(&self, row: &KeyRow) {
        let mut known = self.known.write();
        if known.len() < MAX_KEYS {
            known.insert(row.hash.clone(), caller(row));
        }
    }

    /// Revokes a key in the store and forgets it. Returns whether it existed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn revoke(&self, organization: &OrganizationId, id: &str) -> Result<bool, Error> {
        let _turn = self.changing.lock().await;
        let revoked = self.store.revoke_key(organization, id).await?;
        if revoked {
            self.forget(id);
        }
        Ok(revoked)
    }
}
