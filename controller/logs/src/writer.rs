//! Writes an agent's lines into segments: within seconds, or sooner if there are many. Rewrites the newest segment with the
//! lines that came since, until it is full, and removes old segments. Retries when the store fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::log::AgentLog;
use crate::segment::{FULL_COMPRESSED, FULL_SEGMENT_BYTES, SegmentInfo, encode};

/// Lines are stored after this long, while the object store works.
const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(15);
/// A segment is full after this long: only whole segments can be removed.
const MAX_AGE: Duration = Duration::from_secs(6 * 3_600);
/// Segments removed at once.
const MAX_REMOVED: usize = 64;

/// The segment that grows.
#[derive(Debug, Default)]
pub(crate) struct OpenSegment {
    segment: Option<SegmentInfo>,
    compressed: Vec<u8>,
    raw: usize,
    begun: Option<Instant>,
}

impl OpenSegment {
    fn is_full(&self) -> bool {
        let is_old = self.begun.is_some_and(|begun| begun.elapsed() > MAX_AGE);
        self.raw >= FULL_SEGMENT_BYTES || self.compressed.len() >= FULL_COMPRESSED || is_old
    }
}

impl AgentLog {
    /// Writes all lines that are in no segment.
    ///
    /// # Errors
    /// The object store failed; the lines stay in memory.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let mut open = self.writer.lock().await;
        let (batches, positions) = {
            let mut state = self.lock();
            (state.take_unflushed(), state.positions.clone())
        };
        let Some(first) = batches.first() else { return Ok(()) };
        if open.is_full() {
            *open = OpenSegment::default();
        }
        let begin = SegmentInfo {
            first: first.first(),
            first_ms: u64::try_from(first.first_at() / 1_000_000).unwrap_or_default(),
            size: 0,
        };
        let is_new = open.segment.is_none();
        let segment = open.segment.clone().unwrap_or(begin);
        let (raw, lines) = (batches.iter().map(|batch| batch.weight()).sum::<usize>(), batches.clone());
        let frame = tokio::task::spawn_blocking(move || encode(&lines, &positions)).await?;
        let frame = frame.map_err(Error::Compress)?;
        let bytes: Bytes = [open.compressed.as_slice(), &frame].concat().into();
        let segment = SegmentInfo { size: bytes.len() as u64, ..segment };
        self.shelf.write(&segment, bytes).await?;
        open.compressed.extend_from_slice(&frame);
        open.raw += raw;
        open.segment = Some(segment.clone());
        open.begun.get_or_insert_with(Instant::now);
        drop(open);
        self.lock().flushed(&batches, segment, Instant::now());
        self.room.notify_waiters();
        if is_new {
            self.retain().await;
        }
        Ok(())
    }

    /// Begins a new segment with the next lines.
    pub(crate) async fn end_segment(&self) {
        *self.writer.lock().await = OpenSegment::default();
    }

    /// Removes segments that are too old or too much, never the newest one: it has the positions.
    async fn retain(&self) {
        let index = self.lock().index().to_vec();
        for segment in superfluous(&index, self.limits.bytes, oldest_ms(self.limits.days)).iter().take(MAX_REMOVED) {
            match self.shelf.remove(segment).await {
                Ok(()) => self.lock().drop_segment(segment.first),
                Err(error) => {
                    let (organization, agent) = (&self.key.organization, &self.key.agent);
                    tracing::warn!(%organization, %agent, %error, "cannot remove an old segment of a log yet");
                    return;
                }
            }
        }
    }

    /// Writes lines when they are due, until `stop`.
    pub(crate) async fn keep_writing(self: Arc<Self>, stop: CancellationToken) {
        let mut retry = FIRST_RETRY;
        loop {
            let due = {
                let state = self.lock();
                let now = Instant::now();
                let soon = state.unflushed_since.map(|since| since + FLUSH_INTERVAL);
                if state.unflushed_weight() >= FULL_SEGMENT_BYTES { Some(now) } else { soon }
            };
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = wait => {}
                () = self.full.notified() => continue,
            }
            let Err(error) = self.flush().await else {
                retry = FIRST_RETRY;
                continue;
            };
            self.metrics.write_failures.inc();
            let (organization, agent) = (&self.key.organization, &self.key.agent);
            tracing::warn!(%organization, %agent, %error, retry_s = retry.as_secs(), "cannot store the lines of a log");
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = stop.cancelled() => return,
            }
            retry = (retry * 2).min(MAX_RETRY);
        }
    }
}

/// The oldest time that is kept, in milliseconds of Unix time.
pub(crate) fn oldest_ms(days: u64) -> u64 {
    let now = u64::try_from(crate::time::now() / 1_000_000).unwrap_or_default();
    now.saturating_sub(days.saturating_mul(86_400_000))
}

/// The oldest segments, as far as they end before `oldest_ms` or are beyond `max` bytes.
fn superfluous(index: &[SegmentInfo], max: u64, oldest_ms: u64) -> Vec<SegmentInfo> {
    let mut total: u64 = index.iter().map(|info| info.size).sum();
    let mut gone = Vec::new();
    // A segment ends where the next one begins. The newest one is kept.
    for (info, next) in index.iter().zip(index.iter().skip(1)) {
        if total <= max && next.first_ms >= oldest_ms {
            break;
        }
        total = total.saturating_sub(info.size);
        gone.push(info.clone());
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_the_newest_stays() {
        let index: Vec<_> = (1..6).map(|n| SegmentInfo { first: n, first_ms: n * 10, size: 100 }).collect();
        let gone = |max, oldest| superfluous(&index, max, oldest).iter().map(|i| i.first).collect::<Vec<_>>();
        assert_eq!(gone(1_000, 0), Vec::<u64>::new());
        assert_eq!(gone(300, 0), [1, 2]);
        assert_eq!(gone(0, 0), [1, 2, 3, 4]);
        assert_eq!(gone(1_000, 30), [1]);
        assert_eq!(gone(1_000, 31), [1, 2]);
        assert_eq!(gone(1_000, 9_999), [1, 2, 3, 4]);
        assert!(superfluous(&[], 0, 0).is_empty());
    }
}
