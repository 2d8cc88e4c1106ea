//! The host functions of a sandbox: WASI 0.2 over in-memory files, the kernel's door, and granted capabilities: HTTP,
//! key-value and other tools through the gateway.
//!
//! Never touches real files, the network, the process's environment or the clock's settings. Every length that a guest
//! chooses is bounded here. Everything is synchronous: only [`Interrupt`] waits, and never past the run's deadline.

#![warn(unreachable_pub)]

mod capabilities;
mod config;
mod door;
mod failure;
pub mod gateway;
mod hold;
pub mod http;
pub mod interrupt;
pub mod keyvalue;
mod logging;
mod sandbox;
mod sockets;
mod stdio;
#[cfg(test)]
mod testing;
mod tools;
pub mod vfs;
pub mod wasi;

pub use capabilities::{Capabilities, add_capabilities_to_linker};
pub use door::{Door, add_door_to_linker};
pub use gateway::{Gateway, GatewayBody, GatewayError, GatewayFuture, GatewayHandle};
pub use interrupt::{Interrupt, Interrupted};
pub use sandbox::{Exit, Sandbox, SandboxView, Stop};
pub use sockets::deny_sockets;
pub use stdio::{OutputSink, Stdio};
pub use vfs::{
    ArchiveError, Base, Budget, DiskUsage, FileInfo, FileView, FsError, MountBytes, Mounts, Quota, SystemClock, Vfs,
    WallClock,
};
pub use wasi::add_to_linker;
