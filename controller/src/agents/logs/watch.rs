//! Watches one workload: a stream for each of its containers, begun when one appears or restarts, begun again when one
//! breaks, and read to the last line before a container is taken away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Handle;
use super::container::{Ended, Reading, Waits};
use super::positions::Container;
use super::redact::{KeyBlock, Redactor};
use crate::cluster::{AnyCluster, PodName, WorkloadId};

/// Asking for the pods.
const LIST: Duration = Duration::from_secs(20);
/// How often they are asked for while a stream is open, and while none is: then a container may come at any time.
const CALM: Duration = Duration::from_secs(5);
const EAGER: Duration = Duration::from_millis(500);
const MOST_EAGER: Duration = Duration::from_secs(3);
/// After a stream broke, or could not be opened.
const BROKEN: Duration = Duration::from_millis(500);
const MOST_BROKEN: Duration = Duration::from_secs(2);
/// A stream that ends so soon without a line is of a container that has ended. It is looked at again, less and less.
const SOON: Duration = Duration::from_secs(2);
const MOST_ENDED: Duration = Duration::from_secs(30);
/// Streams of one workload.
const MOST_STREAMS: usize = 16;
/// Once the workload is taken away: looks that found nothing.
const EMPTY_LOOKS: u32 = 3;
/// Until tasks end that were told to.
const END: Duration = Duration::from_secs(2);
/// A log that its cluster, the object store or the database cannot serve now.
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(15);
/// A stream that said nothing for so long has said all there was.
const QUIET: Duration = Duration::from_millis(300);

/// One container, as its stream stands.
#[derive(Debug)]
struct Stand {
    reading: bool,
    /// The reader waits for lines, since then.
    waits: bool,
    moved: Instant,
    /// Not before then again.
    rest: Instant,
    /// Ends without a line, and breaks, in a row.
    ends: u32,
    breaks: u32,
    key: KeyBlock,
}

#[derive(Default)]
struct Table(Mutex<HashMap<Container, Stand>>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<Container, Stand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Watch {
    id: WorkloadId,
    /// Changes with its environment's settings.
    cluster: RwLock<AnyCluster>,
    redactor: Arc<Redactor>,
    handle: Handle,
    table: Arc<Table>,
    pub stop: CancellationToken,
    /// Whether what came is written at the end: not where another controller collects already.
    pub write: AtomicBool,
    /// The workload is being taken away: with its last pod the watch ends.
    ending: AtomicBool,
    looks: AtomicU64,
    now: Notify,
    /// It has ended.
    pub ended: CancellationToken,
}

impl Watch {
    pub(super) fn new(id: &WorkloadId, cluster: AnyCluster, redactor: Arc<Redactor>, handle: Handle) -> Self {
        Self {
            id: id.clone(),
            cluster: RwLock::new(cluster),
            redactor,
            handle,
            table: Arc::default(),
            stop: CancellationToken::new(),
            write: AtomicBool::new(true),
            ending: AtomicBool::new(false),
            looks: AtomicU64::new(0),
            now: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    fn cluster(&self) -> AnyCluster {
        Arc::clone(&self.cluster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Streams that begin from now on come from there.
    pub fn set_cluster(&self, cluster: &AnyCluster) {
        *self.cluster.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(cluster);
    }

    pub fn is_ending(&self, ending: bool) {
        self.ending.store(ending, Ordering::Relaxed);
    }

    /// Waits until all that containers wrote so far is read, at most `patience`; then it is written.
    pub async fn drain(&self, patience: Duration) {
        let (begun, looks) = (Instant::now(), self.looks.load(Ordering::Relaxed));
        self.now.notify_one();
        while begun.elapsed() < patience && !self.ended.is_cancelled() {
            let quiet = self.table.lock().values().all(|stand| {
                let idle = stand.waits && stand.moved.elapsed() > QUIET && begun.elapsed() > QUIET;
                if stand.reading { idle } else { stand.ends > 0 || stand.breaks > 0 }
            });
            if quiet && self.looks.load(Ordering::Relaxed) > looks {
                break;
            }
            tokio::time::sleep(QUIET / 10).await;
        }
        if let Err(error) = self.handle.log.flush().await {
            let (organization, agent) = (&self.id.organization, &self.id.agent);
            tracing::warn!(%organization, %agent, %error, "lines of a log could not be stored before its pod goes");
        }
    }

    pub(super) async fn run(self: Arc<Self>) {
        if self.begin().await {
            self.supervise().await;
            self.handle.log.end_collecting(self.write.load(Ordering::Relaxed)).await;
        }
        self.ended.cancel();
    }

    /// Whether collecting has begun.
    async fn begin(&self) -> bool {
        let mut retry = RETRY;
        loop {
            let error = tokio::select! {
                begun = self.handle.log.begin_collecting() => match begun {
                    Ok(()) => return true,
                    Err(error) => error,
                },
                () = self.stop.cancelled() => return false,
            };
            let (organization, agent) = (&self.id.organization, &self.id.agent);
            tracing::warn!(%organization, %agent, %error, retry_s = retry.as_secs(), "a log cannot be collected yet");
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = self.stop.cancelled() => return false,
            }
            retry = (retry * 2).min(MOST_RETRY);
        }
    }

    async fn supervise(self: &Arc<Self>) {
        let mut streams: JoinSet<(Container, Ended)> = JoinSet::new();
        let (mut eager, mut empty) = (EAGER, 0);
        loop {
            match self.look(&mut streams).await {
                Some(0) if streams.is_empty() && self.ending.load(Ordering::Relaxed) => empty += 1,
                Some(_) => empty = 0,
                None => {}
            }
            if empty >= EMPTY_LOOKS {
                break;
            }
            eager = if streams.is_empty() { (eager * 5 / 4).min(MOST_EAGER) } else { EAGER };
            let mut wait = if streams.is_empty() { eager } else { CALM };
            if empty > 0 {
                wait = EAGER;
            }
            let soonest = self.table.lock().values().filter(|stand| !stand.reading).map(|stand| stand.rest).min();
            let rest = soonest.map_or(wait, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.now.notified() => {}
                () = tokio::time::sleep(wait.min(rest.max(Duration::from_millis(50)))) => {}
                Some(ended) = streams.join_next() => if let Ok((container, ended)) = ended {
                    self.note(&container, ended);
                },
            }
        }
        self.stop.cancel();
        let all = async { while streams.join_next().await.is_some() {} };
        if tokio::time::timeout(END, all).await.is_err() {
            streams.shutdown().await;
        }
    }

    /// Begins what streams there should be; how many containers there are.
    async fn look(self: &Arc<Self>, streams: &mut JoinSet<(Container, Ended)>) -> Option<usize> {
        let cluster = self.cluster();
        let pods = tokio::select! {
            pods = tokio::time::timeout(LIST, cluster.pods(&self.id)) => pods,
            () = self.stop.cancelled() => return None,
        };
        let mut pods = match pods {
            Ok(Ok(pods)) => pods,
            Ok(Err(error)) => return self.unlisted(&error.to_string()),
            Err(_) => return self.unlisted("it did not answer in time"),
        };
        // The newest ones, if there are more than anybody should have.
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.restarts));
        pods.truncate(MOST_STREAMS);
        let listed = pods.len();
        let known: Vec<Container> = pods.iter().map(Container::from).collect();
        self.table.lock().retain(|container, stand| stand.reading || known.contains(container));
        for pod in pods {
            self.begin_stream(pod, streams);
        }
        self.looks.fetch_add(1, Ordering::Relaxed);
        Some(listed)
    }

    fn unlisted(&self, error: &str) -> Option<usize> {
        let (organization, agent) = (&self.id.organization, &self.id.agent);
        tracing::debug!(%organization, %agent, error, "the pods of an agent cannot be listed");
        None
    }

    fn begin_stream(self: &Arc<Self>, pod: PodName, streams: &mut JoinSet<(Container, Ended)>) {
        let (container, now) = (Container::from(&pod), Instant::now());
        let key = {
            let mut table = self.table.lock();
            let fresh = Stand {
                reading: false,
                waits: false,
                moved: now,
                rest: now,
                ends: 0,
                breaks: 0,
                key: KeyBlock::default(),
            };
            let stand = table.entry(container.clone()).or_insert(fresh);
            if stand.reading || stand.rest > now || streams.len() >= 2 * MOST_STREAMS {
                return;
            }
            (stand.reading, stand.waits, stand.moved) = (true, false, now);
            std::mem::take(&mut stand.key)
        };
        let (table, moving) = (Arc::clone(&self.table), container.clone());
        let moved = move |waits: Waits| {
            if let Some(stand) = table.lock().get_mut(&moving) {
                (stand.waits, stand.moved) = (waits == Waits::Yes, Instant::now());
            }
        };
        let reading = Reading {
            log: Arc::clone(&self.handle.log),
            cluster: self.cluster(),
            redactor: Arc::clone(&self.redactor),
            pod,
            moved: Box::new(moved),
        };
        let stop = self.stop.clone();
        streams.spawn(async move {
            let ended = reading.run(&stop, key).await;
            (container, ended)
        });
    }

    fn note(&self, container: &Container, ended: Ended) {
        if let Some(error) = &ended.error {
            let (organization, agent) = (&self.id.organization, &self.id.agent);
            tracing::debug!(%organization, %agent, pod = %container.pod, error, "a stream of a log broke");
        }
        let mut table = self.table.lock();
        let Some(stand) = table.get_mut(container) else { return };
        (stand.reading, stand.moved, stand.key) = (false, Instant::now(), ended.key);
        let twice = |first: Duration, times: u32, most: Duration| {
            first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(most)
        };
        let rest = if ended.error.is_some() {
            stand.breaks = if ended.lines > 0 { 1 } else { stand.breaks.saturating_add(1) };
            twice(BROKEN, stand.breaks, MOST_BROKEN)
        } else if ended.lines == 0 && ended.took < SOON {
            (stand.ends, stand.breaks) = (stand.ends.saturating_add(1), 0);
            twice(BROKEN, stand.ends, MOST_ENDED)
        } else {
            // Whether it ended or was cut off is seen by asking once more.
            (stand.ends, stand.breaks) = (0, 0);
            Duration::ZERO
        };
        stand.rest = Instant::now() + rest;
    }
}
