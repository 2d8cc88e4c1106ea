//! All accounts of this process. A call holds what it may cost at most of each of its accounts, or of none. Never waits and
//! knows no store.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::account::{Account, IDLE_MS, State};
use crate::budget::{Budget, Unit, cut};
use crate::record::{Amounts, MAX_COST, Who};
use crate::window::Span;

/// The most accounts in memory. Idle ones are forgotten.
const MAX_ACCOUNTS: usize = 200_000;
/// The time after which an account without a share is forgotten.
const FORGET_MS: i64 = 1_000;
/// The longest subject in an account's name, in bytes.
const MAX_SUBJECT_BYTES: usize = 256;
/// Stands between the parts of an account's name.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// The amount that a call takes of an account.
#[derive(Debug, Clone)]
pub(crate) struct Take {
    pub account: Arc<Account>,
    pub amount: u64,
    /// The place of the budget among the others: of several that refuse, the first is told.
    place: usize,
}

/// Too many accounts are in use.
#[derive(Debug)]
pub(crate) struct Crowded;

#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    /// Accounts that the next exchange looks at.
    due: Mutex<Vec<Arc<Account>>>,
    /// Shares count until then: a process that was silent for long is taken for dead, and its shares are leased anew.
    valid_until_ms: AtomicI64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { accounts: RwLock::default(), due: Mutex::default(), valid_until_ms: AtomicI64::new(i64::MIN) }
    }
}

/// Writes the account's name in the store: one for each budget, subject and window of time. A budget that becomes one of
/// another unit begins anew.
pub(crate) fn name(into: &mut String, budget: &Budget, subject: &str, span: Span) {
    into.clear();
    plain(into, budget.organization.as_str());
    plain(into, &budget.name);
    let spec = &budget.spec;
    let kind = [spec.per.as_str(), spec.unit.as_str(), spec.window.as_str()];
    kind.iter().for_each(|part| plain(into, part));
    plain(into, subject);
    // Writing to a text cannot fail.
    let _ = write!(into, "{}", span.start_ms / 1_000);
}

/// A part of a name, with the separator behind it.
fn plain(into: &mut String, text: &str) {
    let text = cut(text, MAX_SUBJECT_BYTES);
    if text.bytes().all(|byte| byte >= 0x20) {
        into.push_str(text);
    } else {
        into.extend(text.chars().map(|character| if character < ' ' { ' ' } else { character }));
    }
    into.push(SEPARATOR);
}

impl Ledger {
    /// The accounts that a call takes from, in an order in which they can be locked.
    pub(crate) fn takes(
        &self,
        who: &Who,
        models: &[&str],
        budgets: &[Arc<Budget>],
        most: Amounts,
        now_ms: i64,
    ) -> Result<Vec<Take>, Crowded> {
        let mut takes = Vec::new();
        let mut key = String::new();
        for (place, budget) in budgets.iter().enumerate() {
            let Some(subject) = budget.spec.subject(who, models) else { continue };
            // A limit that cannot be read was checked when it was written: nothing is allowed.
            let limit = budget.spec.limit.amount(budget.spec.unit).unwrap_or(0);
            let span = Span::at(budget.spec.window, now_ms);
            name(&mut key, budget, subject, span);
            let account = self.account(&key, budget, span, limit, now_ms)?;
            takes.push(Take { account, amount: budget.spec.take(most), place });
        }
        if takes.len() > 1 {
            takes.sort_unstable_by_key(|take| Arc::as_ptr(&take.account));
            takes.dedup_by_key(|take| Arc::as_ptr(&take.account));
        }
        Ok(takes)
    }

    fn account(
        &self,
        key: &str,
        budget: &Budget,
        span: Span,
        limit: u64,
        now_ms: i64,
    ) -> Result<Arc<Account>, Crowded> {
        let found = self.accounts.read().get(key).cloned();
        if let Some(account) = found {
            account.state().set_limit(limit);
            return Ok(account);
        }
        let mut accounts = self.accounts.write();
        if let Some(account) = accounts.get(key) {
            return Ok(Arc::clone(account));
        }
        if accounts.len() >= MAX_ACCOUNTS {
            return Err(Crowded);
        }
        let key: Arc<str> = key.into();
        let account = Arc::new(Account::new(Arc::clone(&key), budget, span, limit, now_ms));
        accounts.insert(key, Arc::clone(&account));
        Ok(account)
    }

    /// Holds all of it or nothing. Returns false if a share does not suffice.
    pub(crate) fn hold(&self, takes: &[Take], now_ms: i64) -> bool {
        let stale = self.is_stale(now_ms);
        let mut states = Vec::with_capacity(takes.len());
        for take in takes {
            let state = take.account.state();
            if take.amount > 0 && (stale || state.free() < take.amount) {
                return false;
            }
            states.push(state);
        }
        let mut changed = Vec::new();
        for (state, take) in states.iter_mut().zip(takes) {
            state.take(take.amount, now_ms);
            note(state, &take.account, &mut changed);
        }
        drop(states);
        self.add_due(changed);
        true
    }

    /// The accounts whose share does not suffice, in the order of the budgets.
    pub(crate) fn short(&self, takes: &[Take], now_ms: i64) -> Vec<Take> {
        let stale = self.is_stale(now_ms);
        let short = |take: &&Take| take.amount > 0 && (stale || take.account.state().free() < take.amount);
        let mut short: Vec<Take> = takes.iter().filter(short).cloned().collect();
        short.sort_by_key(|take| take.place);
        short
    }

    /// Ends a call. More than was held is counted, too. `lasting`: it is recorded as running.
    pub(crate) fn settle(&self, takes: &[Take], cost: Amounts, lasting: bool) {
        let mut changed = Vec::new();
        for take in takes {
            let cost = match take.account.unit {
                Unit::Requests => cost.requests,
                Unit::Tokens => cost.tokens,
                Unit::Money => cost.money,
            };
            let mut state = take.account.state();
            state.held = state.held.saturating_sub(take.amount);
            state.spent = state.spent.saturating_add(cost.min(MAX_COST));
            if lasting {
                state.last_no_longer(take.amount);
            }
            note(&mut state, &take.account, &mut changed);
        }
        self.add_due(changed);
    }

    fn add_due(&self, changed: Vec<Arc<Account>>) {
        if !changed.is_empty() {
            self.due.lock().extend(changed);
        }
    }

    /// Has the next exchange look at an account.
    pub(crate) fn list(&self, account: &Arc<Account>, change: impl FnOnce(&mut State)) {
        let mut changed = Vec::new();
        let mut state = account.state();
        change(&mut state);
        note(&mut state, account, &mut changed);
        drop(state);
        self.add_due(changed);
    }

    /// The accounts that the next exchange looks at. Each that changes from now on is listed again.
    pub(crate) fn take_due(&self) -> Vec<Arc<Account>> {
        let due = std::mem::take(&mut *self.due.lock());
        due.iter().for_each(|account| account.state().listed = false);
        due
    }

    pub(crate) fn find(&self, key: &str) -> Option<Arc<Account>> {
        self.accounts.read().get(key).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.read().is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.accounts.read().len()
    }

    /// True if this process was silent for so long that it may have been taken for dead.
    pub(crate) fn is_stale(&self, now_ms: i64) -> bool {
        now_ms > self.valid_until_ms.load(Ordering::Acquire)
    }

    /// Has the next exchange ask for all accounts: others may have leased what this process had of them.
    pub(crate) fn doubt(&self) {
        let accounts: Vec<_> = self.accounts.read().values().cloned().collect();
        accounts.iter().for_each(|account| self.list(account, State::doubt));
    }

    /// Shares count until then.
    pub(crate) fn set_valid_until(&self, time_ms: i64) {
        self.valid_until_ms.store(time_ms, Ordering::Release);
    }

    /// Lists the accounts whose share is of no use, or all of them, and forgets those that have none.
    pub(crate) fn sweep(&self, now_ms: i64, all: bool) {
        let mut forgotten = Vec::new();
        let mut useless = Vec::new();
        for account in self.accounts.read().values() {
            let state = account.state();
            let ended = account.span.end_ms.is_some_and(|end| now_ms >= end);
            if state.is_idle() {
                if now_ms - state.touched_ms > FORGET_MS {
                    forgotten.push(Arc::clone(&account.key));
                }
            } else if all || ended || state.is_dirty() || now_ms - state.touched_ms >= IDLE_MS {
                useless.push(Arc::clone(account));
            }
        }
        useless.iter().for_each(|account| self.list(account, |_| ()));
        if forgotten.is_empty() {
            return;
        }
        let mut accounts = self.accounts.write();
        for key in forgotten {
            // A call that has just found the account has it, too.
            let unused = accounts.get(&key).is_some_and(|a| Arc::strong_count(a) == 1 && a.state().is_idle());
            if unused {
                accounts.remove(&key);
            }
        }
        if accounts.capacity() > 1_024 && accounts.len() < accounts.capacity() / 4 {
            accounts.shrink_to_fit();
        }
    }
}

fn note(state: &mut State, account: &Arc<Account>, changed: &mut Vec<Arc<Account>>) {
    if !state.listed {
        state.listed = true;
        changed.push(Arc::clone(account));
    }
}
