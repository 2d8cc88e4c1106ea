//! A call whose budgets' shares do not suffice in this process: leases more, asks other processes to give back what they can
//! spare, and refuses when there is nothing left. Waits half a second at most where others have shares, not at all where
//! nobody has, and remembers a refusal for a moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::Accounts;
use crate::error::HoldError;
use crate::exchange::Purpose;
use crate::ledger::Take;

/// The longest wait for others to give back what they can spare.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// The time between two looks at what they gave back.
const LOOK: Duration = Duration::from_millis(40);
/// The timeout of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls that wait tell so until they do not.
#[derive(Default)]
struct Waits(Vec<Take>);

impl Waits {
    /// Has the next exchange ask for these.
    fn add(&mut self, accounts: &Accounts, takes: Vec<Take>) {
        for take in takes {
            let waits = self.0.iter().any(|wait| Arc::ptr_eq(&wait.account, &take.account));
            accounts.ledger.list(&take.account, |state| {
                if !waits {
                    state.wait(take.amount)
                }
            });
            if !waits {
                self.0.push(take);
            }
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        for take in &self.0 {
            take.account.state().stop_waiting(take.amount);
        }
    }
}

impl Accounts {
    /// Waits until all takes are held.
    pub(crate) async fn lease(self: &Arc<Self>, takes: &[Take]) -> Result<(), HoldError> {
        let deadline = Instant::now() + MAX_WAIT;
        let mut waits = Waits::default();
        let mut asked_others = false;
        loop {
            let now_ms = self.config.clock.now_ms();
            let short = self.ledger.short(takes, now_ms);
            for take in &short {
                let state = take.account.state();
                if take.amount > state.limit || state.was_refused(take.amount, now_ms) {
                    drop(state);
                    return Err(self.refuse(take, now_ms));
                }
            }
            waits.add(self, short);
            let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
            match timeout(STORE_TIMEOUT, self.exchange_apart(Purpose::Short(number))).await {
                Ok(Ok(())) => (),
                Ok(Err(_)) | Err(_) => {
                    return Err(HoldError::Unavailable("The database of budgets does not answer.".to_owned()));
                }
            }
            let now_ms = self.config.clock.now_ms();
            if self.ledger.hold(takes, now_ms) {
                return Ok(());
            }
            let late = Instant::now() >= deadline;
            let mut none_left = false;
            for take in self.ledger.short(takes, now_ms) {
                let mut state = take.account.state();
                let none = state.free().saturating_add(state.left) < take.amount;
                let in_vain = none && (state.others == 0 || asked_others && state.asked == 0);
                if late && !none {
                    // There is room, and it did not come in time: that is no answer about the budget.
                    return Err(HoldError::Unavailable("Shares of budgets did not come in time.".to_owned()));
                }
                if in_vain || late {
                    state.refuse(take.amount, now_ms);
                    drop(state);
                    return Err(self.refuse(&take, now_ms));
                }
                none_left |= none;
            }
            if none_left {
                asked_others = true;
                sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))).await;
            }
        }
    }

    fn refuse(&self, take: &Take, now_ms: i64) -> HoldError {
        self.metrics.refused(take.account.unit);
        HoldError::Refused(take.account.refused(take.amount, now_ms))
    }
}
