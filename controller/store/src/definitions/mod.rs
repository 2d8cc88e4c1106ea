//! Definitions of agents: versions of what an agent is, and what it remembers.

mod agents;
mod memories;

pub use agents::{Defined, DefinedRow, DefinitionChange, VersionRow};
pub use memories::{MemoryAdded, MemoryRow};
