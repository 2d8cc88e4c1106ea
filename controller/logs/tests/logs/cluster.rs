//! A fake cluster: pods with growing logs, breaking streams, and times truncated to seconds as in the real API.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cofferdam_cluster::{AnyCluster, Cluster, ClusterError, Lines, PodName, RawLine, Seen, Workload, WorkloadId};
use cofferdam_contract::{AgentId, OrganizationId};
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::watch;

pub(crate) fn workload(agent: &str, version: u64) -> WorkloadId {
    let organization = OrganizationId::default_organization();
    WorkloadId { organization, agent: AgentId::parse(agent).unwrap(), version }
}

#[derive(Default)]
struct Pod {
    lines: Vec<RawLine>,
    ended: bool,
    /// Streams that were opened before it was raised break.
    broken: u64,
}

pub(crate) struct FakePod {
    name: PodName,
    pod: watch::Sender<Pod>,
    streams: Arc<AtomicUsize>,
}

impl FakePod {
    /// Writes a line now.
    pub(crate) fn write(&self, text: &str) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        self.write_at(i64::try_from(now.as_nanos()).unwrap(), text);
    }

    pub(crate) fn write_at(&self, nanos: i64, text: &str) {
        let time = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string();
        self.pod.send_modify(|pod| pod.lines.push(RawLine { time, text: text.to_owned() }));
    }

    /// Writes many lines at once, a microsecond apart.
    pub(crate) fn write_all(&self, texts: impl IntoIterator<Item = String>) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let base = i128::try_from(now.as_nanos()).unwrap();
        self.pod.send_modify(|pod| {
            for (n, text) in (0..).zip(texts) {
                let time = jiff::Timestamp::from_nanosecond(base + n * 1_000).unwrap().to_string();
                pod.lines.push(RawLine { time, text });
            }
        });
    }

    pub(crate) fn end(&self) {
        self.pod.send_modify(|pod| pod.ended = true);
    }

    pub(crate) fn break_streams(&self) {
        self.pod.send_modify(|pod| pod.broken += 1);
    }

    fn stream(self: &Arc<Self>, since: Option<&str>) -> Lines {
        // The API takes whole seconds.
        let since = since.map(|time| time.parse::<jiff::Timestamp>().unwrap().as_second());
        let receiver = self.pod.subscribe();
        let broken = receiver.borrow().broken;
        let open = Open(Arc::clone(&self.streams));
        open.0.fetch_add(1, Ordering::SeqCst);
        stream::unfold((receiver, 0, open, false), move |(mut receiver, at, open, over)| async move {
            if over {
                return None;
            }
            loop {
                {
                    let pod = receiver.borrow_and_update();
                    if pod.broken > broken {
                        drop(pod);
                        let error = ClusterError::Unreachable("the connection broke".to_owned());
                        return Some((vec![Err(error)], (receiver, at, open, true)));
                    }
                    if at < pod.lines.len() {
                        let piece: Vec<_> = pod.lines[at..].iter().take(1_000).cloned().map(Ok).collect();
                        drop(pod);
                        let next = at + piece.len();
                        return Some((piece, (receiver, next, open, over)));
                    }
                    if pod.ended {
                        return None;
                    }
                }
                receiver.changed().await.ok()?;
            }
        })
        .flat_map(stream::iter)
        .filter(move |line| {
            let late = line.as_ref().is_ok_and(|line| {
                let second = line.time.parse::<jiff::Timestamp>().unwrap().as_second();
                since.is_some_and(|since| second < since)
            });
            ready(!late)
        })
        .boxed()
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
pub(crate) struct FakeCluster {
    pods: Mutex<Vec<Arc<FakePod>>>,
    /// Open streams.
    pub streams: Arc<AtomicUsize>,
}

impl FakeCluster {
    pub(crate) fn new() -> (Arc<Self>, AnyCluster) {
        let cluster = Arc::new(Self::default());
        (Arc::clone(&cluster), cluster)
    }

    pub(crate) fn pod(&self, workload: &WorkloadId, pod: &str, restarts: u32) -> Arc<FakePod> {
        let name = PodName { workload: workload.clone(), pod: pod.to_owned(), restarts };
        let streams = Arc::clone(&self.streams);
        let pod = Arc::new(FakePod { name, pod: watch::Sender::new(Pod::default()), streams });
        self.pods.lock().unwrap().push(Arc::clone(&pod));
        pod
    }

    pub(crate) fn remove_pods(&self, workload: &WorkloadId) {
        self.pods.lock().unwrap().retain(|pod| pod.name.workload != *workload);
    }
}

impl Cluster for FakeCluster {
    fn apply<'a>(&'a self, _: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>> {
        ready(Ok(())).boxed()
    }

    fn see<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        ready(Ok(Seen::Gone)).boxed()
    }

    fn remove<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>> {
        ready(Ok(())).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn pods<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        let pods = self.pods.lock().unwrap();
        let found = pods.iter().filter(|pod| pod.name.workload == *id).map(|pod| pod.name.clone()).collect();
        ready(Ok(found)).boxed()
    }

    fn logs<'a>(&'a self, pod: &'a PodName, since: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        let found = self.pods.lock().unwrap().iter().find(|one| one.name == *pod).cloned();
        let lines = found.map(|pod| pod.stream(since));
        ready(lines.ok_or_else(|| ClusterError::Refused("there is no such pod".to_owned()))).boxed()
    }
}
