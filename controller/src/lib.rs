//! The controller as a process: reads the settings, builds the services, listens, runs the background tasks, and shuts
//! everything down in order.
//!
//! It only composes: every decision is in the crates below. It never runs untrusted code and never depends on the
//! runtime; a worker is another process. Start reading at [`compose`] and [`server`].

pub mod compose;
pub mod config;
pub mod error;
mod invoke;
mod lanes;
mod mcp_agents;
mod named_secrets;
pub mod server;

pub use compose::{Controller, Machines, World};
pub use error::Error;
