//! The amounts used of budgets, for those who look.

use std::sync::Arc;

use cofferdam_contract::OrganizationId;

use crate::account::kept_until_ms;
use crate::budget::{Budget, Per, Unit, Window};
use crate::exchange::within;
use crate::ledger::{SEPARATOR, name};
use crate::window::{DAY_MS, Span};
use crate::{Accounts, Error};

/// The most accounts of one budget that are shown.
const MAX_SHOWN: i64 = 100;

/// A budget's account in its current window. Amounts in the unit; [`Unit::show`] writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetState {
    pub budget: String,
    /// The key, agent or task; `None` for the organization.
    pub subject: Option<String>,
    pub unit: Unit,
    pub window: Window,
    pub limit: u64,
    /// Used by all processes; other ones' last fifth of a second may be missing.
    pub used: u64,
    /// Held by running calls of this process.
    pub held: u64,
    /// The end of the window, as Unix time in milliseconds.
    pub resets_at_ms: Option<i64>,
}

impl Accounts {
    /// The accounts of each budget in its current window, the most used ones first and up to 100 of each budget. A budget
    /// of the organization, or with `only`, has one, used or not.
    ///
    /// # Errors
    /// The store failed.
    pub async fn spent(
        &self,
        organization: &OrganizationId,
        budgets: &[Arc<Budget>],
    ) -> Result<Vec<BudgetState>, Error> {
        let mut states = Vec::new();
        for budget in budgets.iter().filter(|budget| budget.organization == *organization) {
            self.spent_of(budget, &mut states).await?;
        }
        Ok(states)
    }

    async fn spent_of(&self, budget: &Budget, states: &mut Vec<BudgetState>) -> Result<(), Error> {
        let now_ms = self.config.clock.now_ms();
        let span = Span::at(budget.spec.window, now_ms);
        let kept = kept_until_ms(span, now_ms);
        // A task's account is kept from when it was last used.
        let from = if span.end_ms.is_some() { kept } else { now_ms };
        let range = (from, kept + DAY_MS);
        let found = within(self.store.model_accounts(&budget.organization, &budget.name, range, MAX_SHOWN)).await?;
        let mut key = String::new();
        let only = match budget.spec.per {
            Per::Organization => Some(""),
            Per::Key | Per::Agent | Per::Task => budget.spec.only.as_deref(),
        };
        let before = states.len();
        for (account, used) in &found {
            let subject = account.rsplit(SEPARATOR).nth(1).unwrap_or_default();
            name(&mut key, budget, subject, span);
            if key == *account && only.is_none_or(|only| only == subject) {
                states.push(self.state(budget, span, subject, *used, account));
            }
        }
        if let (Some(subject), true) = (only, states.len() == before) {
            name(&mut key, budget, subject, span);
            states.push(self.state(budget, span, subject, 0, &key));
        }
        Ok(())
    }

    fn state(&self, budget: &Budget, span: Span, subject: &str, used: u64, key: &str) -> BudgetState {
        let here = self.ledger.find(key);
        let (held, spent) = here.map_or((0, 0), |account| {
            let state = account.state();
            (state.held, state.spent)
        });
        BudgetState {
            budget: budget.name.clone(),
            subject: Some(subject).filter(|subject| !subject.is_empty()).map(str::to_owned),
            unit: budget.spec.unit,
            window: budget.spec.window,
            limit: budget.spec.limit.amount(budget.spec.unit).unwrap_or(0),
            used: used.saturating_add(spent),
            held,
            resets_at_ms: span.end_ms,
        }
    }
}
