//! What a sandbox may call: WASI 0.2 over files in memory, and the kernel's door.
//!
//! Never touches a real file, the network, the process's environment or a clock's setting; every length that a guest
//! chooses has a cap here. Everything is synchronous; the only place that waits is [`Interrupt`], and it waits no
//! longer than the run's deadline.

pub mod door;
pub mod interrupt;
pub mod sandbox;
pub mod stdio;
pub mod vfs;
pub mod wasi;

pub use door::{Door, add_door_to_linker};
pub use interrupt::{Interrupt, Interrupted};
pub use sandbox::{Exit, Sandbox, SandboxView, Stop};
pub use stdio::{OutputSink, Stdio};
pub use vfs::{
    ArchiveError, Base, Budget, DiskUsage, FileInfo, FsError, MountBytes, Mounts, Quota, SystemClock, Vfs, WallClock,
};
pub use wasi::add_to_linker;
