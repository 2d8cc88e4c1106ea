//! The service: what a process needs to make, hand out and follow tasks. Cheap to share; its loops are started by the composition.

use std::sync::Arc;

use cofferdam_cache::Bus;
use cofferdam_core::Caller;
use cofferdam_store::{Store, TaskRow, ThreadRow, Write, Written};
use tokio_util::sync::CancellationToken;

use crate::asked::Watched;
use crate::follow::Hub;
use crate::metrics::TaskMetrics;
use crate::worker::{SharedHeld, Slots};
use crate::writer::Writer;
use crate::{Error, TasksConfig};
use cofferdam_contract::{Problem, TaskId, ThreadId};

/// The time that the last writes of a process may take.
const LAST_WRITES_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const IDLE_INTERVAL: std::time::Duration = std::time::Duration::from_millis(20);

/// Tasks, threads and their events.
pub struct Tasks {
    pub(crate) store: Store,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) config: TasksConfig,
    pub(crate) metrics: TaskMetrics,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) slots: Slots,
    pub(crate) held: SharedHeld,
    pub(crate) watched: Arc<Watched>,
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tasks")
    }
}

impl Tasks {
    pub fn new(store: Store, bus: Arc<dyn Bus>, config: TasksConfig, metrics: TaskMetrics) -> Arc<Self> {
        let hub = Hub::new(store.clone(), Arc::clone(&bus), config, metrics.clone());
        let (slots, held, watched) = (Slots::default(), SharedHeld::default(), Arc::default());
        let known = (Arc::clone(&hub), Arc::clone(&held));
        let writer = Writer::new(store.clone(), known, metrics.clone(), config.write_timeout);
        Arc::new(Self { store, bus, config, metrics, hub, writer, slots, held, watched })
    }

    /// Writes an operation together with others. When it returns the operation is durable, followers and workers have been told, and
    /// a caller that goes away does not undo it.
    ///
    /// # Errors
    /// The database was away for longer than [`TasksConfig::write_timeout`], or refuses the operation.
    pub async fn write(&self, write: Write) -> Result<Written, Error> {
        self.writer.write(write).await
    }

    /// A task of the caller's organization.
    ///
    /// # Errors
    /// There is none.
    pub async fn row(&self, caller: &Caller, task: &TaskId) -> Result<TaskRow, Error> {
        let found = self.store.task(&caller.organization, task).await?;
        found.ok_or_else(|| Problem::not_found(format!("There is no task {task}. GET /v1/tasks lists them.")).into())
    }

    /// A thread of the caller's organization.
    ///
    /// # Errors
    /// There is none.
    pub async fn thread_row(&self, caller: &Caller, thread: &ThreadId) -> Result<ThreadRow, Error> {
        let found = self.store.thread(&caller.organization, thread).await?;
        found.ok_or_else(|| {
            Problem::not_found(format!("There is no thread {thread}. GET /v1/threads lists them.")).into()
        })
    }

    /// The store, for what reads rows as they are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Ends all streams when the process drains, and waits for the last writes when it stops.
    pub async fn keep_writer(self: Arc<Self>, draining: CancellationToken, stop: CancellationToken) {
        draining.cancelled().await;
        self.hub.closing.cancel();
        stop.cancelled().await;
        let idle = async {
            while !self.writer.is_idle() {
                tokio::time::sleep(IDLE_INTERVAL).await;
            }
        };
        if tokio::time::timeout(LAST_WRITES_TIMEOUT, idle).await.is_err() {
            tracing::warn!("writes of tasks did not end in time");
        }
    }

    /// Listens to what other processes write, for the followers of this one.
    pub async fn keep_following(self: Arc<Self>, stop: CancellationToken) {
        Arc::clone(&self.hub).keep_following(stop).await;
    }
}
