//! Container agents: their rows in the store, and the driver against a fake cluster.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod asked;
mod carried;
mod deleted;
mod drift;
mod environments;
mod failures;
mod held;
mod leases;
mod pods;
mod resume;
mod rig;
mod switch;
mod watched;
