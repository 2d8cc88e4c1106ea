//! The service: holds what a call may cost before it, settles and records it after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_core::random_bits;
use cofferdam_store::Store;
use tokio::sync::{Mutex, Notify};

use crate::budget::Budget;
use crate::error::HoldError;
use crate::exchange::{Desk, Purpose};
use crate::ledger::{Ledger, Take};
use crate::metrics::UsageMetrics;
use crate::queue::{MAX_FLUSHED, Queue};
use crate::record::{Amounts, Record, Who};
use crate::running::{Calls, Place};
use crate::{Error, UsageConfig};

/// Budgets and records of this process.
pub struct Accounts {
    pub(crate) store: Store,
    pub(crate) config: UsageConfig,
    pub(crate) metrics: UsageMetrics,
    /// The name under which this process leases shares.
    pub(crate) process: String,
    pub(crate) ledger: Ledger,
    pub(crate) queue: Queue,
    /// Calls that are with an upstream.
    pub(crate) calls: Calls,
    pub(crate) desk: Mutex<Desk>,
    /// Counts the calls that were short.
    pub(crate) asked: AtomicU64,
    /// Wakes the flush before its time.
    pub(crate) full: Notify,
    #[cfg(test)]
    pub(crate) fault: crate::tests::Fault,
}

impl Accounts {
    pub fn new(store: Store, config: UsageConfig, metrics: UsageMetrics) -> Arc<Self> {
        // Without random bytes the time still tells processes apart.
        let process = random_bits().unwrap_or_else(|_| config.clock.now_ms().unsigned_abs().into());
        Arc::new(Self {
            store,
            metrics: metrics.clone(),
            process: format!("{process:032x}"),
            ledger: Ledger::default(),
            queue: Queue::new(config.max_waiting, metrics),
            calls: Calls::default(),
            desk: Mutex::default(),
            asked: AtomicU64::new(0),
            full: Notify::new(),
            #[cfg(test)]
            fault: crate::tests::Fault::default(),
            config,
        })
    }

    /// Returns an error if so many records wait for the store that no call may begin.
    ///
    /// # Errors
    /// [`HoldError::Unavailable`].
    pub fn room(&self) -> Result<(), HoldError> {
        if self.queue.has_room() {
            return Ok(());
        }
        Err(HoldError::Unavailable("Too many records of calls wait for the database.".to_owned()))
    }

    /// Holds what a call may cost at most, in all budgets that count it or in none. `models` are the names asked for and
    /// chosen first. Waits for the store only if the shares of this process do not suffice.
    ///
    /// # Errors
    /// A budget does not suffice, or the store does not answer.
    pub async fn hold(
        self: &Arc<Self>,
        who: &Who,
        models: &[&str],
        budgets: &[Arc<Budget>],
        most: Amounts,
    ) -> Result<Held, HoldError> {
        self.room()?;
        let now_ms = self.config.clock.now_ms();
        let takes = self.ledger.takes(who, models, budgets, most, now_ms);
        let takes = takes.map_err(|_| HoldError::Unavailable("Too many budgets are in use.".to_owned()))?;
        if !self.ledger.hold(&takes, now_ms) {
            self.lease(&takes).await?;
        }
        Ok(Held { accounts: Arc::clone(self), takes, most, running: None })
    }

    /// Records a call that held nothing. It finds no room while the store is away and many records wait.
    pub fn record(&self, record: Record) {
        self.queue_record(record, false);
    }

    fn queue_record(&self, record: Record, begun: bool) {
        self.queue.push(record, begun);
        if self.queue.waiting() == MAX_FLUSHED {
            self.full.notify_one();
        }
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// The store failed; what waits goes on waiting.
    pub async fn flush(self: &Arc<Self>) -> Result<(), Error> {
        self.flush_for(Purpose::Flush).await
    }

    pub(crate) async fn flush_for(self: &Arc<Self>, purpose: Purpose) -> Result<(), Error> {
        for _ in 0..=self.queue.waiting() / MAX_FLUSHED + 1 {
            self.exchange_apart(purpose).await?;
            if self.queue.waiting() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Makes an exchange in a task of its own: a caller who goes away does not break it off.
    pub(crate) async fn exchange_apart(self: &Arc<Self>, purpose: Purpose) -> Result<(), Error> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.exchange(purpose).await }).await.unwrap_or(Err(Error::Late))
    }
}

/// The amounts that a call holds. Dropping it gives all of them back: the call has cost nothing.
#[must_use]
pub struct Held {
    accounts: Arc<Accounts>,
    takes: Vec<Take>,
    most: Amounts,
    running: Option<Place>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.takes.iter().map(|take| (&take.account.budget, take.amount))).finish()
    }
}

impl Held {
    /// The call is with an upstream from now on, or with another one, which may charge for it even if this process dies.
    /// If it takes longer than a moment the record is written as one of a call that runs: with `input` tokens, and with
    /// the rest of what is held as output and money.
    pub fn running(&mut self, record: Record, input: u64) {
        let output = self.most.tokens.saturating_sub(input);
        let record = Record { input, output, money: self.most.money, content: None, ..record };
        match &self.running {
            Some(place) => self.accounts.calls.change(place, record),
            None => {
                let now_ms = self.accounts.config.clock.now_ms();
                self.running = Some(self.accounts.calls.begin(record, &self.takes, now_ms));
            }
        }
    }

    /// Ends the call, counts what it did cost, also where that is more than it held, and records it.
    pub fn settle(mut self, cost: Amounts, record: Record) {
        self.end(cost);
        self.accounts.queue_record(record, true);
    }

    /// Returns the record of a call that is written down as running.
    fn end(&mut self, cost: Amounts) -> Option<Record> {
        // From here on no flush writes it as running any more: its record may be queued.
        let running = self.running.take().and_then(|place| self.accounts.calls.end(&place));
        self.accounts.ledger.settle(&std::mem::take(&mut self.takes), cost, running.is_some());
        running
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(record) = self.end(Amounts::default()) {
            let ending = crate::Ending::Cancelled;
            self.accounts.queue_record(Record { ending, input: 0, output: 0, money: 0, ..record }, true);
        }
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let asked = self.asked.load(Ordering::Relaxed);
        f.debug_struct("Accounts").field("process", &self.process).field("asked", &asked).finish_non_exhaustive()
    }
}
