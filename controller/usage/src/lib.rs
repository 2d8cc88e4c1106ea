//! Budgets and usage: what a call may cost is held before it, what it did cost is settled after it, one record is written
//! for each call, and questions about the records are answered.
//!
//! Exact in one process and across several: each leases shares of a budget from the store and spends only these. Never asks
//! the store where a share suffices. Never knows a request, a price or an upstream. Start reading at `accounts.rs`,
//! `account.rs` and `exchange.rs`.

mod account;
mod accounts;
mod budget;
mod calls;
mod config;
mod csv;
mod error;
mod exchange;
mod keep;
mod lease;
mod ledger;
mod metrics;
mod money;
mod query;
mod queue;
mod record;
mod running;
mod spent;
mod table;
mod window;

#[cfg(test)]
mod tests;

pub use cofferdam_store::ModelCallRow;

pub use accounts::{Accounts, Held};
pub use budget::{Budget, BudgetSpec, Limit, Per, Unit, Window, matches};
pub use calls::{CallPage, CallQuery, MAX_CALLS, when};
pub use config::{Clock, UsageConfig};
pub use error::{Error, HoldError, Refused};
pub use keep::LAST_TIMEOUT;
pub use metrics::UsageMetrics;
pub use money::{NANOS, dollars, nanos};
pub use query::{By, MAX_ROWS, Order, UsageQuery};
pub use record::{Amounts, Content, Ending, MAX_CONTENT_BYTES, Record, Who};
pub use spent::BudgetState;
pub use table::{UsageRow, UsageTable};
