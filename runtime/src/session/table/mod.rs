//! The sessions of a worker: who has which, what they are made from, and what is known of them.
//!
//! What is done with them is beside this: `held` (one run at a time), `making`, `calls`, `noting` and `tending`.

mod calls;
mod held;
mod making;
mod noting;
mod tending;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_contract::worker::WorkerSessionInfo;
use cofferdam_contract::{Language, OrganizationId, Problem, SessionId, SessionState};

use tokio::runtime::Handle;

use super::disk::{Meta, StateFolder};
use super::life::{Life, Place};
use crate::error::Error;
use crate::kernel::Kernel;
pub use held::Held;
pub use making::NewSession;

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

pub struct Sessions {
    kernels: Vec<Arc<Kernel>>,
    table: Mutex<HashMap<SessionId, Arc<Session>>>,
    folder: StateFolder,
    snapshots: StateFolder,
    open_files: u64,
    max_live: usize,
    max_sessions: usize,
    checkpoint_bytes: Arc<AtomicU64>,
    /// The runtime of what is done after a call's end.
    background: Handle,
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
        config: &crate::worker::WorkerConfig,
        background: Handle,
    ) -> Result<Self, Error> {
        let state = &config.state_dir;
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
            background,
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
        Place { kernel, folder: &self.folder, open_files: self.open_files, noted: &self.checkpoint_bytes }
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
