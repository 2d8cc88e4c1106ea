//! Agents' definitions: what an agent is, in versions of which one is active, and what it remembers.
//!
//! Never runs an agent, never decides who may use one, and never changes a version that was active once. Start reading at
//! `agents.rs`.

mod agents;
mod change;
mod check;
mod error;
mod memories;
mod shown;

pub use agents::{ActiveAgent, Agents, MAX_AGENT_PAGE};
pub use change::{Edit, NewAgent, id_of};
pub use check::{MAX_INSTRUCTIONS_BYTES, check};
pub use error::Error;
pub use memories::{MAX_MEMORY_CHARS, Memory};
pub use shown::{AgentSummary, AgentView, FieldChange, VersionView, diff};
