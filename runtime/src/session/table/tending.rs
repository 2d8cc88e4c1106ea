//! Maintenance: suspends the longest idle sessions, and ends expired ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;

use super::held::{BUSY_TIMEOUT, Held};
use super::{Session, Sessions, unix_now};
use crate::session::life::Life;

impl Sessions {
    pub(super) fn make_room_later(self: &Arc<Self>) {
        let sessions = Arc::clone(self);
        self.background.spawn_blocking(move || sessions.make_room());
    }

    /// Suspends the longest idle sessions until the number of live ones is within the limit.
    pub(crate) fn make_room(&self) {
        let mut live: Vec<_> =
            self.table().values().filter(|session| session.live.load(Ordering::Relaxed)).cloned().collect();
        let Some(over) = live.len().checked_sub(self.max_live).filter(|over| *over > 0) else { return };
        live.sort_by_key(|session| session.last_used.load(Ordering::Relaxed));
        for session in live.into_iter().take(over) {
            self.suspend_idle(&session);
        }
    }

    /// Suspends sessions idle for `idle_s` seconds, and ends expired ones. Called regularly.
    pub(crate) fn tend(self: &Arc<Self>, idle_s: u64) {
        let now = unix_now();
        let all: Vec<_> = self.table().values().cloned().collect();
        for session in all {
            let Ok(inner) = Arc::clone(&session.inner).try_lock_owned() else { continue };
            let last_used = session.last_used.load(Ordering::Relaxed);
            let over = now >= inner.meta.ends_at || now >= last_used.saturating_add(inner.meta.ttl_s);
            drop(inner);
            if over {
                let _ = self.remove(&session.id, &session.organization);
            } else if session.live.load(Ordering::Relaxed) && now >= last_used.saturating_add(idle_s) {
                self.suspend_idle(&session);
            }
        }
        self.sweep();
        // Runs resume suspended sessions, which may exceed the number that may stay live.
        self.make_room();
    }

    /// Deletes retired states from disk.
    fn sweep(&self) {
        self.folder.sweep();
        self.snapshots.sweep();
    }

    fn suspend_idle(&self, session: &Arc<Session>) {
        let Ok(inner) = Arc::clone(&session.inner).try_lock_owned() else { return };
        let mut held = Held { session: Arc::clone(session), inner };
        if let Err(error) = held.suspend(self) {
            tracing::warn!(session = %session.id, %error, "an idle session could not be suspended");
        }
        held.settle();
    }

    /// Suspends every live session before the worker ends. Returns the number of failures.
    pub(crate) async fn suspend_all(self: &Arc<Self>) -> usize {
        let all: Vec<_> = self.table().values().cloned().collect();
        let mut failed = 0;
        for session in all.into_iter().filter(|session| session.live.load(Ordering::Relaxed)) {
            let Ok(inner) = tokio::time::timeout(BUSY_TIMEOUT, Arc::clone(&session.inner).lock_owned()).await else {
                failed += 1;
                continue;
            };
            let mut held = Held { session, inner };
            let sessions = Arc::clone(self);
            let done = spawn_blocking(move || {
                let lost = matches!(held.inner.life, Life::Lost(_) | Life::Suspended);
                lost || held.suspend(&sessions).is_ok()
            });
            failed += usize::from(!done.await.unwrap_or(false));
        }
        let sessions = Arc::clone(self);
        let _ = spawn_blocking(move || sessions.sweep()).await;
        failed
    }
}
