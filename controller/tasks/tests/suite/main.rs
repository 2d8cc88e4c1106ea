//! The service on SQLite and PostgreSQL: writing in groups, hand-out, following, steering, and a database that goes away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod decisions;
mod follow;
mod outages;
mod rig;
mod steer;
mod work;
mod write;
