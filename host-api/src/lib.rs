//! What a sandbox may call: WASI 0.2 over files in memory, the kernel's door, and what grants add: HTTP, key-value
//! and other tools through the gateway.
//!
//! Never touches a real file, the network, the process's environment or a clock's setting; every length that a guest
//! chooses has a cap here. Everything is synchronous; the only place that waits is [`Interrupt`], and it waits no
//! longer than the run's deadline.

pub mod capabilities;
pub mod config;
pub mod door;
pub mod failure;
pub mod gateway;
pub mod hold;
pub mod http;
pub mod interrupt;
pub mod keyvalue;
pub mod logging;
pub mod sandbox;
pub mod sockets;
pub mod stdio;
#[cfg(test)]
mod testing;
pub mod tools;
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
    ArchiveError, Base, Budget, DiskUsage, FileInfo, FsError, MountBytes, Mounts, Quota, SystemClock, Vfs, WallClock,
};
pub use wasi::add_to_linker;
