//! The keys in memory, so that no call waits for the database to recognize its caller. A key that is revoked, narrowed or over
//! here is rejected at once and one that another controller changes within a second, and so do its requests end that are under
//! way: [`Keyring::watch`].
//!
//! Also the memory of when keys were used, of organizations' limits, and of callers that were refused: all of it is written or
//! read in the background, never on a call's way.

mod known;
mod watched;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Limits, OrganizationLimits, chain, every, now};
use cofferdam_store::{KeyChanged, KeyRow, KeyState, Store};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::key::hash;
use crate::refusals::Refusals;
use known::{Known, texts};
use watched::Watched;

/// The time between two reads of all keys.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two looks for keys that another controller has changed, and for those whose time is over.
const CHANGED_INTERVAL: Duration = Duration::from_millis(500);
/// Keys that were changed within this time are looked for each time, in seconds: the clocks of controllers differ.
const CHANGED_WINDOW_S: i64 = 120;
/// The time between two writes of when keys were used.
const USES_INTERVAL: Duration = Duration::from_secs(60);
/// The time that the last write of them may take.
const LAST_USES_TIMEOUT: Duration = Duration::from_secs(1);
/// The most keys kept in memory. Others are looked up in the store at each call.
const MAX_KEYS: usize = 10_000;
/// The most organizations whose limits are kept in memory.
const MAX_ORGANIZATIONS: i64 = 10_000;

/// The key that a text is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Caller(Arc<Caller>),
    /// It is not valid any more.
    Ended {
        key: String,
        organization: OrganizationId,
        why: Ended,
    },
    Unknown,
}

/// The reason why a key is not valid any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Revoked,
    Expired,
    /// It was rotated, and the time of the old text is over.
    Rotated,
    /// Its organization is disabled or deleted.
    Closed,
}

impl Ended {
    /// A word for the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Rotated => "rotated",
            Self::Closed => "organization",
        }
    }

    /// A sentence for the caller.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Revoked => "This API key was revoked.",
            Self::Expired => "This API key has expired.",
            Self::Rotated => "This API key was rotated; use its new text.",
            Self::Closed => "The organization of this API key is disabled or deleted.",
        }
    }
}

/// The keys in memory.
pub struct Keyring {
    store: Store,
    known: RwLock<Known>,
    organizations: RwLock<HashMap<OrganizationId, OrganizationLimits>>,
    watched: Mutex<Watched>,
    /// When a key was used last, by its id: Unix seconds, 0 if that is written already.
    used: RwLock<HashMap<String, AtomicI64>>,
    refusals: Refusals,
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
        let keyring = Self {
            store,
            known: RwLock::default(),
            organizations: RwLock::default(),
            watched: Mutex::default(),
            used: RwLock::default(),
            refusals: Refusals::default(),
            changing: AsyncMutex::new(()),
        };
        keyring.refresh().await?;
        Ok(keyring)
    }

    /// Reads the keys again, every ten seconds, and the changed ones twice a second, ends those whose time is over, and writes
    /// when keys were used, until `stop`. A failure is logged and the keys known before stay.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        // Apart, so that a database that does not answer lengthens no key's life.
        tokio::join!(self.keep_reading(&stop), self.keep_expiring(&stop), self.keep_uses(&stop));
    }

    async fn keep_reading(&self, stop: &CancellationToken) {
        let (mut all, mut changed) = (every(REFRESH_INTERVAL), every(CHANGED_INTERVAL));
        // The first tick is immediate, and the keys have just been loaded.
        all.tick().await;
        loop {
            let read = tokio::select! {
                _ = all.tick() => self.refresh().await,
                _ = changed.tick() => self.read_changed().await,
                () = stop.cancelled() => return,
            };
            if let Err(error) = read {
                tracing::warn!(error = %chain(&error), "reading the keys failed; retrying");
            }
        }
    }

    async fn keep_expiring(&self, stop: &CancellationToken) {
        let mut ticks = every(CHANGED_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.watched.lock().end_expired(now()),
                () = stop.cancelled() => return,
            }
        }
    }

    async fn keep_uses(&self, stop: &CancellationToken) {
        let mut ticks = every(USES_INTERVAL);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.write_uses().await,
                () = stop.cancelled() => break,
            }
        }
        if tokio::time::timeout(LAST_USES_TIMEOUT, self.write_uses()).await.is_err() {
            tracing::warn!("the last uses of keys were not written in time");
        }
    }

    /// Writes when keys were used since the last write.
    pub async fn write_uses(&self) {
        let used: Vec<(String, i64)> = {
            let mut used = self.used.write();
            used.retain(|_, at| at.load(Ordering::Relaxed) > 0);
            used.iter().map(|(id, at)| (id.clone(), at.swap(0, Ordering::Relaxed))).collect()
        };
        if let Err(error) = self.store.note_key_uses(&used).await {
            tracing::warn!(error = %chain(&error), "writing when keys were used failed");
            let known = self.used.read();
            for (id, at) in used {
                if let Some(place) = known.get(&id) {
                    place.fetch_max(at, Ordering::Relaxed);
                }
            }
        }
    }

    /// When this process saw the key last, if that is not written yet.
    pub(crate) fn last_use(&self, key: &str) -> Option<i64> {
        self.used.read().get(key).map(|at| at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    fn note_use(&self, key: &str, at: i64) {
        if let Some(place) = self.used.read().get(key) {
            place.store(at, Ordering::Relaxed);
            return;
        }
        let mut used = self.used.write();
        if used.len() < MAX_KEYS {
            used.insert(key.to_owned(), AtomicI64::new(at));
        }
    }

    /// Reads the keys that any controller has changed lately, their own or their organization's.
    async fn read_changed(&self) -> Result<(), Error> {
        let _turn = self.changing.lock().await;
        for state in self.store.changed_keys(now() - CHANGED_WINDOW_S).await? {
            self.take(&state);
        }
        Ok(())
    }

    /// Makes memory agree with a key as the store has it, and ends what it may not do any more.
    fn take(&self, state: &KeyState) {
        let texts = texts(state, now());
        if texts.is_empty() {
            self.forget(&state.row.id);
            return;
        }
        self.organizations.write().insert(state.row.organization.clone(), state.limits);
        if self.known.read().has(&state.row.id, &texts) {
            return;
        }
        let before = self.known.write().replace(&state.row.id, &texts, MAX_KEYS);
        let mut watched = self.watched.lock();
        let may_less = before.iter().any(|before| texts.iter().all(|(_, now)| !now.scopes.cover_all(&before.scopes)));
        match may_less {
            true => watched.end(&state.row.id),
            false => watched.end_texts(&state.row.id, &texts.iter().map(|(_, caller)| &**caller).collect::<Vec<_>>()),
        }
    }

    /// Rejects a key from now on, and ends its requests that are under way.
    fn forget(&self, id: &str) {
        let is_known = self.known.read().contains(id);
        if is_known {
            self.known.write().remove(id);
        }
        self.watched.lock().end(id);
    }

    /// Cancelled when the caller's key is revoked or over, may do less than before, or was presented as a text that ended.
    pub fn watch(&self, caller: &Caller) -> Arc<CancellationToken> {
        self.watched.lock().watch(&caller.key, Some(caller))
    }

    /// Cancelled when the key with this id is revoked.
    pub(crate) fn watch_key(&self, key: &str) -> Arc<CancellationToken> {
        self.watched.lock().watch(key, None)
    }

    /// Reads the keys and the organizations' limits again.
    ///
    /// # Errors
    /// The store cannot be read; the keys known before stay.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _turn = self.changing.lock().await;
        let states = self.store.all_keys(i64::try_from(MAX_KEYS).unwrap_or(i64::MAX)).await?;
        let organizations = self.store.organizations("", MAX_ORGANIZATIONS).await?;
        let now = now();
        // Keys that changed while the store was away are not among those that were changed lately. Keys that others changed meanwhile
        // end what they have under way, as ever.
        for state in &states {
            if self.known.read().contains(&state.row.id) {
                self.take(state);
            }
        }
        let whole = states.len() < MAX_KEYS;
        let known: Known = states.iter().map(|state| (state.row.id.as_str(), texts(state, now))).collect();
        if whole {
            // Whoever is not there is revoked or over.
            self.watched.lock().end_others(|key| known.contains(key));
        }
        *self.known.write() = known;
        *self.organizations.write() = organizations.into_iter().map(|row| (row.id, row.limits)).collect();
        Ok(())
    }

    /// The operator's limits for an organization, from memory: a change elsewhere is seen within a second.
    pub fn limits(&self, organization: &OrganizationId) -> OrganizationLimits {
        self.organizations.read().get(organization).copied().unwrap_or_default()
    }

    /// The limits that requests of a key count against, by its id, from memory.
    pub fn limits_of_key(&self, key: &str, organization: &OrganizationId) -> Limits {
        let known = self.known.read().limits(key);
        known.unwrap_or_else(|| Limits { key_requests_per_minute: None, organization: self.limits(organization) })
    }

    /// The caller with this key, if it is valid.
    ///
    /// # Errors
    /// The store failed for a key that is not in memory.
    pub async fn find(&self, key: &str) -> Result<Option<Arc<Caller>>, Error> {
        match self.look(key).await? {
            Found::Caller(caller) => Ok(Some(caller)),
            Found::Ended { .. } | Found::Unknown => Ok(None),
        }
    }

    /// The key with this text. Keys are compared by their hashes, so the time taken reveals nothing about other keys.
    ///
    /// # Errors
    /// The store failed for a key that is not in memory.
    pub async fn look(&self, key: &str) -> Result<Found, Error> {
        let digest = hex::encode(hash(key));
        if let Some(caller) = self.recall(&digest) {
            return Ok(Found::Caller(caller));
        }
        let _turn = self.changing.lock().await;
        // Another call may have read it meanwhile.
        if let Some(caller) = self.recall(&digest) {
            return Ok(Found::Caller(caller));
        }
        let Some(state) = self.store.key_by_hash(&digest).await? else { return Ok(Found::Unknown) };
        let now = now();
        let found = texts(&state, now);
        if let Some((_, caller)) = found.iter().find(|(hash, _)| *hash == digest) {
            self.note_use(&caller.key, now);
            self.take(&state);
            return Ok(Found::Caller(Arc::clone(caller)));
        }
        let why = match &state {
            KeyState { revoked: true, .. } => Ended::Revoked,
            KeyState { closed: true, .. } => Ended::Closed,
            KeyState { row, .. } if row.hash != digest => Ended::Rotated,
            _ => Ended::Expired,
        };
        Ok(Found::Ended { key: state.row.id, organization: state.row.organization, why })
    }

    /// The caller with this hash, if it is in memory and its time is not over.
    fn recall(&self, digest: &str) -> Option<Arc<Caller>> {
        let caller = self.known.read().get(digest)?;
        let now = now();
        if caller.expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        self.note_use(&caller.key, now);
        Some(caller)
    }

    /// Adds a key that was just created, if there is room.
    pub(crate) fn remember(&self, row: &KeyRow) {
        let limits = self.limits(&row.organization);
        self.take(&KeyState { row: row.clone(), revoked: false, closed: false, limits });
    }

    /// Changes a key in the store and here, or revokes it (`after` is absent).
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn change(&self, before: &KeyRow, after: Option<&KeyRow>) -> Result<KeyChanged, Error> {
        let _turn = self.changing.lock().await;
        let done = self.store.change_key(before, after).await?;
        if done == KeyChanged::Done {
            match after {
                Some(row) => self.remember(row),
                None => self.forget(&before.id),
            }
        }
        Ok(done)
    }

    /// Reads what changed in the store at once, after this process changed an organization.
    pub(crate) async fn organization_changed(&self, organization: &OrganizationId) -> Result<(), Error> {
        let gone = self.store.organization(organization).await?.is_none_or(|row| row.disabled_at.is_some());
        if gone {
            let keys = self.known.read().of_organization(organization);
            keys.iter().for_each(|key| self.forget(key));
        }
        self.read_changed().await
    }

    /// The callers that were refused lately.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }
}
