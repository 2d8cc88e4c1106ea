//! Runs untrusted code: engines, artifacts, kernel images, instances, limits, and the workers' HTTP servers.
//!
//! Depends only on `contract` and `host-api`. Never sees the controller, a database or a secret, and opens no
//! connections.

#![warn(unreachable_pub)]

pub mod artifact;
mod bounds;
mod confine;
pub mod engine;
mod error;
pub mod events;
mod files;
pub mod fresh;
pub mod guest;
pub mod kernel;
pub mod memory;
mod outbound;
pub mod recorder;
mod session;
mod share;
mod sums;
pub mod tool;
pub mod tool_worker;
pub mod turn;
mod unsent;
mod uplink;
pub mod worker;

pub use error::{Error, KernelError};
pub use kernel::prepare::prepare;
