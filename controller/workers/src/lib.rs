//! The workers that run code: their addresses, their health, the choice among them, the calls to them, and the child
//! processes of those on this machine (`supervisor`).
//!
//! Never sends a request again that may have reached a worker. Start reading at `forward.rs`.

mod body;
mod connect;
mod error;
mod forward;
mod health;
mod link;
mod load;
mod metrics;
mod remote;
pub mod supervisor;
mod tools;
mod uplink;
mod worker;
mod workers;

pub use body::Pieces;
pub use error::Error;
pub use forward::{Busy, WorkerRequest, lost_midway};
pub use health::{Watched, watch};
pub use metrics::RestartMetrics;
pub use remote::RemoteWorker;
pub use tools::{Owner, ToolWorker, ToolWorkers};
pub use worker::Worker;
pub use workers::Workers;
