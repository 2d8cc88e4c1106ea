//! The gateway as a worker uses it: over an uplink, with tokens, against test servers on loopback.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used, clippy::print_stderr)]

mod bodies;
mod files;
mod grants;
mod keyvalue;
mod llm;
mod rig;
mod secrets;
mod secrets_api;
mod tls;
mod tokens;
mod upstreams;
