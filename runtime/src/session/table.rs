//! The sessions of a worker: who has which, one run at a time in each, and what becomes of idle ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam_contract::worker::{WorkerSession, WorkerSessionInfo};
use cofferdam_contract::{Fault, IfBusy, Language, OrganizationId, Problem, SessionId, SessionState};
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

use super::disk::{Meta, StateFolder};
use super::life::{Life, Place, load_from};
use crate::error::Error;
use crate::kernel::Kernel;

/// Runs that may wait for one session.
const MAX_WAITERS: usize = 32;
/// How long the calls that are not runs wait for a session that is busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a session rests before its state is noted: not between runs that follow each other closely.
const REST: Duration = Duration::from_millis(10);
/// States of more than this are not noted, in bytes; nor any when those that are take more than the second.
const MAX_CHECKPOINT: u64 = 64 << 20;
const MAX_CHECKPOINTS: u64 = 8 << 30;

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A session of the table.
pub struct Session {
    pub id: SessionId,
    pub organization: OrganizationId,
    kernel: Arc<Kernel>,
    inner: Arc<tokio::sync::Mutex<Inner>>,
    language: Language,
    waiters: AtomicUsize,
    live: AtomicBool,
    last_used: AtomicU64,
    /// Why there is nothing left of it, and what could not be carried over: told without waiting for a run.
    lost: Mutex<Option<Problem>>,
    warnings: Mutex<Vec<String>>,
}

pub struct Inner {
    life: Life,
    pub meta: Meta,
}

/// What a session starts from.
pub enum NewSession {
    Fresh,
    /// A snapshot, by its key.
    Snapshot(SessionId),
}

pub struct Sessions {
    kernels: Vec<Arc<Kernel>>,
    table: Mutex<HashMap<SessionId, Arc<Session>>>,
    folder: StateFolder,
    snapshots: StateFolder,
    open_files: u64,
    max_live: usize,
    max_sessions: usize,
    checkpoint_bytes: Arc<AtomicU64>,
}

/// A session that nobody else uses for now.
pub struct Held {
    session: Arc<Session>,
    inner: OwnedMutexGuard<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found() -> Problem {
    Problem::not_found("no such session")
}

impl Sessions {
    /// Opens the state folder; what is suspended in it is there again.
    pub fn open(
        kernels: Vec<Arc<Kernel>>,
        state: &std::path::Path,
        config: &crate::worker::WorkerConfig,
    ) -> Result<Self, Error> {
        let (folder, suspended) = StateFolder::open(&state.join("sessions"), config.state_budget_bytes)?;
        let (snapshots, _) = StateFolder::open(&state.join("snapshots"), config.state_budget_bytes)?;
        let sessions = Self {
            kernels,
            table: Mutex::default(),
            folder,
            snapshots,
            open_files: config.open_files,
            max_live: config.max_live_sessions,
            max_sessions: config.max_sessions,
            checkpoint_bytes: Arc::default(),
        };
        for meta in suspended {
            match sessions.kernel(meta.language.kernel()) {
                Ok(kernel) => {
                    sessions.insert(meta, Life::Suspended, kernel);
                }
                Err(_) => tracing::warn!(session = %meta.id, "its kernel is not here; left on disk"),
            }
        }
        Ok(sessions)
    }

    pub fn kernel(&self, name: &str) -> Result<Arc<Kernel>, Problem> {
        let found = self.kernels.iter().find(|kernel| kernel.name() == name);
        found.cloned().ok_or_else(|| Problem::invalid(format!("this worker has no {name} kernel")))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        lock(&self.table)
    }

    fn insert(&self, meta: Meta, life: Life, kernel: Arc<Kernel>) -> Arc<Session> {
        let session = Arc::new(Session {
            id: meta.id.clone(),
            organization: meta.organization.clone(),
            kernel,
            language: meta.language,
            waiters: AtomicUsize::new(0),
            lost: Mutex::default(),
            warnings: Mutex::new(meta.warnings.clone()),
            live: AtomicBool::new(matches!(life, Life::Live { .. } | Life::Dormant(_))),
            last_used: AtomicU64::new(meta.last_used_at),
            inner: Arc::new(tokio::sync::Mutex::new(Inner { life, meta })),
        });
        self.table().insert(session.id.clone(), Arc::clone(&session));
        session
    }

    fn place<'a>(&'a self, kernel: &'a Arc<Kernel>) -> Place<'a> {
        Place { kernel, folder: &self.folder, open_files: self.open_files }
    }

    /// A session of the organization's; what belongs to another one is not there.
    pub fn find(&self, id: &SessionId, organization: &OrganizationId) -> Result<Arc<Session>, Problem> {
        let found = self.table().get(id).cloned();
        found.filter(|session| session.organization == *organization).ok_or_else(not_found)
    }

    /// Live and suspended sessions.
    pub fn count(&self) -> (usize, usize) {
        let table = self.table();
        let live = table.values().filter(|session| session.live.load(Ordering::Relaxed)).count();
        (live, table.len() - live)
    }

    pub fn disk_bytes(&self) -> u64 {
        self.folder.used() + self.snapshots.used()
    }

    /// Makes a session.
    pub fn create(
        &self,
        organization: &OrganizationId,
        request: WorkerSession,
        from: NewSession,
    ) -> Result<WorkerSessionInfo, Error> {
        self.check_room(1)?;
        let kernel = self.kernel(request.language.kernel())?;
        let mut meta = Meta {
            id: request.id,
            organization: organization.clone(),
            language: request.language,
            limits: request.limits,
            ttl_s: request.ttl_s,
            ends_at: request.ends_at,
            last_used_at: unix_now(),
            image_digest: kernel.image().digest().to_owned(),
            kernel_version: kernel.version().to_owned(),
            uptime_us: 0,
            generation: 0,
            warnings: Vec::new(),
        };
        let place = self.place(&kernel);
        let life = match from {
            NewSession::Fresh => Life::fresh(&place, &meta)?,
            NewSession::Snapshot(key) => Life::of_copy(self.read_snapshot(&place, organization, &key, &mut meta)?),
        };
        let info = meta.info(life.state());
        self.insert(meta, life, kernel);
        self.make_room();
        Ok(info)
    }

    fn read_snapshot(
        &self,
        place: &Place<'_>,
        organization: &OrganizationId,
        key: &SessionId,
        meta: &mut Meta,
    ) -> Result<super::life::Dormant, Error> {
        let gone = || Problem::not_found("no such snapshot");
        let quota = crate::turn::quota(&meta.limits, self.open_files);
        let (stored, _) = self.snapshots.read(key, place.kernel.base(), quota).map_err(|_| gone())?;
        if stored.organization != *organization {
            return Err(gone().into());
        }
        let mut of_snapshot = Meta { id: key.clone(), ..stored };
        let dormant = load_from(place, &mut of_snapshot, &self.snapshots)?;
        meta.warnings = of_snapshot.warnings;
        Ok(dormant)
    }

    fn check_room(&self, more: usize) -> Result<(), Problem> {
        let held = self.table().len();
        if held + more > self.max_sessions {
            return Err(Problem::overloaded(format!(
                "this worker holds {held} sessions, of {} at most; delete some",
                self.max_sessions
            )));
        }
        Ok(())
    }

    /// Holds a session for a run.
    pub async fn hold(&self, session: &Arc<Session>, if_busy: IfBusy, patience: Duration) -> Result<Held, Problem> {
        let busy = || Problem::session_busy("a run is under way in this session; wait for it, or send `if_busy: wait`");
        let lock = Arc::clone(&session.inner);
        let inner = match (Arc::clone(&lock).try_lock_owned(), if_busy) {
            (Ok(inner), _) => inner,
            (Err(_), IfBusy::Refuse) => return Err(busy()),
            (Err(_), IfBusy::Wait) => {
                let waiting = session.waiters.fetch_add(1, Ordering::Relaxed);
                let _waiter = scopeguard(&session.waiters);
                if waiting >= MAX_WAITERS {
                    return Err(Problem::overloaded(format!("{waiting} runs wait for this session already")));
                }
                tokio::time::timeout(patience, lock.lock_owned()).await.map_err(|_| busy())?
            }
        };
        if self.table().get(&session.id).is_none_or(|known| !Arc::ptr_eq(known, session)) {
            return Err(not_found());
        }
        Ok(Held { session: Arc::clone(session), inner })
    }

    /// Holds a session for anything else, and does it on a thread that may block.
    async fn with<R: Send + 'static>(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        work: impl FnOnce(&Arc<Self>, &mut Held) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let session = self.find(id, organization)?;
        let mut held = self.hold(&session, IfBusy::Wait, PATIENCE).await?;
        let sessions = Arc::clone(self);
        let done = spawn_blocking(move || {
            let result = work(&sessions, &mut held);
            held.settle();
            result
        });
        done.await.map_err(|_| Error::from(Problem::internal("the work on the session broke off")))?
    }

    /// What is known of a session; does not wait for a run in it.
    pub fn info(&self, id: &SessionId, organization: &OrganizationId) -> Result<WorkerSessionInfo, Problem> {
        let session = self.find(id, organization)?;
        if let Some(why) = lock(&session.lost).clone() {
            return Err(why);
        }
        let live = session.live.load(Ordering::Relaxed);
        Ok(WorkerSessionInfo {
            id: session.id.clone(),
            language: session.language,
            state: if live { SessionState::Live } else { SessionState::Suspended },
            last_used_at: session.last_used.load(Ordering::Relaxed),
            warnings: lock(&session.warnings).clone(),
        })
    }

    /// What is known of several, in their order; those that are not there, or lost, are left out.
    pub fn infos(&self, ids: &[SessionId], organization: &OrganizationId) -> Vec<WorkerSessionInfo> {
        ids.iter().filter_map(|id| self.info(id, organization).ok()).collect()
    }

    pub async fn suspend(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
    ) -> Result<WorkerSessionInfo, Error> {
        self.with(id, organization, |sessions, held| {
            held.suspend(sessions)?;
            Ok(held.inner.meta.info(SessionState::Suspended))
        })
        .await
    }

    pub async fn resume(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
    ) -> Result<WorkerSessionInfo, Error> {
        let info = self
            .with(id, organization, |sessions, held| {
                if matches!(held.inner.life, Life::Live { .. }) {
                    return Err(Problem::conflict("the session is live already").into());
                }
                let Inner { life, meta } = &mut *held.inner;
                life.wake(&sessions.place(&held.session.kernel), meta)?;
                meta.last_used_at = unix_now();
                Ok(meta.info(SessionState::Live))
            })
            .await?;
        self.make_room_later();
        Ok(info)
    }

    /// Copies a session, once for each id.
    pub async fn fork(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        ids: Vec<SessionId>,
    ) -> Result<Vec<WorkerSessionInfo>, Error> {
        let infos = self
            .with(id, organization, move |sessions, held| {
                sessions.check_room(ids.len())?;
                let kernel = Arc::clone(&held.session.kernel);
                let place = sessions.place(&kernel);
                let Inner { life, meta } = &mut *held.inner;
                let (first, warnings) = life.copy(&place, meta)?;
                let mut first = Life::of_copy(first);
                let mut infos = Vec::with_capacity(ids.len());
                for id in ids {
                    let (copy, _) = first.copy(&place, meta)?;
                    let copied = Meta {
                        id,
                        last_used_at: unix_now(),
                        generation: 0,
                        warnings: warnings.clone(),
                        ..meta.clone()
                    };
                    infos.push(copied.info(SessionState::Live));
                    sessions.insert(copied, Life::of_copy(copy), Arc::clone(&kernel));
                }
                Ok(infos)
            })
            .await?;
        self.make_room_later();
        Ok(infos)
    }

    /// Writes a session's state as a snapshot under `key`; answers its size on disk.
    pub async fn snapshot(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        key: SessionId,
    ) -> Result<u64, Error> {
        self.with(id, organization, move |sessions, held| {
            let kernel = Arc::clone(&held.session.kernel);
            let place = sessions.place(&kernel);
            let Inner { life, meta } = &mut *held.inner;
            let (copy, warnings) = life.copy(&place, meta)?;
            let mut copied = Meta { id: key, generation: 0, warnings, ..meta.clone() };
            Life::of_copy(copy).write_to(&place, &mut copied, &sessions.snapshots)
        })
        .await
    }

    pub fn remove_snapshot(&self, key: &SessionId) {
        self.snapshots.remove(key);
    }

    pub async fn with_files<R: Send + 'static>(
        self: &Arc<Self>,
        id: &SessionId,
        organization: &OrganizationId,
        change: bool,
        work: impl FnOnce(&cofferdam_host_api::Vfs) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.with(id, organization, move |sessions, held| {
            let Inner { life, meta } = &mut *held.inner;
            let result = life.with_files(&sessions.place(&held.session.kernel), meta, change, work);
            if change {
                sessions.checkpoint_later(held.session());
            }
            result
        })
        .await
    }

    /// Ends a session. One that runs is ended when its run is over; the name is free at once.
    pub fn remove(self: &Arc<Self>, id: &SessionId, organization: &OrganizationId) -> Result<(), Problem> {
        let session = self.find(id, organization)?;
        self.table().remove(id);
        self.folder.remove(id);
        let sessions = Arc::clone(self);
        tokio::spawn(async move {
            let mut inner = session.inner.lock().await;
            let deleted = Problem::session_lost("the session was deleted").by(Fault::Caller);
            let life = std::mem::replace(&mut inner.life, Life::Lost(deleted));
            life.end(&sessions.place(&session.kernel), &inner.meta);
            sessions.folder.remove(&session.id);
        });
        Ok(())
    }

    fn make_room_later(self: &Arc<Self>) {
        let sessions = Arc::clone(self);
        spawn_blocking(move || sessions.make_room());
    }

    /// Suspends the sessions that have been idle longest, until no more than the allowed number are live.
    pub fn make_room(&self) {
        let mut live: Vec<_> =
            self.table().values().filter(|session| session.live.load(Ordering::Relaxed)).cloned().collect();
        let Some(over) = live.len().checked_sub(self.max_live).filter(|over| *over > 0) else { return };
        live.sort_by_key(|session| session.last_used.load(Ordering::Relaxed));
        for session in live.into_iter().take(over) {
            self.suspend_idle(&session);
        }
    }

    /// Suspends what has been idle for `idle_s`, ends what has outlived its time; called now and then.
    pub fn tend(self: &Arc<Self>, idle_s: u64) {
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
        // Runs bring suspended sessions back, also more of them than are allowed to stay.
        self.make_room();
    }

    fn suspend_idle(&self, session: &Arc<Session>) {
        let Ok(inner) = Arc::clone(&session.inner).try_lock_owned() else { return };
        let mut held = Held { session: Arc::clone(session), inner };
        if let Err(error) = held.suspend(self) {
            tracing::warn!(session = %session.id, %error, "an idle session could not be suspended");
        }
        held.settle();
    }

    /// Notes the state of a session that has had a run, once it rests.
    pub fn checkpoint_later(self: &Arc<Self>, session: Arc<Session>) {
        let sessions = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(REST).await;
            if sessions.checkpoint_bytes.load(Ordering::Relaxed) > MAX_CHECKPOINTS {
                return;
            }
            let Ok(mut inner) = Arc::clone(&session.inner).try_lock_owned() else { return };
            let noted = spawn_blocking(move || {
                let Inner { life, meta } = &mut *inner;
                let place = sessions.place(&session.kernel);
                life.checkpoint(&place, meta, MAX_CHECKPOINT, &sessions.checkpoint_bytes)
            });
            if let Ok(Err(error)) = noted.await {
                tracing::warn!(%error, "the state of a session could not be noted");
            }
        });
    }

    /// Suspends everything that is live: before the worker ends. Answers how many could not be.
    pub async fn suspend_all(self: &Arc<Self>) -> usize {
        let all: Vec<_> = self.table().values().cloned().collect();
        let mut failed = 0;
        for session in all.into_iter().filter(|session| session.live.load(Ordering::Relaxed)) {
            let Ok(inner) = tokio::time::timeout(PATIENCE, Arc::clone(&session.inner).lock_owned()).await else {
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
        failed
    }
}

impl Held {
    pub fn kernel(&self) -> Arc<Kernel> {
        Arc::clone(&self.session.kernel)
    }

    pub fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }

    pub fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    /// Runs a job in the session, on this thread.
    pub fn run(&mut self, sessions: &Sessions, job: crate::turn::Job) -> Result<crate::turn::Finished, Error> {
        let kernel = self.kernel();
        let Inner { life, meta } = &mut *self.inner;
        let result = life.run(&sessions.place(&kernel), meta, job);
        meta.last_used_at = unix_now();
        self.settle();
        result
    }

    fn suspend(&mut self, sessions: &Sessions) -> Result<(), Error> {
        let kernel = self.kernel();
        let Inner { life, meta } = &mut *self.inner;
        life.suspend(&sessions.place(&kernel), meta)
    }

    /// Tells the table what the session is now.
    fn settle(&self) {
        let live = matches!(self.inner.life, Life::Live { .. } | Life::Dormant(_));
        self.session.live.store(live, Ordering::Relaxed);
        self.session.last_used.store(self.inner.meta.last_used_at, Ordering::Relaxed);
        if let Life::Lost(why) = &self.inner.life {
            *lock(&self.session.lost) = Some(why.clone());
        }
        lock(&self.session.warnings).clone_from(&self.inner.meta.warnings);
    }
}

impl Meta {
    fn info(&self, state: SessionState) -> WorkerSessionInfo {
        WorkerSessionInfo {
            id: self.id.clone(),
            language: self.language,
            state,
            last_used_at: self.last_used_at,
            warnings: self.warnings.clone(),
        }
    }
}

/// Counts a waiter off when it goes, however it goes.
fn scopeguard(count: &AtomicUsize) -> impl Drop + '_ {
    struct Guard<'a>(&'a AtomicUsize);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Guard(count)
}
