//! The controller as its clients and its workers see it. One test binary, because linking dominates the cost of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod agents_api;
mod ai;
mod auth;
mod deployments;
mod gateway;
mod limits;
mod mcp;
mod model_settings;
mod models;
mod odd_texts;
mod registries;
mod remote;
mod runs;
mod sessions;
mod support;
mod tool_workers;
