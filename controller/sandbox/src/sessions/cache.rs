//! Sessions in memory: their rows and the times of their last use, so that a run in a session needs no database. The
//! reaper writes the uses down later; a crash loses a few seconds of "last used", never a session.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use cofferdam_contract::SessionId;
use cofferdam_core::now;
use cofferdam_store::SessionRow;
use parking_lot::RwLock;

/// The most entries; idle ones are dropped beyond that.
const MAX_ENTRIES: usize = 50_000;

/// A session's row and its uses.
#[derive(Debug)]
pub(crate) struct CachedSession {
    pub(crate) row: SessionRow,
    last_used: AtomicI64,
    written: AtomicI64,
    active: AtomicUsize,
}

impl CachedSession {
    pub(crate) fn last_used_at(&self) -> i64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// The end of the session if it is not used again.
    fn expires_at(&self) -> i64 {
        let idle_end = self.last_used_at().saturating_add(i64::try_from(self.row.ttl_s).unwrap_or(i64::MAX));
        idle_end.min(self.row.ends_at)
    }

    /// A session with a call under way does not expire by idling.
    pub(crate) fn is_over(&self) -> bool {
        let now = now();
        now >= self.row.ends_at || (self.active.load(Ordering::Relaxed) == 0 && now >= self.expires_at())
    }

    /// Marks the session as used, now and when the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InUse {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.last_used.fetch_max(now(), Ordering::Relaxed);
        InUse(Arc::clone(self))
    }

    fn unwritten(&self) -> bool {
        self.last_used_at() > self.written.load(Ordering::Relaxed)
    }
}

/// A call under way in a session.
pub struct InUse(Arc<CachedSession>);

impl InUse {
    pub(crate) fn session(&self) -> &CachedSession {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.last_used.fetch_max(now(), Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The sessions that this process has seen.
#[derive(Default)]
pub(crate) struct SessionCache {
    known: RwLock<HashMap<SessionId, Arc<CachedSession>>>,
}

impl SessionCache {
    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<CachedSession>> {
        self.known.read().get(id).cloned()
    }

    /// Adds a row and returns its entry; an existing entry is kept.
    pub(crate) fn put(&self, row: SessionRow) -> Arc<CachedSession> {
        let mut known = self.known.write();
        if known.len() >= MAX_ENTRIES {
            known.retain(|_, entry| entry.active.load(Ordering::Relaxed) > 0 || entry.unwritten());
        }
        let entry = known.entry(row.id.clone()).or_insert_with(|| {
            Arc::new(CachedSession {
                last_used: AtomicI64::new(row.last_used_at),
                written: AtomicI64::new(row.last_used_at),
                active: AtomicUsize::new(0),
                row,
            })
        });
        Arc::clone(entry)
    }

    pub(crate) fn remove(&self, id: &SessionId) {
        self.known.write().remove(id);
    }

    /// At most `most` uses that the store does not know yet; they count as written from here on.
    pub(crate) fn take_uses(&self, most: usize) -> Vec<(SessionId, i64)> {
        let known = self.known.read();
        let unwritten = known.values().filter(|entry| entry.unwritten()).take(most);
        let take = |entry: &Arc<CachedSession>| {
            let at = entry.last_used_at();
            entry.written.store(at, Ordering::Relaxed);
            (entry.row.id.clone(), at)
        };
        unwritten.map(take).collect()
    }

    /// Returns uses that could not be written.
    pub(crate) fn give_back(&self, uses: &[(SessionId, i64)]) {
        let known = self.known.read();
        for entry in uses.iter().filter_map(|(id, _)| known.get(id)) {
            entry.written.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::{Grants, Language, Limits, OrganizationId};

    use super::*;

    fn row(last_used_at: i64, ttl_s: u64) -> SessionRow {
        SessionRow {
            id: SessionId::from_random(1),
            organization: OrganizationId::default_organization(),
            api_key: "key_1".to_owned(),
            language: Language::Python,
            worker: "local".to_owned(),
            ttl_s,
            limits: Limits::DEFAULT,
            grants: Grants::default(),
            created_at: last_used_at,
            last_used_at,
            ends_at: i64::MAX,
        }
    }

    #[test]
    fn a_session_in_use_does_not_expire() {
        let session = SessionCache::default().put(row(now() - 100, 50));
        assert!(session.is_over());
        let in_use = session.enter();
        assert!(!session.is_over());
        drop(in_use);
        assert!(!session.is_over(), "its last use is now");
    }

    #[test]
    fn a_use_is_taken_once_unless_it_is_given_back() {
        let cache = SessionCache::default();
        drop(cache.put(row(5, 50)).enter());
        assert!(cache.take_uses(0).is_empty());
        let uses = cache.take_uses(10);
        assert_eq!(uses.len(), 1);
        assert!(cache.take_uses(10).is_empty());
        cache.give_back(&uses);
        assert_eq!(cache.take_uses(10).len(), 1);
    }
}
