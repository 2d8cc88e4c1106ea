//! Connectors over scripted MCP servers: what goes well, and what a hostile server tries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod addresses;
mod calls;
mod documents;
mod listing;
mod logins;
mod official;
mod rig;
mod streams;
