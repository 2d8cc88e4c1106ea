//! Watches one workload: opens a stream for each of its containers when one appears or restarts, opens it again when it
//! breaks, and reads it to the last line before the container is removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cofferdam_cluster::{AnyCluster, PodName, WorkloadId};
use cofferdam_redact::Redactor;
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::container::{Reading, StreamEnd};
use crate::logs::LogHandle;
use crate::positions::Container;
use crate::streams::{QUIET_TIME, Streams};

/// Timeout for listing the pods.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between listings of the pods while a stream is open: its end is noticed at once, a pod beside it then.
const SLOW_LISTING: Duration = Duration::from_secs(15);
/// The first time between listings while no stream is open and a container may appear at any time.
const FAST_LISTING: Duration = Duration::from_millis(500);
const MAX_EAGER: Duration = Duration::from_secs(3);
const MIN_WAIT: Duration = Duration::from_millis(50);
/// Streams of one workload.
const MAX_STREAMS: usize = 16;
/// A workload that is being removed is gone after this many listings without pods.
const EMPTY_LISTINGS: u32 = 3;
/// Timeout for streams that were told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The first wait after collecting could not begin.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(15);

pub(crate) struct Watch {
    id: WorkloadId,
    /// Changes with the settings of its environment.
    cluster: RwLock<AnyCluster>,
    redactor: Arc<Redactor>,
    handle: LogHandle,
    streams: Arc<Streams>,
    pub stop: CancellationToken,
    /// Lines are written at the end; false if another controller collects already.
    pub write: AtomicBool,
    /// The workload is being removed: the watch ends with its last pod.
    ending: AtomicBool,
    /// Listings so far.
    listings: AtomicU64,
    /// Notified when the pods have to be listed now.
    now: Notify,
    /// Cancelled when the watch has ended.
    pub ended: CancellationToken,
}

impl Watch {
    pub(crate) fn new(id: &WorkloadId, cluster: AnyCluster, redactor: Arc<Redactor>, handle: LogHandle) -> Self {
        Self {
            id: id.clone(),
            cluster: RwLock::new(cluster),
            redactor,
            handle,
            streams: Arc::default(),
            stop: CancellationToken::new(),
            write: AtomicBool::new(true),
            ending: AtomicBool::new(false),
            listings: AtomicU64::new(0),
            now: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.ended.is_cancelled() && !self.stop.is_cancelled()
    }

    fn cluster(&self) -> AnyCluster {
        Arc::clone(&self.cluster.read())
    }

    /// Opens new streams through this cluster.
    pub(crate) fn set_cluster(&self, cluster: &AnyCluster) {
        *self.cluster.write() = Arc::clone(cluster);
    }

    pub(crate) fn set_ending(&self, ending: bool) {
        self.ending.store(ending, Ordering::Relaxed);
    }

    /// Waits at most `patience` until all lines that containers wrote so far are read, then writes them.
    pub(crate) async fn drain(&self, patience: Duration) {
        let (begun, listings) = (Instant::now(), self.listings.load(Ordering::Relaxed));
        self.now.notify_one();
        while begun.elapsed() < patience && !self.ended.is_cancelled() {
            if self.streams.are_quiet_since(begun) && self.listings.load(Ordering::Relaxed) > listings {
                break;
            }
            tokio::time::sleep(QUIET_TIME / 10).await;
        }
        if let Err(error) = self.handle.log.flush().await {
            let (organization, agent) = (&self.id.organization, &self.id.agent);
            tracing::warn!(%organization, %agent, %error, "cannot store the lines of a log before its pod is removed");
        }
    }

    /// Collects until `stop`, or until the workload has been removed.
    pub(crate) async fn run(self: Arc<Self>) {
        if self.begin().await {
            self.supervise().await;
            self.handle.log.end_collecting(self.write.load(Ordering::Relaxed)).await;
        }
        self.ended.cancel();
    }

    /// Begins to collect, as often as it takes. Returns false if it was stopped before.
    async fn begin(&self) -> bool {
        let mut retry = FIRST_RETRY;
        loop {
            let error = tokio::select! {
                begun = self.handle.log.begin_collecting() => match begun {
                    Ok(()) => return true,
                    Err(error) => error,
                },
                () = self.stop.cancelled() => return false,
            };
            let (organization, agent) = (&self.id.organization, &self.id.agent);
            tracing::warn!(%organization, %agent, %error, retry_s = retry.as_secs(), "cannot collect a log yet");
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = self.stop.cancelled() => return false,
            }
            retry = (retry * 2).min(MAX_RETRY);
        }
    }

    async fn supervise(self: &Arc<Self>) {
        let mut tasks: JoinSet<(Container, StreamEnd)> = JoinSet::new();
        let (mut eager, mut empty) = (FAST_LISTING, 0);
        loop {
            match self.open_streams(&mut tasks).await {
                Some(0) if tasks.is_empty() && self.ending.load(Ordering::Relaxed) => empty += 1,
                Some(_) => empty = 0,
                None => {}
            }
            if empty >= EMPTY_LISTINGS {
                break;
            }
            eager = if tasks.is_empty() { (eager * 5 / 4).min(MAX_EAGER) } else { FAST_LISTING };
            let mut wait = if tasks.is_empty() { eager } else { SLOW_LISTING };
            if empty > 0 {
                wait = FAST_LISTING;
            }
            let rest = self.streams.next_rest().unwrap_or(wait);
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.now.notified() => {}
                () = tokio::time::sleep(wait.min(rest.max(MIN_WAIT))) => {}
                Some(ended) = tasks.join_next() => if let Ok((container, end)) = ended {
                    self.note_end(&container, end);
                },
            }
        }
        self.stop.cancel();
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tasks.shutdown().await;
        }
    }

    /// Lists the pods and opens the streams that are missing. Returns the number of containers.
    async fn open_streams(self: &Arc<Self>, tasks: &mut JoinSet<(Container, StreamEnd)>) -> Option<usize> {
        let cluster = self.cluster();
        let pods = tokio::select! {
            pods = tokio::time::timeout(LIST_TIMEOUT, cluster.pods(&self.id)) => pods,
            () = self.stop.cancelled() => return None,
        };
        let mut pods = match pods {
            Ok(Ok(pods)) => pods,
            Ok(Err(error)) => return self.unlisted(&error.to_string()),
            Err(_) => return self.unlisted("the cluster did not answer in time"),
        };
        // No workload should have this many pods. Those that restarted most are kept.
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.restarts));
        pods.truncate(MAX_STREAMS);
        let listed = pods.len();
        let there: Vec<Container> = pods.iter().map(Container::from).collect();
        self.streams.retain(&there);
        for pod in pods {
            self.open_stream(pod, tasks);
        }
        self.listings.fetch_add(1, Ordering::Relaxed);
        Some(listed)
    }

    fn unlisted(&self, error: &str) -> Option<usize> {
        let (organization, agent) = (&self.id.organization, &self.id.agent);
        tracing::debug!(%organization, %agent, error, "cannot list the pods of an agent");
        None
    }

    fn open_stream(self: &Arc<Self>, pod: PodName, tasks: &mut JoinSet<(Container, StreamEnd)>) {
        let container = Container::from(&pod);
        let has_room = tasks.len() < 2 * MAX_STREAMS;
        let Some(key) = self.streams.begin(&container, has_room) else { return };
        let (streams, moving) = (Arc::clone(&self.streams), container.clone());
        let reading = Reading {
            log: Arc::clone(&self.handle.log),
            cluster: self.cluster(),
            redactor: Arc::clone(&self.redactor),
            pod,
            moved: Box::new(move |waits| streams.moved(&moving, waits)),
        };
        let stop = self.stop.clone();
        tasks.spawn(async move {
            let end = reading.run(&stop, key).await;
            (container, end)
        });
    }

    fn note_end(&self, container: &Container, end: StreamEnd) {
        if let Some(error) = &end.error {
            let (organization, agent) = (&self.id.organization, &self.id.agent);
            tracing::debug!(%organization, %agent, pod = %container.pod, error, "a log stream broke");
        }
        self.streams.ended(container, end);
    }
}
