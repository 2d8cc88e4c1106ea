//! The process: starts the parts of its roles, listens, and shuts down in order.

mod accept;
mod code_runner;
mod folder;
mod framing;
mod keep_going;
mod linger;
mod loops;
mod open_files;
mod serve;
mod signals;
mod strangers;

pub use accept::accept;
pub use code_runner::front;
pub use serve::{Announce, Door, Programs, Started, serve};
