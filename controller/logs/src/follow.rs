//! One follower: shows the lines of segments first, then the lines in memory, then new ones; each line once, in the order of
//! their numbers. Keeps nothing for a client that does not read: it asks for the next lines when the client takes them, and
//! reads those that are no longer in memory from segments.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::logs::LogHandle;
use crate::query::Query;
use crate::shelf::SegmentError;
use crate::state::After;

/// A comment is sent after this much silence. It keeps proxies from closing the connection, and shows us a broken one.
const HEARTBEAT: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b": still here\n\n";
/// Clients that lost their connection reconnect after this many milliseconds.
const RETRY_FIELD: &[u8] = b"retry: 1000\n\n";
/// Attempts to read a segment.
const MAX_ATTEMPTS: u32 = 4;
/// The wait after the first failed attempt.
const RETRY_WAIT: Duration = Duration::from_millis(250);

/// A search for the last lines, from the newest one back.
struct Tail {
    left: u64,
    /// The batches to search, the next one last.
    batches: Vec<Arc<Batch>>,
    /// Segments that begin with this line or later were searched.
    before: u64,
    /// Lines after this one were searched in memory.
    floor: u64,
    in_memory: bool,
}

enum Phase {
    Begin,
    Tail(Tail),
    Read,
    Done,
}

/// The result of one step.
enum Step {
    Show(Bytes),
    Again,
    /// There is nothing more for now.
    Wait,
}

/// A follower of an agent's log.
pub struct Follower {
    handle: LogHandle,
    closed: CancellationToken,
    query: Query,
    phase: Phase,
    /// All lines up to this one were shown, or are not wanted.
    cursor: u64,
    /// The last line to show, if new ones are not wanted.
    until: Option<u64>,
    news: watch::Receiver<u64>,
    heartbeat: Instant,
    failures: u32,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    pub(crate) fn new(handle: LogHandle, query: Query, closed: CancellationToken, place: OwnedSemaphorePermit) -> Self {
        let news = handle.log.news();
        handle.log.add_follower();
        let (cursor, until, heartbeat) = (0, None, Instant::now() + HEARTBEAT);
        Self { handle, closed, query, phase: Phase::Begin, cursor, until, news, heartbeat, failures: 0, _place: place }
    }

    /// The next whole events. `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if matches!(self.phase, Phase::Done) || self.closed.is_cancelled() {
                return None;
            }
            let step = match &self.phase {
                Phase::Begin => self.begin().await,
                Phase::Tail(_) => self.look_back().await,
                Phase::Read | Phase::Done => self.read().await,
            };
            match step {
                Step::Show(bytes) => {
                    self.heartbeat = Instant::now() + HEARTBEAT;
                    return Some(bytes);
                }
                Step::Again if self.heartbeat <= Instant::now() => return Some(self.beat()),
                // Lets other tasks of this thread run.
                Step::Again => tokio::task::yield_now().await,
                Step::Wait if !self.query.follow => return Some(self.end()),
                Step::Wait => tokio::select! {
                    _ = self.news.changed() => {}
                    () = tokio::time::sleep_until(self.heartbeat) => return Some(self.beat()),
                    () = self.closed.cancelled() => return None,
                },
            }
        }
    }

    fn beat(&mut self) -> Bytes {
        self.heartbeat = Instant::now() + HEARTBEAT;
        Bytes::from_static(COMMENT)
    }

    fn end(&mut self) -> Bytes {
        self.phase = Phase::Done;
        Bytes::from(format!("event: end\ndata: {{\"seq\":{}}}\n\n", self.cursor))
    }

    /// Tries again after the store failed, or tells the client, which may come back with the last id that it has.
    async fn failed(&mut self, error: &SegmentError) -> Step {
        self.failures += 1;
        if self.failures < MAX_ATTEMPTS {
            tokio::time::sleep(RETRY_WAIT * self.failures).await;
            return Step::Again;
        }
        let (organization, agent) = (&self.handle.log.key.organization, &self.handle.log.key.agent);
        tracing::warn!(%organization, %agent, %error, "cannot read a log");
        self.phase = Phase::Done;
        let detail = "The stored part of this log cannot be read now; try again with the last id as Last-Event-ID.";
        Step::Show(Bytes::from(format!("event: failed\ndata: {{\"detail\":{detail:?}}}\n\n")))
    }

    async fn begin(&mut self) -> Step {
        let log = Arc::clone(&self.handle.log);
        if let Err(error) = log.begin_following().await {
            return self.failed(&error).await;
        }
        let mut gap = None;
        {
            let mut state = log.lock();
            state.seal();
            let last = state.last();
            self.until = (!self.query.follow).then_some(last);
            self.phase = Phase::Read;
            match (self.query.after, self.query.tail, self.query.since) {
                (Some(after), _, _) => {
                    self.cursor = after.min(last);
                    let floor = state.floor() + 1;
                    let oldest = state.index().first().map_or(floor, |info| info.first.min(floor));
                    if self.cursor > 0 && self.cursor + 1 < oldest {
                        gap = Some((self.cursor + 1, oldest - 1));
                        self.cursor = oldest - 1;
                    }
                }
                (None, Some(0), _) => self.cursor = last,
                (None, Some(left), _) => {
                    let (batches, floor) = (state.ring().into_iter().rev().collect(), state.floor());
                    self.phase = Phase::Tail(Tail { left, batches, before: floor + 1, floor, in_memory: true });
                }
                (None, None, Some(since)) => {
                    let ms = u64::try_from(since / 1_000_000).unwrap_or_default();
                    // Begins one segment early: lines of two pods are not exactly in the order of their times.
                    let later = state.index().partition_point(|info| info.first_ms <= ms);
                    let begin = state.index().get(later.saturating_sub(2)).map_or(0, |info| info.first);
                    self.cursor = begin.saturating_sub(1).min(state.floor());
                }
                (None, None, None) => {}
            }
        }
        let mut bytes = RETRY_FIELD.to_vec();
        if let Some((from, to)) = gap {
            bytes.extend_from_slice(&gap_event(from, to));
        }
        Step::Show(bytes.into())
    }

    /// Searches one batch for the last lines that are wanted, newest first.
    async fn look_back(&mut self) -> Step {
        let Phase::Tail(tail) = &mut self.phase else { return Step::Again };
        if let Some(batch) = tail.batches.pop() {
            for line in batch.lines().rev() {
                if (tail.in_memory || line.seq <= tail.floor) && self.query.takes(&line) {
                    tail.left -= 1;
                }
                if tail.left == 0 {
                    self.cursor = line.seq.saturating_sub(1);
                    self.phase = Phase::Read;
                    return Step::Again;
                }
            }
            return Step::Again;
        }
        let before = tail.before;
        let segment = {
            let state = self.handle.log.lock();
            let later = state.index().partition_point(|info| info.first < before);
            later.checked_sub(1).and_then(|at| state.index().get(at)).cloned()
        };
        let Some(segment) = segment else {
            self.cursor = 0;
            self.phase = Phase::Read;
            return Step::Again;
        };
        let read = self.handle.log.shelf.read(&segment).await;
        let decoded = match read {
            Ok(decoded) => Some(decoded),
            Err(SegmentError::Gone) => None,
            Err(error) => return self.failed(&error).await,
        };
        if let Phase::Tail(tail) = &mut self.phase {
            tail.batches = decoded.map(|decoded| decoded.batches.clone()).unwrap_or_default();
            tail.before = segment.first;
            tail.in_memory = false;
        }
        Step::Again
    }

    async fn read(&mut self) -> Step {
        if self.until.is_some_and(|until| self.cursor >= until) {
            return Step::Wait;
        }
        // Marked before looking, so that lines that come in between wake us.
        self.news.mark_unchanged();
        let after = self.handle.log.lock().after(self.cursor);
        match after {
            After::Batch(batch) => self.show(&batch),
            After::UpToDate => Step::Wait,
            After::Behind(floor) => self.read_segment(floor).await,
        }
    }

    fn show(&mut self, batch: &Batch) -> Step {
        let bytes = if self.query.takes_all() {
            batch.after(self.cursor)
        } else {
            let mut bytes = Vec::new();
            let wanted = batch.lines().filter(|line| line.seq > self.cursor && self.query.takes(line));
            wanted.for_each(|line| bytes.extend_from_slice(line.event));
            bytes.into()
        };
        self.cursor = self.cursor.max(batch.last());
        self.failures = 0;
        if bytes.is_empty() { Step::Again } else { Step::Show(bytes) }
    }

    /// Reads the next batch from segments, up to the line `floor`.
    async fn read_segment(&mut self, floor: u64) -> Step {
        let wanted = self.cursor + 1;
        let (place, oldest) = {
            let state = self.handle.log.lock();
            (state.place(wanted), state.index().first().map_or(0, |info| info.first))
        };
        let Some(place) = place.filter(|place| place.segment.first <= floor) else {
            // All segments up to there are gone. A follower that has shown nothing yet has no gap.
            let was = std::mem::replace(&mut self.cursor, floor);
            return if was > 0 { Step::Show(gap_event(wanted, floor)) } else { Step::Again };
        };
        let end = place.next.map_or(floor, |next| next - 1);
        if place.segment.first > wanted && self.cursor > 0 && place.segment.first == oldest {
            // The segment in between was removed while we were following.
            self.cursor = place.segment.first - 1;
            return Step::Show(gap_event(wanted, self.cursor));
        }
        let decoded = match self.handle.log.shelf.read(&place.segment).await {
            Ok(decoded) => decoded,
            Err(SegmentError::Gone) => {
                self.handle.log.lock().drop_segment(place.segment.first);
                self.cursor = end;
                return Step::Show(gap_event(wanted.max(place.segment.first), end));
            }
            Err(error) => return self.failed(&error).await,
        };
        let known = decoded.batches.partition_point(|batch| batch.last() <= self.cursor);
        if let Some(batch) = decoded.batches.get(known) {
            return self.show(batch);
        }
        self.cursor = end.max(self.cursor);
        self.failures = 0;
        if decoded.damaged {
            return Step::Show(gap_event(wanted.max(place.segment.first), end));
        }
        Step::Again
    }
}

impl Follower {
    /// Server-sent events, ready for the body of a response.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut follower| async move { Some((Ok(follower.next().await?), follower)) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.handle.log.remove_follower();
    }
}

/// Tells of lines that are gone.
fn gap_event(from: u64, to: u64) -> Bytes {
    Bytes::from(format!("event: gap\ndata: {{\"from\":{from},\"to\":{to}}}\n\n"))
}
