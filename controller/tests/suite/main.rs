//! The controller as its clients and its workers see it. One test binary, because linking dominates the cost of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod agents_api;
mod ai;
mod auth;
mod connectors;
mod definition_attacks;
mod definitions;
mod deployments;
mod gateway;
mod invoke;
mod limits;
mod loop_tools;
mod mcp;
mod mcp_agents;
mod model_settings;
mod models;
mod odd_texts;
mod rates;
mod registries;
mod remote;
mod routes;
mod runs;
mod sessions;
mod support;
mod tasks;
mod tool_workers;
mod two_controllers;
