//! Shared test support: a server for tests, a plain HTTP client, the format of cases.
//!
//! Each test binary uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub(crate) mod case;
pub(crate) mod cases;
pub(crate) mod component;
pub(crate) mod docker_registry;
pub(crate) mod generate;
pub(crate) mod http;
pub(crate) mod kept;
pub(crate) mod play;
pub(crate) mod process;
pub(crate) mod server;

pub(crate) use http::{Answer, Call};
pub(crate) use server::{Server, Setup};
