//! Group commit: operations gather while the previous commit is under way, and the next one takes them together.
//!
//! A caller that goes away does not undo its operation. A batch that lost a race, or found the database away, is tried again for a
//! bounded time; one that the database refuses is divided until the operation that is to blame stands alone. Never changes what
//! an operation says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{backoff, chain};
use cofferdam_store::{Store, Write, Written};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::follow::Hub;
use crate::metrics::TaskMetrics;
use crate::worker::SharedHeld;
use crate::{Error, writer::weight::weight};

mod weight;

/// The most operations of a batch, and the bytes at which it is full.
const MAX_BATCH: usize = 256;
const FULL_BATCH_BYTES: usize = 4 << 20;
/// The bound of waiting operations, in KiB; each counts at least one.
const MAX_WAITING_KIB: usize = 64 << 10;
/// The waits between attempts.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const MAX_BACKOFF: Duration = Duration::from_millis(500);

struct Waiting {
    write: Write,
    bytes: usize,
    since: Instant,
    answer: oneshot::Sender<Result<Written, Error>>,
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// A task is at work that takes what waits.
    runs: bool,
}

/// Writes operations in groups.
pub(crate) struct Writer {
    store: Store,
    hub: Arc<Hub>,
    held: SharedHeld,
    metrics: TaskMetrics,
    /// An operation is given up after so long without a database.
    timeout: Duration,
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        (hub, held): (Arc<Hub>, SharedHeld),
        metrics: TaskMetrics,
        timeout: Duration,
    ) -> Arc<Self> {
        let (room, queue) = (Arc::new(Semaphore::new(MAX_WAITING_KIB)), Mutex::default());
        Arc::new(Self { store, hub, held, metrics, timeout, room, queue })
    }

    /// Writes an operation; it is durable when this returns.
    pub(crate) async fn write(self: &Arc<Self>, write: Write) -> Result<Written, Error> {
        let bytes = weight(&write);
        let kib = u32::try_from(1 + bytes / 1024).unwrap_or(u32::MAX).min(MAX_WAITING_KIB as u32);
        let room = Arc::clone(&self.room).acquire_many_owned(kib);
        let full = || Error::Unavailable("too many writes wait for it".to_owned());
        let room = tokio::time::timeout(self.timeout, room).await.map_err(|_| full())?.map_err(|_| full())?;
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut queue = self.queue.lock();
            queue.waiting.push_back(Waiting { write, bytes, since: Instant::now(), answer, _room: room });
            self.metrics.writes_waiting.inc();
            !std::mem::replace(&mut queue.runs, true)
        };
        if begins {
            tokio::spawn(Arc::clone(self).write_all());
        }
        answered.await.unwrap_or_else(|_| Err(Error::Unavailable("the writer ended".to_owned())))
    }

    /// The writes that were taken have been written, or were given up.
    pub(crate) fn is_idle(&self) -> bool {
        !self.queue.lock().runs
    }

    /// Takes what waits until nothing does.
    async fn write_all(self: Arc<Self>) {
        let running = Running(&self);
        let mut failures = 0;
        while let Some(batch) = self.take() {
            let left = self.write_batch(batch).await;
            if left.is_empty() {
                failures = 0;
                continue;
            }
            failures += 1;
            self.put_back(left);
            tokio::time::sleep(backoff(FIRST_BACKOFF, MAX_BACKOFF, failures)).await;
        }
        std::mem::forget(running);
    }

    /// The next batch; `None` if nothing waits, and then this run is over.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(queue.waiting.len().min(MAX_BATCH));
        while batch.len() < MAX_BATCH && bytes < FULL_BATCH_BYTES {
            let Some(next) = queue.waiting.pop_front() else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        if batch.is_empty() {
            queue.runs = false;
            return None;
        }
        Some(batch)
    }

    fn put_back(&self, left: Vec<Waiting>) {
        let mut queue = self.queue.lock();
        for waiting in left.into_iter().rev() {
            queue.waiting.push_front(waiting);
        }
    }

    /// Writes a batch, in parts where it is refused as a whole. Returns what has to be tried again.
    async fn write_batch(&self, batch: Vec<Waiting>) -> Vec<Waiting> {
        let mut left = Vec::new();
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let begun = Instant::now();
            let (writes, waiting): (Vec<_>, Vec<_>) = part.drain(..).map(Waiting::split).unzip();
            match self.store.write_work(&writes).await {
                Ok(written) => {
                    self.metrics.committed(writes.len(), begun.elapsed());
                    self.answer(writes, waiting, written);
                }
                Err(error) if error.is_repeatable() || error.is_unavailable() => {
                    self.metrics.write_failures.inc();
                    tracing::debug!(error = chain(&error), writes = writes.len(), "a batch is tried again");
                    let error = Error::from(error);
                    for (write, waits) in writes.into_iter().zip(waiting) {
                        match waits.since.elapsed() > self.timeout {
                            true => self.give(waits, Err(error.clone())),
                            false => left.push(waits.with(write)),
                        }
                    }
                }
                Err(error) => {
                    self.metrics.write_failures.inc();
                    let mut whole: Vec<_> =
                        writes.into_iter().zip(waiting).map(|(write, waits)| waits.with(write)).collect();
                    if whole.len() > 1 {
                        let rest = whole.split_off(whole.len() / 2);
                        parts.push(rest);
                        parts.push(whole);
                    } else {
                        let error = Error::from(error);
                        for waits in whole {
                            let (_, waits) = waits.split();
                            self.give(waits, Err(error.clone()));
                        }
                    }
                }
            }
        }
        left
    }

    fn answer(&self, writes: Vec<Write>, waiting: Vec<Rest>, written: Vec<Written>) {
        let mut written = written.into_iter();
        for (write, waits) in writes.into_iter().zip(waiting) {
            let answer = match written.next() {
                Some(done) => {
                    self.held.stepped(&write, &done);
                    self.hub.written(Some(write), &done);
                    Ok(done)
                }
                None => Err(Error::Unavailable("the store answered fewer operations than were asked".to_owned())),
            };
            self.give(waits, answer);
        }
    }

    fn give(&self, waits: Rest, answer: Result<Written, Error>) {
        self.metrics.writes_waiting.dec();
        self.metrics.waited(waits.since.elapsed());
        // The caller may have gone away; what it asked for is done.
        let _ = waits.answer.send(answer);
    }
}

/// A waiting operation without what it says.
struct Rest {
    bytes: usize,
    since: Instant,
    answer: oneshot::Sender<Result<Written, Error>>,
    room: OwnedSemaphorePermit,
}

impl Waiting {
    fn split(self) -> (Write, Rest) {
        (self.write, Rest { bytes: self.bytes, since: self.since, answer: self.answer, room: self._room })
    }
}

impl Rest {
    fn with(self, write: Write) -> Waiting {
        Waiting { write, bytes: self.bytes, since: self.since, answer: self.answer, _room: self.room }
    }
}

/// Lets the next write start another run if this one ended by a panic.
struct Running<'a>(&'a Writer);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().runs = false;
    }
}
