//! The workers behind the API: where they are, whether they answer, which one takes the next run.
//!
//! **Invariant**: a request that may have reached a worker is never sent again by us.

mod body;
mod connect;
mod forward;
mod health;
mod link;
mod registry;
mod tools;
mod uplink;
mod worker;

pub use body::{Parts, empty, full};
pub use connect::Target;
pub(crate) use forward::lost_midway;
pub use forward::{Busy, WorkerRequest};
pub use health::{EVERY, FAILURES, TIMEOUT, Watched, watch};
pub use registry::Registry;
pub use tools::{ToolWorker, ToolWorkers};
pub use worker::Worker;
