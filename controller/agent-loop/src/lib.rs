//! The loop of serverless agents: instructions, memory and thread go to the model, its tool calls are made, and so on until the
//! answer. Every message, event and receipt is stored before the next thing is done, so that a worker that is killed anywhere is
//! followed by one that makes the same plan.
//!
//! [`Work`] is the door: it makes tasks, and runs them. Start reading at `work.rs`, `worker.rs`, `run.rs` and `plan.rs`. Never knows
//! HTTP routes, never opens a connection of its own, never counts a budget, and never makes a call twice unsaid.

mod ancestors;
mod answer;
mod approval;
mod calls;
mod child;
mod chunks;
mod compaction;
mod error;
mod history;
mod invoke;
mod limits;
mod marks;
mod metrics;
mod model;
mod output;
mod parts;
mod plan;
mod prompt;
mod receipts;
mod retry;
mod run;
mod said;
mod schema;
mod sessions;
mod step;
#[cfg(test)]
mod tests;
mod tools;
mod types;
mod work;
mod worker;

pub use error::Error;
pub use metrics::LoopMetrics;
pub use parts::{LoopConfig, Parts};
pub use types::{Hints, Offered, PlannedCall, Ruling, RunContext, ToolAnswer, ToolCost, ToolDone};
pub use work::{Invoked, Work};
