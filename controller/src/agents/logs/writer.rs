//! Writes an agent's lines into segments: seconds after they came, or sooner when there are many. The newest segment is
//! written anew with what came since, until it is full; and old ones are removed. A store that fails is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::log::{AgentLog, LogError};
use super::segment::{FULL, FULL_COMPRESSED, SegmentInfo, encode};
use super::shelf::ShelfError;

/// Lines are in the object store at most this much later, while it works.
pub const FLUSH: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);
const MOST_RETRY: Duration = Duration::from_secs(15);
const MOST_AGE: Duration = Duration::from_secs(6 * 3_600);
/// Segments removed at once.
const REMOVED_AT_ONCE: usize = 64;

/// The segment that still grows.
#[derive(Debug, Default)]
pub struct Open {
    segment: Option<SegmentInfo>,
    compressed: Vec<u8>,
    raw: usize,
    begun: Option<Instant>,
}

impl Open {
    /// Also one of an agent that writes little ends at some time: only whole segments can be removed.
    fn is_full(&self) -> bool {
        let is_old = self.begun.is_some_and(|begun| begun.elapsed() > MOST_AGE);
        self.raw >= FULL || self.compressed.len() >= FULL_COMPRESSED || is_old
    }
}

impl AgentLog {
    /// Writes all that is in no segment.
    ///
    /// # Errors
    /// A store that does not take it; it is kept.
    pub async fn flush(&self) -> Result<(), LogError> {
        let mut open = self.writer.lock().await;
        let (batches, positions) = {
            let mut state = self.lock();
            (state.take_unflushed(), state.positions.clone())
        };
        let Some(first) = batches.first() else { return Ok(()) };
        if open.is_full() {
            *open = Open::default();
        }
        let begin = SegmentInfo {
            first: first.first(),
            first_ms: u64::try_from(first.first_at() / 1_000_000).unwrap_or_default(),
            size: 0,
        };
        let is_new = open.segment.is_none();
        let segment = open.segment.clone().unwrap_or(begin);
        let (raw, lines) = (batches.iter().map(|batch| batch.weight()).sum::<usize>(), batches.clone());
        let frame = tokio::task::spawn_blocking(move || encode(&lines, &positions)).await;
        let failed = |error: &dyn std::fmt::Display| ShelfError::Store(error.to_string());
        let frame = frame.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
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
    pub(super) async fn end_segment(&self) {
        *self.writer.lock().await = Open::default();
    }

    /// Removes what is too old or too much, never the newest segment: it says how far containers were read.
    async fn retain(&self) {
        let index = self.lock().index().to_vec();
        for segment in superfluous(&index, self.limits.bytes, oldest_ms(self.limits.days)).iter().take(REMOVED_AT_ONCE)
        {
            match self.shelf.remove(segment).await {
                Ok(()) => self.lock().drop_segment(segment.first),
                Err(error) => {
                    let (organization, agent) = (&self.key.organization, &self.key.agent);
                    tracing::warn!(%organization, %agent, %error, "an old segment of a log stays until the next try");
                    return;
                }
            }
        }
    }

    /// Writes what there is to write, until `stop`.
    pub(super) async fn keep_writing(self: Arc<Self>, stop: CancellationToken) {
        let mut retry = RETRY;
        loop {
            let due = {
                let state = self.lock();
                let now = Instant::now();
                let soon = state.unflushed_since.map(|since| since + FLUSH);
                if state.unflushed_weight() >= FULL { Some(now) } else { soon }
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
                retry = RETRY;
                continue;
            };
            self.metrics.write_failures.inc();
            let (organization, agent) = (&self.key.organization, &self.key.agent);
            tracing::warn!(%organization, %agent, %error, retry_s = retry.as_secs(), "lines of a log could not be stored");
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                () = stop.cancelled() => return,
            }
            retry = (retry * 2).min(MOST_RETRY);
        }
    }
}

/// Milliseconds of Unix time: what ends before this is too old.
pub fn oldest_ms(days: u64) -> u64 {
    let now = u64::try_from(super::time::now() / 1_000_000).unwrap_or_default();
    now.saturating_sub(days.saturating_mul(86_400_000))
}

/// Of the oldest segments, those that are too old or beyond `most` bytes.
fn superfluous(index: &[SegmentInfo], most: u64, oldest_ms: u64) -> Vec<SegmentInfo> {
    let mut total: u64 = index.iter().map(|info| info.size).sum();
    let mut gone = Vec::new();
    // A segment ends where the next one begins; the newest one has none.
    for (info, next) in index.iter().zip(index.iter().skip(1)) {
        if total <= most && next.first_ms >= oldest_ms {
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
        let gone = |most, oldest| superfluous(&index, most, oldest).iter().map(|i| i.first).collect::<Vec<_>>();
        assert_eq!(gone(1_000, 0), Vec::<u64>::new());
        assert_eq!(gone(300, 0), [1, 2]);
        assert_eq!(gone(0, 0), [1, 2, 3, 4]);
        assert_eq!(gone(1_000, 30), [1]);
        assert_eq!(gone(1_000, 31), [1, 2]);
        assert_eq!(gone(1_000, 9_999), [1, 2, 3, 4]);
        assert!(superfluous(&[], 0, 0).is_empty());
    }
}
