//! All logs of this process: which workloads are watched, and which logs are in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cofferdam_cluster::{AnyCluster, WorkloadId};
use cofferdam_contract::{AgentId, OrganizationId, Problem};
use cofferdam_objects::AnyObjects;
use cofferdam_redact::Redactor;
use cofferdam_store::Store;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::log::AgentLog;
use crate::positions::AgentKey;
use crate::shelf::{SegmentCache, SegmentShelf};
use crate::watch::Watch;
use crate::{Error, Follower, LogMetrics, LogsConfig, Query};

/// Timeout for reading what a workload wrote before it is removed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for all watches together at the end of the process.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Followers of this process.
const MAX_FOLLOWERS: usize = 8_192;

/// A log in memory.
struct Used {
    log: Arc<AgentLog>,
    users: usize,
}

/// All logs of this process.
pub struct Logs {
    store: Store,
    pub(crate) objects: AnyObjects,
    pub(crate) limits: LogsConfig,
    metrics: LogMetrics,
    cache: SegmentCache,
    used: Mutex<HashMap<AgentKey, Used>>,
    watches: Mutex<HashMap<WorkloadId, Arc<Watch>>>,
    /// Cancelled when the process accepts no more followers.
    closed: CancellationToken,
    /// Places for followers.
    places: Arc<Semaphore>,
}

/// One use of a log in memory. Dropping the last one removes the log from memory.
pub(crate) struct LogHandle {
    logs: Arc<Logs>,
    pub log: Arc<AgentLog>,
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        let mut used = self.logs.used.lock();
        if let Some(one) = used.get_mut(&self.log.key) {
            one.users = one.users.saturating_sub(1);
            if one.users == 0 {
                used.remove(&self.log.key);
            }
        }
    }
}

impl Logs {
    pub fn new(store: Store, objects: AnyObjects, limits: LogsConfig, metrics: LogMetrics) -> Arc<Self> {
        Arc::new(Self {
            store,
            objects,
            limits,
            metrics,
            cache: SegmentCache::new(),
            used: Mutex::default(),
            watches: Mutex::default(),
            closed: CancellationToken::new(),
            places: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        })
    }

    fn hold(self: &Arc<Self>, organization: &OrganizationId, agent: &AgentId) -> LogHandle {
        let key = AgentKey { organization: organization.clone(), agent: agent.clone() };
        let mut used = self.used.lock();
        let one = used.entry(key.clone()).or_insert_with(|| {
            let shelf = SegmentShelf::new(Arc::clone(&self.objects), self.cache.clone(), &key);
            let log = AgentLog::new(key, shelf, self.store.clone(), self.limits.clone(), self.metrics.clone());
            Used { log: Arc::new(log), users: 0 }
        });
        one.users += 1;
        LogHandle { logs: Arc::clone(self), log: Arc::clone(&one.log) }
    }

    /// The agents whose logs are in memory.
    pub(crate) fn agents_in_memory(&self) -> Vec<AgentKey> {
        self.used.lock().keys().cloned().collect()
    }

    /// Collects what a workload writes, starting behind the last stored line, until [`Self::drain`] and the workload's
    /// end, or [`Self::unwatch`]. Returns at once; calling it again for the same workload changes nothing. Only the
    /// controller that holds the agent's lease may call it.
    pub fn watch(self: &Arc<Self>, id: &WorkloadId, cluster: &AnyCluster, redactor: Arc<Redactor>) {
        let handle = self.hold(&id.organization, &id.agent);
        let mut watches = self.watches.lock();
        if let Some(known) = watches.get(id).filter(|watch| watch.is_running()) {
            known.set_ending(false);
            drop(watches);
            return;
        }
        let watch = Arc::new(Watch::new(id, Arc::clone(cluster), redactor, handle));
        watches.insert(id.clone(), Arc::clone(&watch));
        drop(watches);
        let (logs, id) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            Arc::clone(&watch).run().await;
            let mut watches = logs.watches.lock();
            if watches.get(&id).is_some_and(|one| Arc::ptr_eq(one, &watch)) {
                watches.remove(&id);
            }
        });
    }

    /// Returns whether this process collects a workload. If so, it continues through `cluster`, whose address may have
    /// changed.
    pub fn is_watched(&self, id: &WorkloadId, cluster: &AnyCluster) -> bool {
        let watches = self.watches.lock();
        watches.get(id).filter(|watch| watch.is_running()).is_some_and(|watch| {
            watch.set_cluster(cluster);
            watch.set_ending(false);
            true
        })
    }

    /// Stops collecting an agent's log without storing more of it, because another controller has the lease. Returns at
    /// once.
    pub fn leave(&self, organization: &OrganizationId, agent: &AgentId) {
        for watch in self.watches_of(organization, agent) {
            watch.write.store(false, Ordering::Relaxed);
            watch.stop.cancel();
        }
    }

    pub(crate) fn watches_of(&self, organization: &OrganizationId, agent: &AgentId) -> Vec<Arc<Watch>> {
        let of_agent = |id: &WorkloadId| id.organization == *organization && id.agent == *agent;
        self.watches.lock().iter().filter(|(id, _)| of_agent(id)).map(|(_, watch)| Arc::clone(watch)).collect()
    }

    fn find_watch(&self, id: &WorkloadId) -> Option<Arc<Watch>> {
        self.watches.lock().get(id).cloned()
    }

    /// Reads and stores what a workload wrote so far; call it before the workload is removed. Takes seconds at most.
    /// Lines that the workload writes while it ends are still read; the watch ends with its last pod.
    pub async fn drain(&self, id: &WorkloadId) {
        if let Some(watch) = self.find_watch(id) {
            watch.set_ending(true);
            watch.drain(DRAIN_TIMEOUT).await;
        }
    }

    /// Stops collecting. `write` stores the lines received so far. Pass `false` if another controller has the lease: it
    /// reads them from the cluster itself.
    pub async fn unwatch(&self, id: &WorkloadId, write: bool) {
        if let Some(watch) = self.find_watch(id) {
            watch.write.store(write, Ordering::Relaxed);
            watch.stop.cancel();
            watch.ended.cancelled().await;
        }
    }

    /// Follows an agent's log. Does not check whether the caller may see the agent.
    ///
    /// # Errors
    /// This process has as many followers as it takes.
    pub fn follow(
        self: &Arc<Self>,
        organization: &OrganizationId,
        agent: &AgentId,
        query: Query,
    ) -> Result<Follower, Error> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Problem::overloaded(format!("The limit of {MAX_FOLLOWERS} log followers is reached.")).into());
        };
        Ok(Follower::new(self.hold(organization, agent), query, self.closed.clone(), place))
    }

    /// Sweeps old logs for the life of the process. Ends followers when the process drains, and stores all lines when it
    /// stops.
    pub async fn run(self: Arc<Self>, draining: CancellationToken, stop: CancellationToken) {
        tokio::spawn(Arc::clone(&self).keep_sweeping(stop.clone()));
        draining.cancelled().await;
        self.end_followers();
        stop.cancelled().await;
        self.close().await;
    }

    /// Ends all followers. They reconnect with the last id they have, to another controller or to this one after its
    /// restart.
    pub fn end_followers(&self) {
        self.closed.cancel();
    }

    /// Stops collecting, and stores all lines received so far.
    pub async fn close(&self) {
        self.end_followers();
        let ids: Vec<WorkloadId> = self.watches.lock().keys().cloned().collect();
        let all = ids.iter().map(|id| self.unwatch(id, true));
        if tokio::time::timeout(CLOSE_TIMEOUT, futures_util::future::join_all(all)).await.is_err() {
            tracing::warn!("not all logs could be stored in time; missing lines are read again at the next start");
        }
    }

    /// The number of followers, and of logs in memory.
    pub fn count(&self) -> (usize, usize) {
        let used = self.used.lock();
        (used.values().map(|one| one.log.followers()).sum(), used.len())
    }
}
