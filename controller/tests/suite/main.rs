//! The controller as its clients and its workers see it. One program, because linking is most of what a test costs.

mod agents;
mod agents_api;
mod auth;
mod cluster;
mod gateway;
mod logs;
mod remote;
mod runs;
mod sessions;
mod store;
mod store_gateway;
mod support;
mod tool_workers;
mod tools;
