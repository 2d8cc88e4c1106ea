//! Sessions in memory: their rows and when they were last used, so that a run in a session needs no database. Uses are
//! written behind by the reaper; a crash loses a few seconds of "last used", never a session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use cofferdam_contract::SessionId;

use crate::clock::now;
use crate::store::SessionRow;

/// Entries that are kept; idle ones make room beyond that.
const MOST: usize = 50_000;

#[derive(Debug)]
pub struct CachedSession {
    pub row: SessionRow,
    last_used: AtomicI64,
    written: AtomicI64,
    active: AtomicUsize,
}

impl CachedSession {
    pub fn last_used_at(&self) -> i64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// When it ends if it is not used again.
    pub fn expires_at(&self) -> i64 {
        let idle_end = self.last_used_at().saturating_add(i64::try_from(self.row.ttl_s).unwrap_or(i64::MAX));
        idle_end.min(self.row.ends_at)
    }

    /// A session with a call under way does not expire by idling.
    pub fn is_over(&self) -> bool {
        let now = now();
        now >= self.row.ends_at || (self.active.load(Ordering::Relaxed) == 0 && now >= self.expires_at())
    }

    /// Marks it used, now and when the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InUse {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.last_used.fetch_max(now(), Ordering::Relaxed);
        InUse(Arc::clone(self))
    }

    fn unwritten(&self) -> bool {
        self.last_used_at() > self.written.load(Ordering::Relaxed)
    }
}

/// A call in the session that is under way.
pub struct InUse(Arc<CachedSession>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.last_used.fetch_max(now(), Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub struct SessionCache {
    known: RwLock<HashMap<SessionId, Arc<CachedSession>>>,
}

impl SessionCache {
    pub fn get(&self, id: &SessionId) -> Option<Arc<CachedSession>> {
        self.known.read().unwrap_or_else(|e| e.into_inner()).get(id).cloned()
    }

    /// Adds a row; the entry that is there already is kept.
    pub fn put(&self, row: SessionRow) -> Arc<CachedSession> {
        let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
        if known.len() >= MOST {
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

    pub fn remove(&self, id: &SessionId) {
        self.known.write().unwrap_or_else(|e| e.into_inner()).remove(id);
    }

    /// The uses that the store does not know yet, at most `most`; they count as written from here on.
    pub fn take_uses(&self, most: usize) -> Vec<(SessionId, i64)> {
        let known = self.known.read().unwrap_or_else(|e| e.into_inner());
        let unwritten = known.values().filter(|entry| entry.unwritten()).take(most);
        let take = |entry: &Arc<CachedSession>| {
            let at = entry.last_used_at();
            entry.written.store(at, Ordering::Relaxed);
            (entry.row.id.clone(), at)
        };
        unwritten.map(take).collect()
    }

    /// Gives uses back that could not be written.
    pub fn give_back(&self, uses: &[(SessionId, i64)]) {
        let known = self.known.read().unwrap_or_else(|e| e.into_inner());
        for entry in uses.iter().filter_map(|(id, _)| known.get(id)) {
            entry.written.store(0, Ordering::Relaxed);
        }
    }
}
