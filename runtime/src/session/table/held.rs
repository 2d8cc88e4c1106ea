//! Exclusive use of a session: one run, or one other operation, at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cofferdam_contract::{IfBusy, OrganizationId, Problem, SessionId};
use tokio::sync::OwnedMutexGuard;

use super::{Inner, Session, Sessions, not_found, unix_now};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::session::disk::Meta;
use crate::session::life::Life;
use crate::worker::lanes::blocking;

/// The most runs that may wait for one session.
const MAX_WAITERS: usize = 32;
/// The time that operations other than runs wait for a busy session.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// A session in exclusive use.
pub(crate) struct Held {
    pub(super) session: Arc<Session>,
    pub(super) inner: OwnedMutexGuard<Inner>,
}

impl Sessions {
    /// Holds a session for a run.
    pub(crate) async fn hold(
        &self,
        session: &Arc<Session>,
        if_busy: IfBusy,
        patience: Duration,
    ) -> Result<Held, Problem> {
        let busy =
            || Problem::session_busy("a run is in progress in this session; wait for it, or send `if_busy: wait`");
        let lock = Arc::clone(&session.inner);
        let inner = match (Arc::clone(&lock).try_lock_owned(), if_busy) {
            (Ok(inner), _) => inner,
            (Err(_), IfBusy::Refuse) => return Err(busy()),
            (Err(_), IfBusy::Wait) => {
                let waiting = session.waiters.fetch_add(1, Ordering::Relaxed);
                let _waiter = scopeguard(&session.waiters);
                if waiting >= MAX_WAITERS {
                    return Err(Problem::overloaded(format!("{waiting} runs are already waiting for this session")));
                }
                tokio::time::timeout(patience, lock.lock_owned()).await.map_err(|_| busy())?
            }
        };
        if self.table().get(&session.id).is_none_or(|known| !Arc::ptr_eq(known, session)) {
            return Err(not_found());
        }
        Ok(Held { session: Arc::clone(session), inner })
    }

    /// Holds a session for another operation, and runs it on a thread that may block.
    pub(super) async fn with<R: Send + 'static>(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        work: impl FnOnce(&Arc<Self>, &mut Held) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let session = self.find(id, organization)?;
        let mut held = self.hold(&session, IfBusy::Wait, BUSY_TIMEOUT).await?;
        let sessions = Arc::clone(self);
        let done = blocking(move || {
            let result = work(&sessions, &mut held);
            held.settle();
            result
        });
        done.await.map_err(|_| Error::from(Problem::internal("the work on the session broke off")))?
    }
}

impl Held {
    pub(crate) fn kernel(&self) -> Arc<Kernel> {
        Arc::clone(&self.session.kernel)
    }

    pub(crate) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    /// Runs a job in the session on this thread.
    pub(crate) fn run(&mut self, sessions: &Sessions, job: crate::turn::Job) -> Result<crate::turn::Finished, Error> {
        let kernel = self.kernel();
        let Inner { life, meta } = &mut *self.inner;
        let result = life.run(&sessions.place(&kernel), meta, job);
        meta.last_used_at = unix_now();
        self.settle();
        result
    }

    pub(super) fn suspend(&mut self, sessions: &Sessions) -> Result<(), Error> {
        let kernel = self.kernel();
        let Inner { life, meta } = &mut *self.inner;
        life.suspend(&sessions.place(&kernel), meta)
    }

    /// Publishes the session's new state to the table.
    pub(super) fn settle(&self) {
        let live = matches!(self.inner.life, Life::Live { .. } | Life::Dormant(_));
        self.session.live.store(live, Ordering::Relaxed);
        self.session.last_used.store(self.inner.meta.last_used_at, Ordering::Relaxed);
        if let Life::Lost(why) = &self.inner.life {
            *self.session.lost.lock() = Some(why.clone());
        }
        self.session.warnings.lock().clone_from(&self.inner.meta.warnings);
    }
}

/// Decrements the count of waiters when dropped.
fn scopeguard(count: &AtomicUsize) -> impl Drop + '_ {
    struct Guard<'a>(&'a AtomicUsize);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Guard(count)
}
