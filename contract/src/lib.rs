//! The types of the wire between controller and worker and of the public API: runs, sessions, tools, limits, grants,
//! outcomes, problems.
//!
//! Pure: no IO, no async, no clock. Controller and runtime share nothing else, so a change here changes both protocols.

#![warn(unreachable_pub)]

pub mod agent;
mod describe;
pub mod files;
pub mod grants;
pub mod health;
pub mod ids;
mod imports;
pub mod limits;
pub mod object;
pub mod pod;
pub mod problem;
mod quantity;
pub mod run;
pub mod session;
pub mod text;
pub mod tool;
pub mod uplink;
pub mod work;
pub mod worker;

pub use agent::{AgentId, DeploymentState, FailureReason, LogLine, Progress, Resources};
pub use files::{FileEntry, FileInput, FilesInput, PathError, normalize_path};
pub use grants::{FilesGrant, GrantKind, Grants, HttpGrant, KeyValueGrant, LlmGrant, SecretGrant};
pub use health::{ExecProbe, Health, HttpProbe, Probe, TcpProbe};
pub use ids::{DeploymentId, OrganizationId, RunId, SessionId, TaskId, ThreadId};
pub use limits::{LimitError, LimitName, Limits, LimitsRequest};
pub use pod::{AllowedPods, PodSettings, TaintEffect, Toleration, Volume};
pub use problem::{Fault, Problem};
pub use run::{Event, IfBusy, Language, MimeBundle, Outcome, RunError, RunRequest, Status, Usage};
pub use session::{ForkRequest, Session, SessionRequest, SessionState, Snapshot, SnapshotRequest};
pub use tool::{Component, ExportPath, ToolCall, ToolFunction, ToolOutcome};
pub use work::Timestamp;
