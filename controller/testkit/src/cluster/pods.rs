//! Pods with growing logs, breaking streams, and times truncated to whole seconds as in the real API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_cluster::{ClusterError, Lines, PodName, RawLine};
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

#[derive(Default)]
struct Pod {
    lines: Vec<RawLine>,
    ended: bool,
    /// Streams that were opened before it was raised break.
    broken: u64,
}

pub struct FakePod {
    pub(super) name: PodName,
    pod: watch::Sender<Pod>,
    streams: Arc<AtomicUsize>,
}

impl FakePod {
    pub(super) fn new(name: PodName, streams: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self { name, pod: watch::Sender::new(Pod::default()), streams: Arc::clone(streams) })
    }

    /// Writes a line now.
    pub fn write(&self, text: &str) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        self.write_at(i64::try_from(now.as_nanos()).unwrap(), text);
    }

    pub fn write_at(&self, nanos: i64, text: &str) {
        let time = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string();
        self.pod.send_modify(|pod| pod.lines.push(RawLine { time, text: text.to_owned() }));
    }

    /// Writes many lines at once, a microsecond apart.
    pub fn write_all(&self, texts: impl IntoIterator<Item = String>) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let base = i128::try_from(now.as_nanos()).unwrap();
        self.pod.send_modify(|pod| {
            for (n, text) in (0..).zip(texts) {
                let time = jiff::Timestamp::from_nanosecond(base + n * 1_000).unwrap().to_string();
                pod.lines.push(RawLine { time, text });
            }
        });
    }

    pub fn end(&self) {
        self.pod.send_modify(|pod| pod.ended = true);
    }

    pub fn break_streams(&self) {
        self.pod.send_modify(|pod| pod.broken += 1);
    }

    pub(super) fn stream(self: &Arc<Self>, since: Option<&str>) -> Lines {
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
                        let error = ClusterError::Unreachable("the connection broke".into());
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
