//! The worker on this machine: a child process that is started, watched, restarted and ended. The parent binds the
//! socket and keeps it, so a request that arrives while the child is replaced waits in the socket's queue.
//!
//! Never gives the child more than its arguments, its socket and the few variables that [`WorkerProgram`] names.

mod child;
mod local;
mod prepare;
mod run_folder;

pub use child::{UNPREPARED, WorkerProgram};
pub use local::{LocalWorker, STARTING, Supervision};
