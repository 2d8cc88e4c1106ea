//! The HTTP contract, end to end over a real worker: requests, answers, refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod commands;
mod environments;
mod events;
mod files;
mod keys;
mod mcp;
mod registry;
mod runs;
mod sessions;
mod states;
mod system;
mod tool_files;
mod tools;
