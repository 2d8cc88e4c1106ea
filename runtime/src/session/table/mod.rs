//! The sessions of a worker: their owners, kernels and metadata.
//!
//! Submodules: `held` (one run at a time), `making`, `room`, `calls`, `noting` and `tending`.

mod calls;
mod held;
mod making;
mod noting;
mod room;
mod tending;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_contract::worker::WorkerSessionInfo;
use cofferdam_contract::{Language, OrganizationId, Problem, SessionId, SessionState};
use parking_lot::{Mutex, MutexGuard};

use tokio::runtime::Handle;

use super::disk::{Meta, StateFolder};
use super::ledger::Ledger;
use super::life::{Life, Place};
use crate::error::Error;
use crate::kernel::Kernel;
pub(crate) use held::Held;
pub(crate) use making::NewSession;
use room::Room;

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A session in the table.
pub(crate) struct Session {
    pub id: SessionId,
    pub organization: OrganizationId,
    kernel: Arc<Kernel>,
    inner: Arc<tokio::sync::Mutex<Inner>>,
    language: Language,
    waiters: AtomicUsize,
    live: AtomicBool,
    last_used: AtomicU64,
    /// The reason why it is lost, and the warnings. Readable without waiting for a run.
    lost: Mutex<Option<Problem>>,
    warnings: Mutex<Vec<String>>,
}

pub(super) struct Inner {
    life: Life,
    pub meta: Meta,
}

pub(crate) struct Sessions {
    kernels: Vec<Arc<Kernel>>,
    table: Mutex<HashMap<SessionId, Arc<Session>>>,
    folder: StateFolder,
    snapshots: StateFolder,
    open_files: u64,
    max_live: usize,
    max_sessions: usize,
    /// Places of sessions that are being made. Changed while the table is locked.
    making: AtomicUsize,
    notes: Arc<Ledger>,
    checkpoints: Arc<Ledger>,
    /// The last warning that there is no room for idle sessions, in Unix seconds.
    told_full: AtomicU64,
    /// Suspended sessions whose kernel is not installed.
    stranded: Mutex<HashMap<SessionId, OrganizationId>>,
    /// The runtime for work after the end of a call.
    background: Handle,
}

fn not_found() -> Problem {
    Problem::not_found("no such session")
}

impl Sessions {
    /// Opens the state folder and restores the suspended sessions in it.
    pub(crate) fn open(
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
            making: AtomicUsize::default(),
            notes: Ledger::new(config.state_budget_bytes),
            checkpoints: Ledger::new(noting::MAX_CHECKPOINTS),
            told_full: AtomicU64::default(),
            stranded: Mutex::default(),
            background,
        };
        for meta in suspended {
            match sessions.kernel(meta.language.kernel()) {
                Ok(kernel) => sessions.put(meta, Life::Suspended, kernel, None),
                Err(_) => {
                    tracing::warn!(session = %meta.id, "its kernel is not installed; left on disk");
                    sessions.stranded.lock().insert(meta.id, meta.organization);
                }
            }
        }
        Ok(sessions)
    }

    pub(crate) fn kernel(&self, name: &str) -> Result<Arc<Kernel>, Problem> {
        let found = self.kernels.iter().find(|kernel| kernel.name() == name);
        found.cloned().ok_or_else(|| Problem::invalid(format!("this worker has no {name} kernel")))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.table.lock()
    }

    /// Adds a session, which takes one of the places that were reserved.
    fn put(&self, meta: Meta, life: Life, kernel: Arc<Kernel>, room: Option<&mut Room<'_>>) {
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
        let mut table = self.table();
        table.insert(session.id.clone(), session);
        if let Some(room) = room {
            room.used_one();
        }
    }

    fn place<'a>(&'a self, kernel: &'a Arc<Kernel>) -> Place<'a> {
        Place {
            kernel,
            folder: &self.folder,
            open_files: self.open_files,
            notes: &self.notes,
            checkpoints: &self.checkpoints,
        }
    }

    /// A session of the organization. Sessions of others are not found.
    pub(crate) fn find(&self, id: &SessionId, organization: &OrganizationId) -> Result<Arc<Session>, Problem> {
        let found = self.table().get(id).cloned();
        found.filter(|session| session.organization == *organization).ok_or_else(|| {
            if self.stranded.lock().get(id).is_some_and(|owner| owner == organization) {
                return Problem::kernel_changed("this worker does not have the session's kernel any more");
            }
            not_found()
        })
    }

    /// Forgets a suspended session whose kernel is not installed. Returns whether there was one.
    fn unstrand(&self, id: &SessionId, organization: &OrganizationId) -> bool {
        let mut stranded = self.stranded.lock();
        let own = stranded.get(id).is_some_and(|owner| owner == organization);
        own && stranded.remove(id).is_some()
    }

    /// The numbers of live and suspended sessions.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = self.table();
        let live = table.values().filter(|session| session.live.load(Ordering::Relaxed)).count();
        (live, table.len() - live)
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.folder.used() + self.snapshots.used()
    }

    /// A session's metadata. Does not wait for a run in it.
    pub(crate) fn info(&self, id: &SessionId, organization: &OrganizationId) -> Result<WorkerSessionInfo, Problem> {
        let session = self.find(id, organization)?;
        if let Some(why) = session.lost.lock().clone() {
            return Err(why);
        }
        let live = session.live.load(Ordering::Relaxed);
        Ok(WorkerSessionInfo {
            id: session.id.clone(),
            language: session.language,
            state: if live { SessionState::Live } else { SessionState::Suspended },
            last_used_at: session.last_used.load(Ordering::Relaxed),
            warnings: session.warnings.lock().clone(),
        })
    }

    /// The metadata of several sessions, in order. Unknown and lost ones are left out.
    pub(crate) fn infos(&self, ids: &[SessionId], organization: &OrganizationId) -> Vec<WorkerSessionInfo> {
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
