//! Components from OCI registries: a fake one that behaves as a table says, and Debian's `docker-registry` with
//! signatures as cosign attaches them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod misbehaving;
mod rig;
mod signed;
