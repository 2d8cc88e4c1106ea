//! One worker: its pool of connections, its readiness, its load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cofferdam_contract::worker::WorkerHealth;
use cofferdam_core::{ConfigError, Secret};
use http::HeaderValue;
use parking_lot::RwLock;

use crate::connect::Target;
use crate::link::Links;
use crate::load::Load;
use crate::{Error, RemoteWorker};

pub struct Worker {
    name: String,
    /// The name of a local worker whose database other processes use, too.
    home: OnceLock<String>,
    tag: String,
    pub(crate) links: Arc<Links>,
    pub(crate) token: Option<HeaderValue>,
    pub(crate) host: HeaderValue,
    ready: AtomicBool,
    active: AtomicUsize,
    health: RwLock<Option<WorkerHealth>>,
}

impl Worker {
    /// The worker on this machine, listening on `socket`.
    pub fn local(socket: impl Into<std::path::PathBuf>) -> Arc<Self> {
        Self::new("local".to_owned(), Target::Unix(socket.into()), "worker".to_owned(), None)
    }

    /// A worker on another machine.
    ///
    /// # Errors
    /// A token that cannot stand in a header.
    pub fn remote(worker: &RemoteWorker, token: Option<&Secret>) -> Result<Arc<Self>, Error> {
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| ConfigError::value("COFFERDAM_WORKER_TOKEN", "has characters that no header can carry"))?;
            value.set_sensitive(true);
            Ok::<_, ConfigError>(value)
        });
        let authority = worker.authority.clone();
        Ok(Self::new(authority.clone(), Target::Tcp(authority.clone()), authority, token.transpose()?))
    }

    fn new(name: String, target: Target, host: String, token: Option<HeaderValue>) -> Arc<Self> {
        Arc::new(Self {
            tag: cofferdam_core::tag(&name),
            name,
            home: OnceLock::new(),
            links: Arc::new(Links::new(target)),
            token,
            // An address that was parsed as one is always a valid header value.
            host: HeaderValue::from_str(&host).unwrap_or(HeaderValue::from_static("worker")),
            ready: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            health: RwLock::new(None),
        })
    }

    /// The worker's name in this process: `local`, or its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The worker's name in the store, where each process that uses the store has to know its own local worker.
    pub fn home(&self) -> &str {
        self.home.get().unwrap_or(&self.name)
    }

    /// Gives a local worker a name of its own in the store, once.
    pub fn set_home(&self, home: String) {
        let _ = self.home.set(home);
    }

    /// Checks if sessions and snapshots of this name are here. A name that older versions wrote counts as well.
    pub(crate) fn is_home_of(&self, name: &str) -> bool {
        self.home() == name || self.name == name
    }

    /// Eight hex digits that stand for the name in run ids.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Notes the answer of a health call; `None` makes the worker not ready.
    pub fn set_health(&self, health: Option<WorkerHealth>) {
        self.set_ready(health.is_some());
        if health.is_some() {
            *self.health.write() = health;
        }
    }

    /// The last health answer, however old.
    pub fn health(&self) -> Option<WorkerHealth> {
        self.health.read().clone()
    }

    /// `name version` of the kernel that runs a language, as the worker reported it; else the name alone.
    pub fn kernel(&self, name: &str) -> String {
        let health = self.health.read();
        let mut kernels = health.iter().flat_map(|health| &health.kernels);
        kernels.find(|kernel| kernel.split(' ').next() == Some(name)).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Calls under way from this process.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }
}

impl Load for Worker {
    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn active(&self) -> usize {
        self.active()
    }
}

/// Counts a call until it is dropped.
pub(crate) struct Active(Arc<Worker>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
