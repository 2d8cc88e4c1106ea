//! Agents' logs: collected from the cluster once, kept in the object store, shown to as many as ask.
//!
//! Every line goes one way: a stream for each container ([`container`]) takes secrets out ([`redact`]), gives the line its
//! number and keeps it in memory ([`log`], [`state`]), tells the followers ([`follow`]) and writes it into segments
//! ([`writer`], [`segment`], [`shelf`]) with how far the container was read, so that after a crash reading goes on behind
//! the last stored line. Nothing here decides who may see what, or when a workload runs. `docs/logs.md` says what callers
//! may rely on.

mod batch;
mod bucket;
mod clean;
mod container;
mod follow;
mod log;
mod positions;
mod query;
mod redact;
mod roles;
mod segment;
mod shapes;
mod shelf;
mod state;
mod sweep;
mod time;
mod watch;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::{AgentId, OrganizationId, Problem};
use futures_util::stream::{self, Stream};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::cluster::{AnyCluster, WorkloadId};
use crate::config::LogsConfig;
use crate::metrics::LogMetrics;
use crate::objects::AnyObjects;
use crate::store::Store;

pub use follow::Follower;
pub use query::{LogQuery, Query};
pub use redact::{Redactor, TooManySecrets};

use log::AgentLog;
use positions::AgentKey;
use shelf::{Cache, Shelf};
use watch::Watch;

/// Reading what a workload wrote before it is taken away.
const DRAIN: Duration = Duration::from_secs(10);
/// All watches together, at the end of the process.
const CLOSE: Duration = Duration::from_secs(4);
/// Followers of this process.
const MOST_FOLLOWERS: usize = 8_192;

/// A log that somebody uses.
struct Used {
    log: Arc<AgentLog>,
    users: usize,
}

/// All logs of this process.
pub struct Logs {
    store: Store,
    objects: AnyObjects,
    limits: LogsConfig,
    metrics: LogMetrics,
    cache: Arc<Cache>,
    used: Mutex<HashMap<AgentKey, Used>>,
    watches: Mutex<HashMap<WorkloadId, Arc<Watch>>>,
    /// No more followers.
    closed: CancellationToken,
}

/// One user's hold of a log; the last one to go takes it out of memory.
pub(crate) struct Handle {
    logs: Arc<Logs>,
    log: Arc<AgentLog>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut used = self.logs.used();
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
            cache: Arc::default(),
            used: Mutex::default(),
            watches: Mutex::default(),
            closed: CancellationToken::new(),
        })
    }

    fn used(&self) -> MutexGuard<'_, HashMap<AgentKey, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<WorkloadId, Arc<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(self: &Arc<Self>, organization: &OrganizationId, agent: &AgentId) -> Handle {
        let key = AgentKey { organization: organization.clone(), agent: agent.clone() };
        let mut used = self.used();
        let one = used.entry(key.clone()).or_insert_with(|| {
            let shelf = Shelf::new(Arc::clone(&self.objects), Arc::clone(&self.cache), &key);
            let log =
                Arc::new(AgentLog::new(key, shelf, self.store.clone(), self.limits.clone(), self.metrics.clone()));
            Used { log, users: 0 }
        });
        one.users += 1;
        Handle { logs: Arc::clone(self), log: Arc::clone(&one.log) }
    }

    /// Collects what a workload writes, from the first line that is not stored, until [`Self::drain`] and the workload's
    /// end, or [`Self::unwatch`]. Returns at once; once more for the same workload changes nothing. For one controller at
    /// a time: the one that holds the agent's lease.
    pub fn watch(self: &Arc<Self>, id: &WorkloadId, cluster: &AnyCluster, redactor: Arc<Redactor>) {
        let handle = self.hold(&id.organization, &id.agent);
        let mut watches = self.watches();
        if let Some(known) = watches.get(id).filter(|watch| !watch.ended.is_cancelled() && !watch.stop.is_cancelled()) {
            known.is_ending(false);
            drop(watches);
            return;
        }
        let watch = Arc::new(Watch::new(id, Arc::clone(cluster), redactor, handle));
        watches.insert(id.clone(), Arc::clone(&watch));
        drop(watches);
        let (logs, id) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            Arc::clone(&watch).run().await;
            let mut watches = logs.watches();
            if watches.get(&id).is_some_and(|one| Arc::ptr_eq(one, &watch)) {
                watches.remove(&id);
            }
        });
    }

    /// Whether a workload is collected here. If so, it goes on through this cluster: it may be reached in another way by
    /// now.
    pub fn is_watched(&self, id: &WorkloadId, cluster: &AnyCluster) -> bool {
        let watches = self.watches();
        let watch = watches.get(id).filter(|watch| !watch.ended.is_cancelled() && !watch.stop.is_cancelled());
        watch.is_some_and(|watch| {
            watch.set_cluster(cluster);
            watch.is_ending(false);
            true
        })
    }

    /// Stops collecting an agent's log without storing more of it: another controller has the lease. Returns at once.
    pub fn leave(&self, organization: &OrganizationId, agent: &AgentId) {
        for watch in self.watches_of(organization, agent) {
            watch.write.store(false, Ordering::Relaxed);
            watch.stop.cancel();
        }
    }

    fn watches_of(&self, organization: &OrganizationId, agent: &AgentId) -> Vec<Arc<Watch>> {
        let of_agent = |id: &WorkloadId| id.organization == *organization && id.agent == *agent;
        self.watches().iter().filter(|(id, _)| of_agent(id)).map(|(_, watch)| Arc::clone(watch)).collect()
    }

    /// Before a workload is taken away: reads what it wrote so far, within seconds, and stores it. What it writes while it
    /// ends is still read; the watch ends with its last pod.
    pub async fn drain(&self, id: &WorkloadId) {
        let watch = self.watches().get(id).cloned();
        if let Some(watch) = watch {
            watch.is_ending(true);
            watch.drain(DRAIN).await;
        }
    }

    /// Stops collecting. `write` stores what came: right unless another controller has the lease by now, which reads it
    /// from the cluster itself.
    pub async fn unwatch(&self, id: &WorkloadId, write: bool) {
        let watch = self.watches().get(id).cloned();
        if let Some(watch) = watch {
            watch.write.store(write, Ordering::Relaxed);
            watch.stop.cancel();
            watch.ended.cancelled().await;
        }
    }

    /// An agent's log from where `query` says. Whether the caller may see the agent is asked before.
    ///
    /// # Errors
    /// More followers than this process takes.
    pub fn follow(
        self: &Arc<Self>,
        organization: &OrganizationId,
        agent: &AgentId,
        query: Query,
    ) -> Result<Follower, Error> {
        let followers: usize = self.used().values().map(|one| one.log.followers()).sum();
        if followers >= MOST_FOLLOWERS {
            let detail = format!("{MOST_FOLLOWERS} logs are being followed, which is as many as there may be.");
            return Err(Problem::overloaded(detail).into());
        }
        Ok(Follower::new(self.hold(organization, agent), query, self.closed.clone()))
    }

    /// What happens by itself, for the life of the process: followers end when it drains, so that nobody waits for them;
    /// at its end all that came is stored.
    pub async fn run(self: Arc<Self>, draining: CancellationToken, stop: CancellationToken) {
        tokio::spawn(Arc::clone(&self).keep_sweeping(stop.clone()));
        draining.cancelled().await;
        self.end_followers();
        stop.cancelled().await;
        self.close().await;
    }

    /// Ends all followers; they come back to another controller, or to the next start, with the last id they have.
    pub fn end_followers(&self) {
        self.closed.cancel();
    }

    /// Stops collecting, and stores all that came.
    pub async fn close(&self) {
        self.end_followers();
        let ids: Vec<WorkloadId> = self.watches().keys().cloned().collect();
        let all = ids.iter().map(|id| self.unwatch(id, true));
        if tokio::time::timeout(CLOSE, futures_util::future::join_all(all)).await.is_err() {
            tracing::warn!("not all logs could be stored in time; what is missing is read again at the next start");
        }
    }

    /// Followers, and logs in memory.
    pub fn count(&self) -> (usize, usize) {
        let used = self.used();
        (used.values().map(|one| one.log.followers()).sum(), used.len())
    }
}

impl Follower {
    /// Server-sent events, ready for the body of an answer.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        stream::unfold(self, |mut follower| async move { Some((Ok(follower.next().await?), follower)) })
    }
}
