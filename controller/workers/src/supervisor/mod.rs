//! The workers on this machine: child processes, one for snippets and one for tools, started, watched, restarted and
//! ended here. The parent binds the socket and keeps it, so a request that arrives while the child is replaced waits in
//! the socket's queue. Each component is compiled by a child process of its own.
//!
//! Never gives a child more than its arguments, its socket and the few variables that its program names.

mod child;
mod components;
mod keeper;
mod local;
mod prepare;
mod run_folder;
mod tools;

pub use child::{ToolProgram, UNPREPARED, WorkerProgram};
pub use components::Components;
pub use local::{LocalWorker, STARTING, Supervision};
pub use tools::LocalTools;
