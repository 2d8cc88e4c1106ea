//! What the cross-room suites share: a server of their own, a plain HTTP client, the format of cases.
//!
//! Every test binary uses a part of it.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod case;
pub mod cases;
pub mod component;
pub mod docker_registry;
pub mod generate;
pub mod http;
pub mod play;
pub mod process;
pub mod server;

pub use http::{Answer, Call};
pub use server::{Server, Setup};
