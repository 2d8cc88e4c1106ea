//! Components from OCI registries: one of the tests' own that does what a row of the table says, and Debian's
//! `docker-registry` with signatures as cosign attaches them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod misbehaving;
mod rig;
mod signed;
