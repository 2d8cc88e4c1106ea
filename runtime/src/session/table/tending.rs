//! Maintenance: suspends the longest idle sessions, and ends expired ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::spawn_blocking;

use super::held::{BUSY_TIMEOUT, Held};
use super::{Session, Sessions, unix_now};
use crate::session::life::Life;

/// The time between two warnings that there is no room, in seconds.
const MIN_TOLD_S: u64 = 60;

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
            if !self.suspend_idle(&session) {
                return;
            }
        }
    }

    /// Suspends sessions idle for `idle_s` seconds, and ends expired ones. Called regularly.
    pub(crate) fn tend(self: &Arc<Self>, idle_s: u64) {
        let now = unix_now();
        let mut room = true;
        let all: Vec<_> = self.table().values().cloned().collect();
        for session in all {
            let Ok(inner) = Arc::clone(&session.inner).try_lock_owned() else { continue };
            let last_used = session.last_used.load(Ordering::Relaxed);
            let over = now >= inner.meta.ends_at || now >= last_used.saturating_add(inner.meta.ttl_s);
            drop(inner);
            if over {
                let _ = self.remove(&session.id, &session.organization);
            } else if room && session.live.load(Ordering::Relaxed) && now >= last_used.saturating_add(idle_s) {
                room = self.suspend_idle(&session);
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

    /// Returns false if there is no room for it. It stays live then, and others need not be tried.
    fn suspend_idle(&self, session: &Arc<Session>) -> bool {
        let Ok(inner) = Arc::clone(&session.inner).try_lock_owned() else { return true };
        let mut held = Held { session: Arc::clone(session), inner };
        let suspended = held.suspend(self);
        held.settle();
        let Err(error) = suspended else { return true };
        let room = !matches!(error.to_problem().kind(), "overloaded" | "storage-full");
        let now = unix_now();
        // Where there is no room, each second would say so.
        if room || now >= self.told_full.load(Ordering::Relaxed).saturating_add(MIN_TOLD_S) {
            self.told_full.store(now, Ordering::Relaxed);
            tracing::warn!(session = %session.id, %error, "an idle session could not be suspended; it stays live");
        }
        room
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
