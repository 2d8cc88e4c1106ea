//! The HTTP contract, end to end: what is asked, what is answered, what is refused, over a real worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod agents;
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
