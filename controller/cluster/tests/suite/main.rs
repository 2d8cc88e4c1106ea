//! Tests the public API of the crate against an API server on loopback. `recorded/` and `attack/` hold recorded and
//! hostile answers of API servers; `real/` needs a real cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod api;
mod applied;
mod asked;
mod echoed;
mod followed;
mod hostile;
mod pages;
mod raw;
mod reached;
mod real;
mod refused;
mod rights;
mod seen;
