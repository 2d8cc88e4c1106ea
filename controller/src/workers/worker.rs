//! One worker: its pool of connections, whether it is ready, how much it has to do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use cofferdam_contract::worker::WorkerHealth;
use http::HeaderValue;

use super::connect::Target;
use super::link::Links;
use crate::Error;
use crate::config::{ConfigError, RemoteWorker, Secret};

pub struct Worker {
    /// How the store calls it: `local`, or its address.
    pub name: String,
    /// Eight hex digits of the name's hash, for run ids.
    pub tag: String,
    pub(super) links: Arc<Links>,
    pub(super) token: Option<HeaderValue>,
    pub(super) host: HeaderValue,
    ready: AtomicBool,
    active: AtomicUsize,
    health: RwLock<Option<WorkerHealth>>,
}

impl Worker {
    /// The worker on this machine.
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
            tag: crate::services::run_ids::tag(&name),
            name,
            links: Arc::new(Links::new(target)),
            token,
            // An address that was parsed as one is a header's value.
            host: HeaderValue::from_str(&host).unwrap_or(HeaderValue::from_static("worker")),
            ready: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            health: RwLock::new(None),
        })
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether calls may be sent to it.
    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// What a health call found: the answer, or nothing.
    pub fn set_health(&self, health: Option<WorkerHealth>) {
        self.set_ready(health.is_some());
        if health.is_some() {
            *self.health.write().unwrap_or_else(|e| e.into_inner()) = health;
        }
    }

    /// The last health answer, however old.
    pub fn health(&self) -> Option<WorkerHealth> {
        self.health.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// `name version` of the kernel that runs a language, as the worker told it.
    pub fn kernel(&self, name: &str) -> String {
        let health = self.health();
        let kernels = health.iter().flat_map(|health| &health.kernels);
        kernels
            .into_iter()
            .find(|kernel| kernel.split(' ').next() == Some(name))
            .cloned()
            .unwrap_or_else(|| name.to_owned())
    }

    /// Calls under way from this process.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }
}

/// Counts a call until it is dropped, however it ends.
pub struct Active(Arc<Worker>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
