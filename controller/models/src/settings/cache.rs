//! The catalogues of the organizations that are in use, each read from the store once and again after a change.
//!
//! A change in this process is seen at once, one in another process within a second. A catalogue that nobody used for an hour
//! is dropped. If the store cannot be read, catalogues stay as they are, and an organization that has none is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{chain, now};
use cofferdam_store::Store;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::catalogue::{Catalogue, Made, Shared};
use super::error::Error;

/// The time between two looks for changes of other processes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The seconds after which an unused catalogue is dropped.
const UNUSED_AFTER_S: i64 = 3_600;
/// The looks between two searches for unused catalogues.
const LOOKS_PER_SWEEP: u32 = 120;

/// One organization.
#[derive(Default)]
struct Entry {
    current: RwLock<Option<Arc<Catalogue>>>,
    /// Its upstreams. Held while a catalogue is made.
    building: Mutex<BTreeMap<String, Made>>,
    /// The number of the change that the catalogue has.
    revision: AtomicU64,
    /// A change could not be read: the catalogue must not be used.
    stale: AtomicBool,
    used: AtomicI64,
}

/// The catalogues in use.
pub(super) struct Cache {
    store: Store,
    pub(super) shared: Shared,
    entries: RwLock<HashMap<OrganizationId, Arc<Entry>>>,
}

impl Cache {
    pub(super) fn new(store: Store, shared: Shared) -> Self {
        Self { store, shared, entries: RwLock::default() }
    }

    /// The catalogue, if it is in memory.
    pub(super) fn of(&self, organization: &OrganizationId) -> Option<Arc<Catalogue>> {
        let entries = self.entries.read();
        let entry = entries.get(organization)?;
        if entry.stale.load(Ordering::Acquire) {
            return None;
        }
        entry.used.store(now(), Ordering::Relaxed);
        entry.current.read().clone()
    }

    /// The catalogue; reads it from the store if it is not in memory.
    pub(super) async fn load(&self, organization: &OrganizationId) -> Result<Arc<Catalogue>, Error> {
        if let Some(catalogue) = self.of(organization) {
            return Ok(catalogue);
        }
        let entry = Arc::clone(self.entries.write().entry(organization.clone()).or_default());
        entry.used.store(now(), Ordering::Relaxed);
        self.build(organization, &entry, None).await
    }

    /// Reads the catalogue again, if it is in memory. A failure makes it unusable until it can be read.
    pub(super) async fn changed(&self, organization: &OrganizationId) {
        let Some(entry) = self.entries.read().get(organization).cloned() else { return };
        self.again(organization, &entry, u64::MAX).await;
    }

    async fn again(&self, organization: &OrganizationId, entry: &Entry, revision: u64) {
        if let Err(error) = self.build(organization, entry, Some(revision)).await {
            entry.stale.store(true, Ordering::Release);
            tracing::error!(%organization, error = chain(&error), "the model settings could not be read again");
        }
    }

    /// Makes the catalogue; `wanted`: the change that it has to have, else any that can be used.
    async fn build(
        &self,
        organization: &OrganizationId,
        entry: &Entry,
        wanted: Option<u64>,
    ) -> Result<Arc<Catalogue>, Error> {
        let mut upstreams = entry.building.lock().await;
        // Somebody else may have made it while this one waited.
        let current = entry.current.read().clone().filter(|_| !entry.stale.load(Ordering::Acquire));
        if let Some(catalogue) = current
            && wanted.is_none_or(|wanted| entry.revision.load(Ordering::Acquire) >= wanted)
        {
            return Ok(catalogue);
        }
        let settings = self.store.model_settings(organization).await?;
        let (catalogue, made) = self.shared.catalogue(organization, &settings.rows, &upstreams).await?;
        let catalogue = Arc::new(catalogue);
        *upstreams = made;
        *entry.current.write() = Some(Arc::clone(&catalogue));
        entry.revision.store(settings.revision, Ordering::Release);
        entry.stale.store(false, Ordering::Release);
        Ok(catalogue)
    }

    /// Looks for changes of other processes until the process ends.
    pub(super) async fn keep(&self, stop: CancellationToken) {
        let mut seen = None;
        let mut looks = 0;
        let mut failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let looked = stop.run_until_cancelled(self.look(seen)).await;
            match looked {
                None => return,
                Some(Ok(newest)) => {
                    seen = Some(newest);
                    failing = false;
                }
                Some(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!(error = chain(&error), "changes of the model settings cannot be looked for");
                }
                Some(Err(_)) => {}
            }
            looks += 1;
            if looks % LOOKS_PER_SWEEP == 0 {
                self.sweep(now() - UNUSED_AFTER_S);
            }
        }
    }

    /// Reads again what has changed after a number. Returns the number to look from the next time.
    async fn look(&self, seen: Option<u64>) -> Result<u64, Error> {
        // What is in memory before the first look may be older than the newest change.
        let mut after = seen.unwrap_or_default();
        if seen.is_none() && self.entries.read().is_empty() {
            return Ok(self.store.model_revision().await?);
        }
        loop {
            let changed = self.store.changed_model_settings(after).await?;
            let Some((_, last)) = changed.last() else { return Ok(after) };
            after = *last;
            for (organization, revision) in &changed {
                let entry = self.entries.read().get(organization).cloned();
                if let Some(entry) = entry.filter(|entry| entry.revision.load(Ordering::Acquire) < *revision) {
                    self.again(organization, &entry, *revision).await;
                }
            }
        }
    }

    /// Drops the catalogues that were not used since a time.
    fn sweep(&self, since: i64) {
        self.entries.write().retain(|_, entry| entry.used.load(Ordering::Relaxed) >= since);
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_core::Vault;
    use cofferdam_store::DatabaseConfig;
    use cofferdam_upstreams::Net;

    use super::*;
    use crate::settings::{NoSecrets, OperatorModels};

    #[tokio::test]
    async fn a_catalogue_that_nobody_uses_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&DatabaseConfig::sqlite(&folder.path().join("a.db"))).await.unwrap();
        let shared = Shared {
            vault: Arc::new(Vault::open(None, folder.path()).unwrap()),
            secrets: Arc::new(NoSecrets),
            net: Net::new(Vec::new(), Vec::new()),
            operator: OperatorModels::default(),
            upstreams: BTreeMap::new(),
            built_in: Arc::default(),
        };
        let cache = Cache::new(store, shared);
        let organization = OrganizationId::default_organization();
        let first = cache.load(&organization).await.unwrap();
        cache.sweep(now() - UNUSED_AFTER_S);
        assert!(cache.of(&organization).is_some_and(|same| Arc::ptr_eq(&first, &same)), "in use");
        cache.sweep(now() + 1);
        assert!(cache.of(&organization).is_none() && cache.entries.read().is_empty());
        cache.load(&organization).await.unwrap();
    }
}
