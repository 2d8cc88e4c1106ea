//! Reads one container's log from the cluster, from behind the last line that is known, until it ends: secrets out, too
//! much left out and counted, the rest appended.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::log::{AgentLog, Incoming};
use super::positions::{Container, Replay};
use super::redact::{KeyBlock, Redactor};
use super::time::{nanos, now, text};
use crate::cluster::{AnyCluster, ClusterError, PodName, RawLine};

/// Opening a stream.
const OPEN: Duration = Duration::from_secs(30);
/// A stream that says nothing for so long is opened anew: some die without a word, at a rotation or with a connection.
const SILENCE: Duration = Duration::from_secs(60);
/// Lines taken at once.
const CHUNK: usize = 128;
/// Bytes a second that are read and left out at most, in multiples of what is taken.
const LOOKED_AT: u64 = 4;

/// How a stream ended.
#[derive(Debug)]
pub struct Ended {
    /// Lines that were new.
    pub lines: u64,
    pub took: Duration,
    pub error: Option<String>,
    pub key: KeyBlock,
}

/// Whether a reader waits for the cluster, or the cluster for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    Yes,
    No,
}

/// What is read, and for whom.
pub struct Reading {
    pub log: Arc<AgentLog>,
    pub cluster: AnyCluster,
    pub redactor: Arc<Redactor>,
    pub pod: PodName,
    /// Told when it begins to wait for lines, and when it has some to work on.
    pub moved: Box<dyn Fn(Waits) + Send + Sync>,
}

impl Reading {
    /// Reads until the stream ends, or `stop`. `key` is where the stream before stood in a private key.
    pub async fn run(&self, stop: &CancellationToken, mut key: KeyBlock) -> Ended {
        let begun = Instant::now();
        let mut lines = 0;
        let error = self.read(stop, &mut lines, &mut key).await.err();
        Ended { lines, took: begun.elapsed(), error, key }
    }

    async fn read(&self, stop: &CancellationToken, count: &mut u64, key: &mut KeyBlock) -> Result<(), String> {
        let container = Container::from(&self.pod);
        let behind = self.log.position(&container);
        let since = behind.as_ref().map(|position| position.time.clone());
        let opening = tokio::time::timeout(OPEN, self.cluster.logs(&self.pod, since.as_deref()));
        let opened = tokio::select! {
            opened = opening => opened.map_err(|_| "the cluster opens no stream".to_owned())?,
            () = stop.cancelled() => return Ok(()),
        };
        let mut chunks = opened.map_err(|e| e.to_string())?.ready_chunks(CHUNK);
        let (mut replay, mut left_out) = (Replay::new(behind), LeftOut::default());
        loop {
            (self.moved)(Waits::Yes);
            let chunk = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                chunk = tokio::time::timeout(SILENCE, chunks.next()) => chunk,
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
                self.log.append(&container, incoming).await.map_err(|e| e.chain())?;
            }
            if let Some(error) = error {
                return Err(error.to_string());
            }
            if ended {
                return Ok(());
            }
            let pause = left_out.pause(self.log.limits.rate.saturating_mul(LOOKED_AT));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lines as they may be stored and shown, up to an error.
    fn prepare(
        &self,
        chunk: Vec<Result<RawLine, ClusterError>>,
        replay: &mut Replay,
        key: &mut KeyBlock,
        left_out: &mut LeftOut,
    ) -> (Vec<Incoming>, Option<ClusterError>) {
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
            let mut bucket = self.log.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            let admitted = bucket.admit(raw.len(), Instant::now());
            drop(bucket);
            if admitted {
                incoming.extend(left_out.take(self.log.limits.rate));
            } else {
                left_out.add(raw.len(), &time, at);
                key.hides(&raw);
            }
            let text = admitted.then(|| key.line(&self.redactor, &raw));
            incoming.push(Incoming { time, at, text, read: true });
        }
        (incoming, None)
    }
}

/// Lines that came too fast.
#[derive(Debug, Default)]
struct LeftOut {
    lines: u64,
    bytes: u64,
    time: String,
    at: i64,
    /// Bytes since the last pause.
    looked_at: u64,
}

impl LeftOut {
    fn add(&mut self, length: usize, time: &str, at: i64) {
        self.lines += 1;
        self.bytes += length as u64;
        self.looked_at += length as u64;
        time.clone_into(&mut self.time);
        self.at = at;
    }

    /// The remark that stands in their place.
    fn take(&mut self, rate: u64) -> Option<Incoming> {
        if self.lines == 0 {
            return None;
        }
        let (lines, bytes) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.bytes));
        let text = format!("[cofferdam: {lines} lines, {bytes} bytes left out: more than {rate} bytes a second]");
        Some(Incoming { time: std::mem::take(&mut self.time), at: self.at, text: Some(text), read: false })
    }

    /// How long to wait so that looking at what is left out takes no more than so many bytes a second.
    fn pause(&mut self, rate: u64) -> Duration {
        if self.looked_at < rate / 16 {
            return Duration::ZERO;
        }
        let pause = std::mem::take(&mut self.looked_at).saturating_mul(1_000_000) / rate.max(1);
        Duration::from_micros(pause.min(1_000_000))
    }
}
