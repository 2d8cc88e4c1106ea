//! One budget of one subject in one window of time, as this process sees it. Holds and settles in memory, from the share
//! that the store has granted. Never waits, knows no clock and no store.
//!
//! `share` is what was granted, `held` what running calls may cost, `spent` what ended calls did cost and the store was not
//! told yet, `flushing` what it is being told. `held + spent + flushing <= share`, except where a call cost more than it
//! held. `lasting` is the part of `held` of calls that the store knows as running; it is less only together with `spent`.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_store::{ShareGrant, ShareRequest};
use parking_lot::{Mutex, MutexGuard};

use crate::budget::{Budget, Unit, Window};
use crate::error::Refused;
use crate::window::{DAY_MS, Span};

/// The time between two looks at how fast an account is used.
const PACE_MS: i64 = 150;
/// An account that nobody has used for so long has no spare.
pub(crate) const IDLE_MS: i64 = 60_000;
/// The time for which nothing is leased ahead after somebody else was short.
const CONTENDED_MS: i64 = 2_000;
/// The time for which a refusal is remembered.
pub(crate) const REFUSAL_MS: i64 = 100;
/// Days that a task's account is kept after it was last used.
const TASK_DAYS: i64 = 30;
/// A process leases at most this fraction (one over it) of the rest of a limit ahead, because others may need it.
const PART: u64 = 4;

/// A budget's account.
#[derive(Debug)]
pub(crate) struct Account {
    /// The store's name for it.
    pub key: Arc<str>,
    pub organization: OrganizationId,
    pub budget: String,
    pub unit: Unit,
    pub window: Window,
    pub span: Span,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub limit: u64,
    pub share: u64,
    pub held: u64,
    pub spent: u64,
    pub flushing: u64,
    /// Held by calls that are recorded as running, or ended after the last batch was made.
    lasting: u64,
    /// The part of it that has ended.
    lasted: u64,
    /// The part of the share that lasts, as the store has it.
    stored_held: u64,
    /// Amounts for which calls wait, and how many calls for each.
    waiting: BTreeMap<u64, u32>,
    /// On the list of accounts that the next exchange looks at.
    pub listed: bool,
    /// The store may have another share for us than `share`.
    dirty: bool,
    /// The share as the store has it.
    stored: u64,
    /// The share when the store was last asked.
    requested: u64,
    /// Taken since `paced_ms`.
    taken: u64,
    /// Taken between two looks, lately.
    pace: u64,
    /// The last amount that was taken.
    last: u64,
    paced_ms: i64,
    pub touched_ms: i64,
    contended_until_ms: i64,
    /// Somebody wants our spare.
    pub wanted: bool,
    /// This amount, or more, was refused; until then.
    refused: Option<(u64, i64)>,
    /// Leased by others, and asked to give back, when the store was last asked.
    pub others: u64,
    pub asked: u64,
    /// Left by all, and used by all, when the store was last asked.
    pub left: u64,
    pub used: u64,
}

impl State {
    pub(crate) fn free(&self) -> u64 {
        self.share.saturating_sub(self.held.saturating_add(self.spent).saturating_add(self.flushing))
    }

    pub(crate) fn take(&mut self, amount: u64, now_ms: i64) {
        self.held = self.held.saturating_add(amount);
        self.taken = self.taken.saturating_add(amount);
        self.last = amount;
        self.touched_ms = now_ms;
    }

    /// Takes over the limit of the budget as it is now. What was leased ahead under another one is not used any more.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        if self.limit == limit {
            return;
        }
        if limit < self.limit {
            self.share -= self.free();
            self.dirty = true;
        }
        self.limit = limit;
        self.refused = None;
    }

    /// A call that holds this amount is recorded as running.
    pub(crate) fn last_longer(&mut self, amount: u64) {
        self.lasting = self.lasting.saturating_add(amount);
    }

    /// Such a call has ended, and what it did cost is in `spent`.
    pub(crate) fn last_no_longer(&mut self, amount: u64) {
        self.lasted = self.lasted.saturating_add(amount);
    }

    /// Has the store say anew what this process has of the account.
    pub(crate) fn doubt(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn wait(&mut self, amount: u64) {
        *self.waiting.entry(amount).or_default() += 1;
    }

    pub(crate) fn stop_waiting(&mut self, amount: u64) {
        if let Some(count) = self.waiting.get_mut(&amount) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&amount);
            }
        }
    }

    pub(crate) fn refuse(&mut self, amount: u64, now_ms: i64) {
        self.refused = Some((amount, now_ms + REFUSAL_MS));
    }

    /// True if this amount, or less, was refused a moment ago and nothing has come back here since.
    pub(crate) fn was_refused(&self, amount: u64, now_ms: i64) -> bool {
        let lately = |(least, until): (u64, i64)| amount >= least && now_ms < until && now_ms + REFUSAL_MS >= until;
        self.refused.is_some_and(lately) && self.free().saturating_add(self.left) < amount
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// True if nothing would be lost by forgetting the account.
    pub(crate) fn is_idle(&self) -> bool {
        !self.dirty
            && self.stored == 0
            && self.stored_held == 0
            && self.held == 0
            && self.spent == 0
            && self.flushing == 0
            && self.waiting.is_empty()
    }

    fn set_pace(&mut self, now_ms: i64) {
        if now_ms - self.paced_ms >= PACE_MS || now_ms < self.paced_ms {
            self.pace = self.taken.max(self.pace / 2);
            (self.taken, self.paced_ms) = (0, now_ms);
        }
    }
}

/// Circumstances of an exchange, beside the accounts' own wishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub now_ms: i64,
    /// No other process uses the database.
    pub alone: bool,
    /// Nothing is leased ahead any more.
    pub closing: bool,
}

/// The time until which the store keeps an account.
pub(crate) fn kept_until_ms(span: Span, now_ms: i64) -> i64 {
    match span.end_ms {
        Some(end) => end + DAY_MS,
        // Whole days: the index changes once a day.
        None => (now_ms / DAY_MS + 1 + TASK_DAYS) * DAY_MS,
    }
}

impl Account {
    pub(crate) fn new(key: Arc<str>, budget: &Budget, span: Span, limit: u64, now_ms: i64) -> Self {
        let state = State { limit, touched_ms: now_ms, ..State::default() };
        Self {
            key,
            organization: budget.organization.clone(),
            budget: budget.name.clone(),
            unit: budget.spec.unit,
            window: budget.spec.window,
            span,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn refused(&self, amount: u64, now_ms: i64) -> Refused {
        let limit = self.state().limit;
        let seconds = |end: i64| u64::try_from((end - now_ms + 999) / 1_000).unwrap_or(0).max(1);
        Refused {
            budget: self.budget.clone(),
            unit: self.unit,
            window: self.window,
            limit: self.unit.show(limit),
            // More than the whole budget is never there.
            retry_after_s: self.span.end_ms.filter(|_| amount <= limit).map(seconds),
        }
    }

    /// Moves what was spent to `flushing`: the store gets it at once with what does not last any longer.
    pub(crate) fn begin_flush(&self) -> u64 {
        let mut state = self.state();
        state.lasting = state.lasting.saturating_sub(std::mem::take(&mut state.lasted));
        state.flushing = state.flushing.saturating_add(state.spent);
        state.spent = 0;
        state.flushing
    }

    /// Says what the store is asked for; `None` if it need not be asked. Spare that is given back is not there any more
    /// from now on, whatever becomes of the exchange.
    pub(crate) fn request(&self, terms: Terms) -> Option<ShareRequest> {
        let mut state = self.state();
        let now_ms = terms.now_ms;
        state.set_pace(now_ms);
        if state.wanted {
            state.contended_until_ms = now_ms + CONTENDED_MS;
        }
        let ended = terms.closing || self.span.end_ms.is_some_and(|end| now_ms >= end);
        let used_lately = now_ms - state.touched_ms < IDLE_MS;
        let ahead = !ended && used_lately && now_ms >= state.contended_until_ms;
        let sum = |state: &State| {
            state
                .waiting
                .iter()
                .fold(0_u64, |sum, (amount, count)| sum.saturating_add(amount.saturating_mul((*count).into())))
        };
        let free = state.free();
        let (wanted, smallest) = (sum(&state), state.waiting.keys().next().copied().unwrap_or(0));
        // Where others have parts, too, what does not suffice for any that wait is given back, so that it may suffice for
        // one elsewhere.
        let yields = wanted > 0 && !terms.alone && state.others > 0 && state.left < wanted;
        let had = if yields { 0 } else { free };
        let (needs, least) = (wanted.saturating_sub(had), smallest.saturating_sub(had));
        let (low, high) = if ahead {
            let (pace, last) = (state.pace, state.last);
            (pace.saturating_mul(2).max(last), pace.saturating_mul(8).max(last.saturating_mul(8)))
        } else {
            (0, 0)
        };
        let keeps_free = if yields {
            0
        } else if wanted > 0 || ahead && terms.alone || free <= high {
            free
        } else {
            high / 2
        };
        // Until the store has answered, what is given back may come back.
        state.left = state.left.saturating_add(free - keeps_free);
        state.share -= free - keeps_free;
        let extra = if ahead && terms.alone {
            state.limit
        } else if ahead && keeps_free < low {
            (high / 2).max(low) - keeps_free
        } else {
            0
        };
        if free > keeps_free && wanted == 0 {
            state.refused = None;
        }
        // A call that costs more than it held does not use up what others hold.
        let keeps = state.share.saturating_sub(state.flushing).max(state.held);
        let held = state.lasting.min(keeps);
        let changed = keeps != state.stored || held != state.stored_held;
        let due = state.flushing > 0 || wanted > 0 || state.dirty || state.wanted || changed;
        // An account that is alone has all there is: asking again only for more would find nothing.
        if !due && (extra == 0 || terms.alone) {
            return None;
        }
        state.dirty = true;
        state.requested = state.share;
        Some(ShareRequest {
            account: self.key.to_string(),
            organization: self.organization.clone(),
            budget: self.budget.clone(),
            limit: state.limit,
            kept_until_ms: kept_until_ms(self.span, now_ms),
            spent: state.flushing,
            keeps,
            held,
            needs,
            least,
            extra,
            part: if terms.alone { 1 } else { PART },
            answers: std::mem::take(&mut state.wanted),
        })
    }

    /// Takes over what the store has written. Returns true if the next exchange has to look at the account, too.
    pub(crate) fn written(&self, request: &ShareRequest, grant: ShareGrant) -> bool {
        let mut state = self.state();
        state.flushing = state.flushing.saturating_sub(request.spent);
        state.stored = request.keeps.saturating_add(grant.granted);
        state.stored_held = request.held;
        // What a lower limit has taken away meanwhile stays away.
        let cut = state.requested.saturating_sub(state.share);
        state.share = state.stored.saturating_sub(cut);
        let over = grant.over.min(state.free());
        state.share -= over;
        state.dirty = over > 0 || cut > 0;
        (state.others, state.asked) = (grant.others, grant.asked);
        (state.left, state.used) = (grant.left, grant.used);
        if grant.granted > 0 {
            state.refused = None;
        }
        state.dirty || state.spent > 0
    }
}
