//! The controller as its clients and its workers see it. One program, because linking is most of what a test costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod agents;
mod agents_api;
mod auth;
mod cluster;
mod deployments;
mod gateway;
mod logs;
mod mcp;
mod registries;
mod remote;
mod runs;
mod sessions;
mod store;
mod support;
mod tool_workers;
