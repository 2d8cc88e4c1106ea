//! One agent's log in this process: numbers its lines, keeps the newest of them in memory, and tells followers at a bounded
//! rate. Never waits for a follower.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_contract::LogLine;
use cofferdam_store::Store;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::positions::{AgentKey, Container, Position};
use crate::rate::RateLimit;
use crate::roles::Role;
use crate::segment;
use crate::shelf::SegmentShelf;
use crate::state::State;
use crate::writer::OpenSegment;
use crate::{Error, LogMetrics, LogsConfig};

/// Bytes of one agent's lines that are in no segment. Reading from the cluster waits while there are more.
const MAX_UNFLUSHED: usize = 4 << 20;
/// Line numbers that are reserved in the database at first.
const FIRST_BLOCK: u64 = 1_024;
/// Line numbers that are reserved when those are used up.
const BLOCK: u64 = 16_384;
/// The shortest time between two messages to followers.
const MIN_PACE: Duration = Duration::from_millis(2);
/// The longest time between two messages to followers, if there are many of them.
const MAX_PACE: Duration = Duration::from_millis(40);

/// A line that was received.
#[derive(Debug)]
pub(crate) struct NewLine {
    pub time: String,
    pub at: i64,
    /// Redacted and bounded. `None` if it is left out.
    pub text: Option<String>,
    /// The line was read from the container; false for our own remarks.
    pub read: bool,
}

/// The line numbers that are reserved for this process.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub next: u64,
    /// The first number that is not reserved.
    pub end: u64,
}

pub(crate) struct AgentLog {
    pub key: AgentKey,
    pub shelf: SegmentShelf,
    pub limits: LogsConfig,
    store: Store,
    state: Mutex<State>,
    pub numbers: tokio::sync::Mutex<Numbers>,
    pub rate: Mutex<RateLimit>,
    pub writer: tokio::sync::Mutex<OpenSegment>,
    pub role: tokio::sync::Mutex<Role>,
    /// The number of the last line.
    news: watch::Sender<u64>,
    /// Notified when there are lines that followers were not told of.
    soon: Notify,
    /// Notified when lines have to be written.
    pub full: Notify,
    /// Notified when lines were written.
    pub room: Notify,
    followers: AtomicUsize,
    pub metrics: LogMetrics,
}

impl AgentLog {
    pub(crate) fn new(
        key: AgentKey,
        shelf: SegmentShelf,
        store: Store,
        limits: LogsConfig,
        metrics: LogMetrics,
    ) -> Self {
        let rate = Mutex::new(RateLimit::new(limits.rate));
        Self {
            key,
            shelf,
            limits,
            store,
            state: Mutex::default(),
            numbers: tokio::sync::Mutex::default(),
            rate,
            writer: tokio::sync::Mutex::default(),
            role: tokio::sync::Mutex::default(),
            news: watch::Sender::new(0),
            soon: Notify::new(),
            full: Notify::new(),
            room: Notify::new(),
            followers: AtomicUsize::new(0),
            metrics,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn position(&self, container: &Container) -> Option<Position> {
        self.lock().positions.of(container).cloned()
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(crate) fn add_follower(&self) {
        self.followers.fetch_add(1, Ordering::Relaxed);
        self.metrics.followers.inc();
    }

    pub(crate) fn remove_follower(&self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
        self.metrics.followers.dec();
    }

    pub(crate) fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Reserves line numbers, all above `above`.
    async fn reserve(&self, count: u64, above: u64) -> Result<u64, Error> {
        Ok(self.store.reserve_log_lines(&self.key.organization, &self.key.agent, count, above).await?)
    }

    /// Takes consecutive numbers for `count` lines.
    async fn take(&self, numbers: &mut Numbers, count: u64) -> Result<u64, Error> {
        if numbers.end - numbers.next < count {
            let block = count.max(BLOCK);
            let first = self.reserve(block, 0).await?;
            // Other controllers may have reserved some in between.
            if first != numbers.end {
                numbers.next = first;
            }
            numbers.end = first + block;
        }
        let first = numbers.next;
        numbers.next += count;
        Ok(first)
    }

    /// Reserves the first block of numbers for a process that begins to collect.
    pub(crate) async fn first_numbers(&self, above: u64) -> Result<Numbers, Error> {
        let next = self.reserve(FIRST_BLOCK, above).await?;
        Ok(Numbers { next, end: next + FIRST_BLOCK })
    }

    /// Numbers lines and shows them. Waits while too many lines are unwritten. All or nothing: after an error none of the
    /// lines counts as read.
    ///
    /// # Errors
    /// The database reserves no numbers.
    pub(crate) async fn append(&self, container: &Container, mut lines: Vec<NewLine>) -> Result<(), Error> {
        self.wait_for_room().await;
        // Held until the positions are noted: of two readers of the same line, the second finds it.
        let mut numbers = self.numbers.lock().await;
        let mut repeated = 0;
        {
            let state = self.lock();
            let mut others = state.positions.other_runs(container);
            for line in lines.iter_mut().filter(|line| line.read) {
                if others.have(line.at) {
                    repeated += 1;
                    line.text = None;
                }
            }
        }
        let count = lines.iter().filter(|line| line.text.is_some()).count() as u64;
        let mut seq = self.take(&mut numbers, count).await?;
        self.metrics.lines.inc_by(count);
        self.metrics.left_out.inc_by((lines.len() as u64 - count).saturating_sub(repeated));
        let now = Instant::now();
        let mut state = self.lock();
        let was_empty = state.unflushed_since.is_none();
        for line in lines {
            if line.read {
                state.positions.advance(container, line.at, &line.time);
            }
            if let Some(text) = line.text {
                let (pod, version) = (container.pod.clone(), container.version);
                state.push(&LogLine { seq, time: line.time, pod, version, line: text }, now);
                seq += 1;
            }
        }
        if count > 0 {
            let due = state.published_at.is_none_or(|at| at + self.pace() <= now);
            if due {
                self.publish(&mut state, now);
            } else {
                self.soon.notify_one();
            }
        }
        if was_empty || state.unflushed_weight() >= segment::FULL_SEGMENT_BYTES {
            self.full.notify_one();
        }
        Ok(())
    }

    async fn wait_for_room(&self) {
        loop {
            let mut written = std::pin::pin!(self.room.notified());
            written.as_mut().enable();
            if self.lock().unflushed_weight() < MAX_UNFLUSHED {
                return;
            }
            written.await;
        }
    }

    fn pace(&self) -> Duration {
        let wanted = Duration::from_micros(self.followers() as u64 * 40);
        wanted.clamp(MIN_PACE, MAX_PACE)
    }

    fn publish(&self, state: &mut State, now: Instant) {
        state.seal();
        state.published_at = Some(now);
        self.tell(state);
    }

    /// Wakes the followers if there are new lines.
    pub(crate) fn tell(&self, state: &mut State) {
        let last = state.last();
        self.news.send_if_modified(|told| {
            let newer = *told < last;
            *told = last.max(*told);
            newer
        });
    }

    /// Tells followers of new lines at the pace of [`Self::pace`], until `stop`.
    pub(crate) async fn keep_telling(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.soon.notified() => {}
                () = stop.cancelled() => return,
            }
            let due = self.lock().published_at.map_or_else(Instant::now, |at| at + self.pace());
            tokio::time::sleep_until(due.into()).await;
            self.publish(&mut self.lock(), Instant::now());
        }
    }
}
