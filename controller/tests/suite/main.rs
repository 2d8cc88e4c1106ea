//! The controller as its clients and its workers see it. One program, because linking is most of what a test costs.

mod auth;
mod deployments;
mod gateway;
mod mcp;
mod registries;
mod remote;
mod runs;
mod sessions;
mod store;
mod support;
mod tool_workers;
