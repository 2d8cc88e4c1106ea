//! The workers on this machine: child processes, one for snippets and one for tools, that are started, watched,
//! restarted and ended. The parent binds a socket and keeps it, so a request that arrives while the child is replaced
//! waits in the socket's queue. Components are compiled by children of their own, one for each.
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
