//! The exchange with the store: what was spent and recorded goes there, shares come back, in one transaction. One at a time
//! in a process; whoever is short of a share waits for one that begins after it has said so.
//!
//! Amounts spent and records are sent under a number until the store has it: a transaction whose outcome is unknown is sent
//! again and counts once.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::chain;
use cofferdam_store::{Lessee, ModelCallRow, ShareRequest};

use crate::account::{Account, Terms};
use crate::queue::row;
use crate::{Accounts, Error};

/// The timeout of one transaction.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// A process that was not seen for so long is dead; its shares are nobody's.
pub(crate) const DEAD_MS: i64 = 30_000;
/// A process uses its shares for so long after it was seen. Less than [`DEAD_MS`] by what clocks differ.
const VALID_MS: i64 = 20_000;
/// After a failure those who are short are refused for so long, without asking again.
const FAILURE_MS: i64 = 1_000;

/// The state of the exchange.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// The number of the last batch.
    flush: u64,
    /// A batch that was sent, and maybe not written.
    unsent: Option<Batch>,
    /// Those who asked up to this number are served.
    served: u64,
    /// The time of the last exchange, if it failed.
    failed_ms: Option<i64>,
    /// The time of the last exchange that was written.
    pub written_ms: i64,
    /// Shares of earlier processes are ended.
    alone: bool,
}

#[derive(Debug, Default)]
struct Batch {
    spent: Vec<Arc<Account>>,
    /// Records of calls that have ended, and then those of calls that run.
    calls: Vec<ModelCallRow>,
    /// The number of the former.
    ended: usize,
}

/// Why an exchange is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A call is short: one that began later than it asked serves it.
    Short(u64),
    /// Whatever there is.
    Flush,
    /// The process has to be seen.
    Beat,
    /// Everything is given back.
    Close,
}

impl Accounts {
    /// Makes an exchange, if none has served the purpose meanwhile.
    pub(crate) async fn exchange(&self, purpose: Purpose) -> Result<(), Error> {
        let mut desk = self.desk.lock().await;
        let now_ms = self.config.clock.now_ms();
        if let Purpose::Short(number) = purpose {
            if desk.failed_ms.is_some_and(|failed| (0..FAILURE_MS).contains(&(now_ms - failed))) {
                return Err(Error::Late);
            }
            if desk.served >= number {
                return Ok(());
            }
        }
        let asked = self.asked.load(std::sync::atomic::Ordering::Acquire);
        let done = self.send(&mut desk, purpose, now_ms).await;
        match &done {
            Ok(()) => {
                desk.served = asked;
                if desk.failed_ms.take().is_some() {
                    tracing::info!(target: "cofferdam_usage", "the store takes records and budgets again");
                }
            }
            Err(error) => {
                self.metrics.flush_failures.inc();
                if desk.failed_ms.replace(now_ms).is_none() {
                    let why = chain(error);
                    tracing::error!(target: "cofferdam_usage", why, "the store does not take records and budgets; they wait");
                }
            }
        }
        done
    }

    async fn send(&self, desk: &mut Desk, purpose: Purpose, now_ms: i64) -> Result<(), Error> {
        #[cfg(test)]
        self.fault.before()?;
        if self.config.alone && !desk.alone {
            self.end_dead(i64::MAX).await?;
            desk.alone = true;
        }
        if self.ledger.is_stale(now_ms) {
            // Others may have taken this process for dead, and have what it had.
            self.ledger.doubt();
            self.calls.write_again();
        }
        let mut due = Vec::new();
        if desk.unsent.is_none() {
            let mut batch = Batch::default();
            // Who is short does not wait for records.
            if !matches!(purpose, Purpose::Short(_)) {
                // In this order: no call has a record in the queue and runs, too.
                batch.calls = self.queue.take();
                batch.ended = batch.calls.len();
                let (running, lasting) = self.calls.take(now_ms, purpose == Purpose::Close);
                batch.calls.extend(running.into_iter().map(row));
                due = lasting;
            }
            due.extend(self.ledger.take_due());
            batch.spent = due.iter().filter(|account| account.begin_flush() > 0).cloned().collect();
            desk.unsent = Some(batch);
            desk.flush += 1;
        } else {
            due.extend(self.ledger.take_due());
        }
        let batch = desk.unsent.as_ref();
        due.extend(batch.iter().flat_map(|batch| &batch.spent).cloned());
        due.sort_by(|one, other| one.key.cmp(&other.key));
        due.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let terms = Terms { now_ms, alone: self.config.alone, closing: purpose == Purpose::Close };
        let (mut accounts, mut requests): (Vec<&Arc<Account>>, Vec<ShareRequest>) = (Vec::new(), Vec::new());
        for account in &due {
            if let Some(request) = account.request(terms) {
                accounts.push(account);
                requests.push(request);
            }
        }
        let calls = batch.map_or(&[] as &[_], |batch| &batch.calls);
        if requests.is_empty() && calls.is_empty() && purpose != Purpose::Beat {
            desk.unsent = None;
            return Ok(());
        }
        let lessee = Lessee {
            process: &self.process,
            flush: desk.flush,
            now_ms,
            dead_before_ms: now_ms.saturating_sub(DEAD_MS),
        };
        let sent = within(self.store.exchange_model_shares(lessee, &requests, calls)).await;
        #[cfg(test)]
        let sent = self.fault.after(sent);
        let grants = match sent {
            Ok(grants) => grants,
            Err(error) => {
                due.iter().for_each(|account| self.ledger.list(account, |_| ()));
                return Err(error);
            }
        };
        if let Some(batch) = desk.unsent.take() {
            self.queue.written(batch.calls.get(..batch.ended).unwrap_or_default());
        }
        desk.written_ms = now_ms;
        for ((account, request), grant) in accounts.into_iter().zip(&requests).zip(grants) {
            if account.written(request, grant) {
                self.ledger.list(account, |_| ());
            }
        }
        self.ledger.set_valid_until(if self.config.alone { i64::MAX } else { now_ms.saturating_add(VALID_MS) });
        Ok(())
    }

    /// Ends the shares and running calls of other processes that were last seen before.
    pub(crate) async fn end_dead(&self, before_ms: i64) -> Result<(), Error> {
        while within(self.store.end_dead_model_processes(&self.process, before_ms)).await? {}
        Ok(())
    }
}

pub(crate) async fn within<T>(work: impl Future<Output = Result<T, cofferdam_store::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(STORE_TIMEOUT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Late),
    }
}
