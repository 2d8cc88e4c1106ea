//! The controller: the HTTP API, its keys and store, and the workers behind it.
//!
//! It never runs untrusted code and never depends on the runtime: a worker is another process that speaks the wire of
//! `cofferdam_contract::worker`, started by [`supervisor`] or found at an address. Start reading at [`server`] (how it
//! starts and ends) and [`api`] (what it answers).

pub mod agents;
pub mod api;
pub mod auth;
pub mod blobs;
pub mod cluster;
pub mod config;
pub mod environments;
pub mod error;
pub mod gateway;
pub mod mcp;
pub mod metrics;
pub mod objects;
pub mod oci;
pub mod policy;
pub mod server;
pub mod services;
pub mod store;
pub mod supervisor;
pub mod vault;
pub mod workers;

mod clock;

pub use error::Error;
