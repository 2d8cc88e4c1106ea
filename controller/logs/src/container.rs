//! Reads one container's log from the cluster, from behind the last known line until the stream ends. Takes secrets out,
//! leaves out and counts lines that come too fast, and appends the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_cluster::{AnyCluster, ClusterError, PodName, RawLine};
use cofferdam_core::chain;
use cofferdam_redact::{KeyBlock, Redactor};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::log::{AgentLog, NewLine};
use crate::positions::{Container, Replay};
use crate::time::{nanos, now, text};

/// Timeout for opening a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// A stream that is silent for this long is opened again: some die unnoticed, at a rotation or with a connection.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Lines taken at once.
const CHUNK: usize = 128;
/// Bytes per second that are read and left out at most, in multiples of the rate that is kept.
const MAX_LEFT_OUT: u64 = 4;

/// The end of a stream.
#[derive(Debug)]
pub(crate) struct StreamEnd {
    /// New lines.
    pub lines: u64,
    pub took: Duration,
    pub error: Option<String>,
    pub key: KeyBlock,
}

/// A reader waits for the cluster, or the cluster waits for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Yes,
    No,
}

/// A stream to read.
pub(crate) struct Reading {
    pub log: Arc<AgentLog>,
    pub cluster: AnyCluster,
    pub redactor: Arc<Redactor>,
    pub pod: PodName,
    /// Called when the reader begins to wait for lines, and when it has lines to work on.
    pub moved: Box<dyn Fn(Waits) + Send + Sync>,
}

impl Reading {
    /// Reads until the stream ends, or `stop`. `key` is the place in a private key at which the stream before ended.
    pub(crate) async fn run(&self, stop: &CancellationToken, mut key: KeyBlock) -> StreamEnd {
        let begun = Instant::now();
        let mut lines = 0;
        let error = self.read(stop, &mut lines, &mut key).await.err();
        StreamEnd { lines, took: begun.elapsed(), error, key }
    }

    async fn read(&self, stop: &CancellationToken, count: &mut u64, key: &mut KeyBlock) -> Result<(), String> {
        let container = Container::from(&self.pod);
        let behind = self.log.position(&container);
        let since = behind.as_ref().map(|position| position.time.clone());
        let opening = tokio::time::timeout(OPEN_TIMEOUT, self.cluster.logs(&self.pod, since.as_deref()));
        let opened = tokio::select! {
            opened = opening => opened.map_err(|_| "the cluster did not open the stream in time".to_owned())?,
            () = stop.cancelled() => return Ok(()),
        };
        let mut chunks = opened.map_err(|e| e.to_string())?.ready_chunks(CHUNK);
        let (mut replay, mut left_out) = (Replay::new(behind), LeftOut::default());
        loop {
            (self.moved)(Waits::Yes);
            let chunk = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                chunk = tokio::time::timeout(MAX_SILENCE, chunks.next()) => chunk,
            };
            (self.moved)(Waits::No);
            let Ok(chunk) = chunk else { return Ok(()) };
            let ended = chunk.is_none();
            let (incoming, error) = self.prepare(chunk.unwrap_or_default(), &mut replay, key, &mut left_out);
            let mut incoming = incoming;
            if ended || error.is_some() {
                incoming.extend(left_out.take(self.log.limits.rate));
            }
            if !incoming.is_empty() {
                *count += incoming.iter().filter(|line| line.read).count() as u64;
                self.log.append(&container, incoming).await.map_err(|e| chain(&e))?;
            }
            if let Some(error) = error {
                return Err(error.to_string());
            }
            if ended {
                return Ok(());
            }
            let pause = left_out.pause(self.log.limits.rate.saturating_mul(MAX_LEFT_OUT));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Makes lines that may be stored and shown, up to the first error.
    fn prepare(
        &self,
        chunk: Vec<Result<RawLine, ClusterError>>,
        replay: &mut Replay,
        key: &mut KeyBlock,
        left_out: &mut LeftOut,
    ) -> (Vec<NewLine>, Option<ClusterError>) {
        let mut incoming = Vec::with_capacity(chunk.len());
        for line in chunk {
            let RawLine { time, text: raw } = match line {
                Ok(line) => line,
                Err(error) => return (incoming, Some(error)),
            };
            let (time, at) = match nanos(&time) {
                Some(at) => (time, at),
                None => {
                    let at = now();
                    (text(at), at)
                }
            };
            if !replay.is_new(at) {
                continue;
            }
            let admitted = self.log.rate.lock().admit(raw.len(), Instant::now());
            if admitted {
                incoming.extend(left_out.take(self.log.limits.rate));
            } else {
                left_out.add(raw.len(), &time, at);
                key.hides(&raw);
            }
            let text = admitted.then(|| key.line(&self.redactor, &raw));
            incoming.push(NewLine { time, at, text, read: true });
        }
        (incoming, None)
    }
}

/// Counts lines that came too fast.
#[derive(Debug, Default)]
struct LeftOut {
    lines: u64,
    bytes: u64,
    time: String,
    at: i64,
    /// Bytes since the last pause.
    since_pause: u64,
}

impl LeftOut {
    fn add(&mut self, length: usize, time: &str, at: i64) {
        self.lines += 1;
        self.bytes += length as u64;
        self.since_pause += length as u64;
        time.clone_into(&mut self.time);
        self.at = at;
    }

    /// Takes the remark that is shown in place of the lines.
    fn take(&mut self, rate: u64) -> Option<NewLine> {
        if self.lines == 0 {
            return None;
        }
        let (lines, bytes) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.bytes));
        let text = format!("[cofferdam: {lines} lines, {bytes} bytes left out: more than {rate} bytes a second]");
        Some(NewLine { time: std::mem::take(&mut self.time), at: self.at, text: Some(text), read: false })
    }

    /// The pause that keeps the lines that are left out below `rate` bytes per second.
    fn pause(&mut self, rate: u64) -> Duration {
        if self.since_pause < rate / 16 {
            return Duration::ZERO;
        }
        let pause = std::mem::take(&mut self.since_pause).saturating_mul(1_000_000) / rate.max(1);
        Duration::from_micros(pause.min(1_000_000))
    }
}
