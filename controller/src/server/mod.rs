//! The process: what a role starts, listens on and ends, in which order.

mod accept;
mod code_runner;
mod loops;
mod serve;
mod signals;

pub use accept::accept;
pub use code_runner::front;
pub use serve::{Announce, Door, Programs, Started, serve};
