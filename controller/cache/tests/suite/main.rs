//! One suite for the twins of the cache: memory, and a Redis that each test starts for itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout
)]

mod bus;
mod lookups;
mod outages;
mod rates;
mod server;
