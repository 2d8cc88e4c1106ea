//! Container agents: what is written of them, and the driver against a cluster of the tests' own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod asked;
mod carried;
mod drift;
mod environments;
mod failures;
mod fake_cluster;
mod leases;
mod resume;
mod rig;
mod store;
mod switch;
