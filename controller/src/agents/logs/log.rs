//! One agent's log in this process: numbers for its lines, the newest of them in memory, followers told of them at a
//! bounded rate. It keeps nothing that is in no segment back from the writer, and lets nobody wait for a follower.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_contract::LogLine;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::positions::{AgentKey, Container, Position};
use super::roles::Role;
use super::shelf::{Shelf, ShelfError};
use super::state::State;
use super::writer::Open;
use crate::Error;
use crate::config::LogsConfig;
use crate::metrics::LogMetrics;
use crate::store::Store;

/// Lines that are in no segment, of one agent. At this, reading from the cluster waits.
const MOST_UNFLUSHED: usize = 4 << 20;
/// Numbers that are taken from the database at once: at first, and when those are used up.
const FIRST_BLOCK: u64 = 1_024;
const BLOCK: u64 = 16_384;
/// Followers are told of new lines no more often than this; with many of them, less often.
const LEAST_PACE: Duration = Duration::from_millis(2);
const MOST_PACE: Duration = Duration::from_millis(40);

/// Why a log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    Store(#[from] Error),
}

/// A line on its way in.
#[derive(Debug)]
pub struct Incoming {
    pub time: String,
    pub at: i64,
    /// Redacted and bounded; none where it is left out.
    pub text: Option<String>,
    /// Whether it was read from the container, or is a remark of ours.
    pub read: bool,
}

#[derive(Debug, Default)]
pub struct Numbers {
    pub next: u64,
    /// The first that is not ours.
    pub end: u64,
}

pub struct AgentLog {
    pub key: AgentKey,
    pub(super) shelf: Shelf,
    pub(super) limits: LogsConfig,
    store: Store,
    state: Mutex<State>,
    pub(super) numbers: tokio::sync::Mutex<Numbers>,
    pub(super) bucket: Mutex<Bucket>,
    pub(super) writer: tokio::sync::Mutex<Open>,
    pub(super) role: tokio::sync::Mutex<Role>,
    /// The last line that there is.
    news: watch::Sender<u64>,
    /// Something is built and not told of.
    soon: Notify,
    /// Something has to be written.
    pub(super) full: Notify,
    /// Something was written.
    pub(super) room: Notify,
    followers: AtomicUsize,
    pub(super) metrics: LogMetrics,
}

impl AgentLog {
    pub fn new(key: AgentKey, shelf: Shelf, store: Store, limits: LogsConfig, metrics: LogMetrics) -> Self {
        let bucket = Mutex::new(Bucket::new(limits.rate));
        Self {
            key,
            shelf,
            limits,
            store,
            state: Mutex::default(),
            numbers: tokio::sync::Mutex::default(),
            bucket,
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

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn position(&self, container: &Container) -> Option<Position> {
        self.lock().positions.of(container).cloned()
    }

    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub fn follower_comes(&self) {
        self.followers.fetch_add(1, Ordering::Relaxed);
        self.metrics.followers.inc();
    }

    pub fn follower_goes(&self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
        self.metrics.followers.dec();
    }

    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// More numbers, all above `above`.
    pub(super) async fn reserve(&self, count: u64, above: u64) -> Result<u64, Error> {
        self.store.reserve_log_lines(&self.key.organization, &self.key.agent, count, above).await
    }

    /// Numbers for so many lines, in a row.
    async fn take(&self, numbers: &mut Numbers, count: u64) -> Result<u64, Error> {
        if numbers.end - numbers.next < count {
            let block = count.max(BLOCK);
            let first = self.reserve(block, 0).await?;
            // Others may have taken some in between.
            if first != numbers.end {
                numbers.next = first;
            }
            numbers.end = first + block;
        }
        let first = numbers.next;
        numbers.next += count;
        Ok(first)
    }

    /// The first block of one who begins to collect.
    pub(super) async fn first_numbers(&self, above: u64) -> Result<Numbers, Error> {
        let next = self.reserve(FIRST_BLOCK, above).await?;
        Ok(Numbers { next, end: next + FIRST_BLOCK })
    }

    /// Numbers lines and shows them. Waits while too much is unwritten. All or nothing: after an error none of the lines
    /// counts as read.
    ///
    /// # Errors
    /// A database that gives no numbers.
    pub async fn append(&self, container: &Container, lines: Vec<Incoming>) -> Result<(), Error> {
        let count = lines.iter().filter(|line| line.text.is_some()).count() as u64;
        self.wait_for_room().await;
        let mut numbers = self.numbers.lock().await;
        let mut seq = self.take(&mut numbers, count).await?;
        self.metrics.lines.inc_by(count);
        self.metrics.left_out.inc_by(lines.len() as u64 - count);
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
        if was_empty || state.unflushed_weight() >= super::segment::FULL {
            self.full.notify_one();
        }
        Ok(())
    }

    async fn wait_for_room(&self) {
        loop {
            let mut written = std::pin::pin!(self.room.notified());
            written.as_mut().enable();
            if self.lock().unflushed_weight() < MOST_UNFLUSHED {
                return;
            }
            written.await;
        }
    }

    fn pace(&self) -> Duration {
        let wanted = Duration::from_micros(self.followers() as u64 * 40);
        wanted.clamp(LEAST_PACE, MOST_PACE)
    }

    fn publish(&self, state: &mut State, now: Instant) {
        state.seal();
        state.published_at = Some(now);
        self.tell(state);
    }

    /// Wakes the followers where there is something new.
    pub(super) fn tell(&self, state: &mut State) {
        let last = state.last();
        if last > state.published {
            state.published = last;
        }
        self.news.send_if_modified(|told| {
            let newer = *told < last;
            *told = last.max(*told);
            newer
        });
    }

    /// Tells followers of what was built since they were told last, until `stop`.
    pub(super) async fn keep_telling(self: Arc<Self>, stop: CancellationToken) {
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
