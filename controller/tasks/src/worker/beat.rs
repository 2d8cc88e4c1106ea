//! Beats: a worker says that it lives. One that could not for too long stops its tasks before others begin them.

use std::sync::Arc;

use cofferdam_core::{chain, every, millis};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WorkerState;
use crate::{Error, Tasks};

impl Tasks {
    /// Beats for the workers of this process, until it is stopped.
    pub async fn keep_beating(self: Arc<Self>, stop: CancellationToken) {
        let mut beats = every(self.config.beat_interval);
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                () = stop.cancelled() => return,
            }
            for worker in self.slots.workers() {
                self.beat(&worker).await;
            }
        }
    }

    /// Makes a worker known to the store, once.
    pub(super) async fn join(&self, worker: &WorkerState) -> Result<(), Error> {
        let mut joined = worker.joined.lock().await;
        if !*joined {
            let begun = Instant::now();
            self.store.join_work(&worker.id, millis(self.config.beat_for)).await?;
            *worker.last_beat.lock() = begun;
            *joined = true;
        }
        Ok(())
    }

    async fn beat(&self, worker: &WorkerState) {
        if !*worker.joined.lock().await {
            return;
        }
        // From before the beat: it may have been written long before its answer came.
        let begun = Instant::now();
        let beat = self.store.beat(&worker.id, millis(self.config.beat_for));
        match tokio::time::timeout(self.config.beat_interval, beat).await {
            Ok(Ok(true)) => *worker.last_beat.lock() = begun,
            Ok(Ok(false)) => self.lose(worker, "it was not heard of for too long"),
            Ok(Err(error)) => self.doubt(worker, &chain(&error)),
            Err(_) => self.doubt(worker, "the database did not answer in time"),
        }
    }

    fn doubt(&self, worker: &WorkerState, why: &str) {
        tracing::debug!(worker = worker.id, why, "a worker could not beat");
        if worker.last_beat.lock().elapsed() > self.config.lost_after {
            self.lose(worker, why);
        }
    }

    fn lose(&self, worker: &WorkerState, why: &str) {
        tracing::warn!(worker = worker.id, why, "a worker is lost; its tasks stop here and go on elsewhere");
        self.metrics.leases_lost.inc();
        worker.lost.cancel();
        self.slots.forget(&worker.id);
        self.held.forget(&worker.id);
    }
}
