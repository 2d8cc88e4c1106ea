//! Runs untrusted code: engines, artifacts, kernels' images, instances, limits, and the worker's HTTP server.
//!
//! Depends on `contract` and `host-api` only; it never sees the controller, a database, a secret or a route out.

pub mod artifact;
mod bounds;
pub mod confine;
pub mod engine;
mod error;
pub mod fresh;
pub mod guest;
pub mod kernel;
pub mod memory;
mod outbound;
pub mod recorder;
pub mod session;
pub mod tool;
pub mod tool_worker;
pub mod turn;
pub mod uplink;
pub mod worker;

pub use error::{Error, KernelError};
pub use kernel::prepare::prepare;
