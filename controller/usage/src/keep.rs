//! The work beside the calls: flushes, lets other processes have what they are short of, is seen to live, and deletes what is
//! old. Everything is written at the end.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{backoff, chain, every};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::exchange::{DEAD_MS, Purpose, within};
use crate::window::DAY_MS;
use crate::{Accounts, Error};

/// The time between two flushes.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// The longest time between two tries while the store fails.
const MAX_PAUSE: Duration = Duration::from_secs(3);
/// The time between two looks for accounts that nobody uses.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A process that has accounts is seen so often.
const BEAT_MS: i64 = 5_000;
/// The time between two deletions of what is old.
const CLEAN_EVERY: Duration = Duration::from_secs(600);
/// Rows that one deletion takes.
const CLEAN_STEP: u32 = 500;
/// The pause between two deletions.
const CLEAN_PAUSE: Duration = Duration::from_millis(100);
/// The timeout of the last flush, at the end of [`Accounts::keep`].
pub const LAST_TIMEOUT: Duration = Duration::from_secs(10);

impl Accounts {
    /// Works until it is stopped, and then writes everything that waits.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let cleaning = async {
            let mut ticks = every(CLEAN_EVERY);
            loop {
                ticks.tick().await;
                if let Err(error) = self.clean().await {
                    tracing::warn!(target: "cofferdam_usage", why = chain(&error), "old records were not deleted");
                }
            }
        };
        let flushing = async {
            let (mut ticks, mut failures, mut swept) = (every(FLUSH_EVERY), 0, Instant::now());
            loop {
                tokio::select! {
                    _ = ticks.tick() => (),
                    () = self.full.notified() => (),
                }
                if swept.elapsed() >= SWEEP_EVERY {
                    self.ledger.sweep(self.config.clock.now_ms(), false);
                    swept = Instant::now();
                    // The flush says it if the store fails.
                    let _ = self.bury().await;
                }
                failures = if self.tick().await.is_ok() { 0 } else { failures + 1 };
                if failures > 0 {
                    sleep(backoff(FLUSH_EVERY, MAX_PAUSE, failures)).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => (),
            () = cleaning => (),
            () = flushing => (),
        }
        self.close().await;
    }

    /// Gives everything back and writes everything.
    async fn close(self: &Arc<Self>) {
        self.ledger.sweep(self.config.clock.now_ms(), true);
        let last = async {
            // The first try may be of a batch whose outcome is unknown; the second has the rest.
            for turn in 1..=3 {
                if self.flush_for(Purpose::Close).await.is_ok() && self.queue.waiting() == 0 {
                    return;
                }
                sleep(backoff(FLUSH_EVERY, MAX_PAUSE, turn)).await;
            }
        };
        if timeout(LAST_TIMEOUT, last).await.is_err() || self.queue.waiting() > 0 {
            let records = self.queue.waiting();
            tracing::error!(target: "cofferdam_usage", records, "records of calls are lost: the store did not take them");
        }
    }

    /// One flush.
    pub(crate) async fn tick(self: &Arc<Self>) -> Result<(), Error> {
        if !self.config.alone && !self.ledger.is_empty() {
            for key in within(self.store.wanted_model_shares(&self.process)).await? {
                if let Some(account) = self.ledger.find(&key) {
                    self.ledger.list(&account, |state| state.wanted = true);
                }
            }
        }
        let silent = self.config.clock.now_ms() - self.desk.lock().await.written_ms;
        let alive = !self.ledger.is_empty() || !self.calls.is_empty();
        let beat = !self.config.alone && alive && silent >= BEAT_MS;
        self.flush_for(if beat { Purpose::Beat } else { Purpose::Flush }).await
    }

    /// Counts what calls of dead processes held.
    pub(crate) async fn bury(&self) -> Result<(), Error> {
        let silent = self.config.clock.now_ms().saturating_sub(DEAD_MS);
        self.end_dead(if self.config.alone { i64::MAX } else { silent }).await
    }

    /// Deletes what is old, a few rows at a time.
    pub(crate) async fn clean(&self) -> Result<(), Error> {
        let now_ms = self.config.clock.now_ms();
        let before = |days: u32| if days == 0 { i64::MIN } else { now_ms.saturating_sub(i64::from(days) * DAY_MS) };
        let (records, contents) = (before(self.config.keep_days), before(self.config.content_keep_days));
        for organization in within(self.store.organizations_of_usage()).await? {
            let delete = || self.store.delete_model_usage(&organization, records, contents, CLEAN_STEP.into());
            while within(delete()).await? >= CLEAN_STEP.into() {
                sleep(CLEAN_PAUSE).await;
            }
        }
        // What a process that died has left is counted before it is deleted.
        self.bury().await?;
        let delete = || self.store.delete_old_model_accounts(now_ms, now_ms - DAY_MS, CLEAN_STEP.into());
        while within(delete()).await? >= CLEAN_STEP.into() {
            sleep(CLEAN_PAUSE).await;
        }
        Ok(())
    }
}
