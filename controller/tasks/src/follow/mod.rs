//! Following threads: stored events first, then live ones, without a gap and without doubles, for thousands at once.
//!
//! A thread that somebody follows has a channel with its newest events (`channel.rs`); a follower (`follower.rs`) keeps nothing but
//! its place in it, and reads the store where the channel no longer has what it needs. Never writes.

mod channel;
mod event;
mod follower;
mod hub;

pub use event::Event;
pub use follower::Follow;
pub(crate) use follower::Until;
pub(crate) use hub::Hub;
