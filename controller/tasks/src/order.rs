//! Loops that keep order whoever is alive: things that are due, tasks of dead workers, the index of messages, and threads that nobody uses.
//! Every controller does all of it; the store sees to it that each thing is done once.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{chain, every, now_ms};
use cofferdam_store::Written;
use tokio_util::sync::CancellationToken;

use crate::{Error, Tasks};

/// The interval at which timers are looked at; they are not more exact.
const TIMER_INTERVAL: Duration = Duration::from_millis(250);
const MAX_TIMERS: u32 = 200;
/// The interval at which dead workers are looked for.
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(2);
/// A task whose workers died so often without finishing a step is not handed out again.
const MAX_LOST: u64 = 3;
/// Tasks of closed organizations that are moved at once.
const MAX_CLOSED: u32 = 200;
const INDEX_INTERVAL: Duration = Duration::from_secs(1);
const MAX_INDEXED: u32 = 500;
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Threads that are deleted at once, and the pause between two pieces.
const MAX_SWEPT: u32 = 20;
const SWEEP_PAUSE: Duration = Duration::from_millis(200);
/// Pieces of one sweep.
const MAX_SWEEPS: u32 = 100;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// Idempotency keys are kept for so long.
const KEEP_KEYS_DAYS: i64 = 7;

impl Tasks {
    /// Moves what is due, until it is stopped.
    pub async fn keep_timers(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = every(TIMER_INTERVAL);
        while next_tick(&mut ticks, &stop).await {
            while !stop.is_cancelled() {
                match self.store.due_timers(MAX_TIMERS).await {
                    Ok(moved) => {
                        let full = moved.len() >= MAX_TIMERS as usize;
                        self.tell(&moved);
                        if !full {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "timers could not be looked at");
                        break;
                    }
                }
            }
        }
    }

    /// Takes tasks back from dead workers and from closed organizations, until it is stopped.
    pub async fn keep_taking_back(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = every(TAKE_BACK_INTERVAL);
        while next_tick(&mut ticks, &stop).await {
            self.close(&stop).await;
            while !stop.is_cancelled() {
                match self.store.take_back(MAX_LOST).await {
                    Ok(taken) => {
                        let done = taken.iter().filter(|written| matches!(written, Written::Done { .. })).count();
                        if done == 0 {
                            break;
                        }
                        tracing::warn!(tasks = done, "tasks of a dead worker were taken back");
                        self.metrics.taken_back.inc_by(done as u64);
                        self.tell(&taken);
                    }
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "dead workers could not be looked for");
                        break;
                    }
                }
            }
        }
    }

    /// Stops the tasks of deleted organizations, and pauses those of disabled ones.
    async fn close(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.store.close_tasks(MAX_CLOSED).await {
                Ok(closed) => {
                    let done = closed.iter().filter(|written| matches!(written, Written::Done { .. })).count();
                    self.tell(&closed);
                    if done < MAX_CLOSED as usize {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(error = chain(&error), "tasks of closed organizations could not be looked for");
                    break;
                }
            }
        }
    }

    /// Puts new messages into the full-text index, until it is stopped.
    pub async fn keep_indexing(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = every(INDEX_INTERVAL);
        while next_tick(&mut ticks, &stop).await {
            loop {
                match self.store.index_messages(MAX_INDEXED).await {
                    Ok(indexed) if indexed >= u64::from(MAX_INDEXED) && !stop.is_cancelled() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "messages could not be put into the index");
                        break;
                    }
                }
            }
        }
    }

    /// Deletes threads that nobody uses and old idempotency keys, a few at a time, until it is stopped.
    pub async fn keep_swept(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = every(SWEEP_INTERVAL);
        while next_tick(&mut ticks, &stop).await {
            if let Err(error) = self.sweep(&stop).await {
                tracing::debug!(error = chain(&error), "old threads could not be deleted");
            }
        }
    }

    /// Deletes what is due now.
    pub(crate) async fn sweep(&self, stop: &CancellationToken) -> Result<u64, Error> {
        let since = |days: i64| now_ms().saturating_sub(days.saturating_mul(DAY_MS));
        let mut deleted = 0;
        for _ in 0..MAX_SWEEPS {
            let threads = self.store.sweep_threads(since(i64::from(self.config.keep_threads_days)), MAX_SWEPT).await?;
            let keys = self.store.sweep_task_keys(since(KEEP_KEYS_DAYS), MAX_SWEPT * 10).await?;
            deleted += threads;
            if (threads == 0 && keys == 0) || stop.is_cancelled() {
                break;
            }
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
        Ok(deleted)
    }

    fn tell(&self, written: &[Written]) {
        for written in written {
            self.hub.written(None, written);
        }
    }
}

/// Waits for the next tick. Returns false at the end.
async fn next_tick(ticks: &mut tokio::time::Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        _ = ticks.tick() => true,
        () = stop.cancelled() => false,
    }
}
