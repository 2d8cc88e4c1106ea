//! The worker's wire: the API of the process that runs untrusted code. HTTP/1.1 with JSON bodies.
//!
//! | call | body -> answer |
//! | --- | --- |
//! | `GET /health` | -> [`WorkerHealth`] |
//! | `GET /metrics` | -> Prometheus text |
//! | `POST /runs` | [`WorkerRun`] -> [`crate::Outcome`], or SSE with `Accept: text/event-stream` |
//! | `GET /runs/{id}/files/{path}` | -> bytes |
//! | `POST /sessions` | [`WorkerSession`] -> [`WorkerSessionInfo`] |
//! | `GET /sessions/{id}` | -> [`WorkerSessionInfo`] |
//! | `POST /session-infos` | [`WorkerSessionIds`] -> list of [`WorkerSessionInfo`], omitting unknown ones |
//! | `DELETE /sessions/{id}` | -> 204 |
//! | `POST /sessions/{id}/suspend`, `/resume` | -> [`WorkerSessionInfo`] |
//! | `POST /sessions/{id}/fork` | [`WorkerFork`] -> list of [`WorkerSessionInfo`] |
//! | `POST /sessions/{id}/snapshots/{key}` | -> [`SnapshotInfo`] |
//! | `DELETE /snapshots/{key}` | -> 204 |
//! | `GET`, `PUT /sessions/{id}/files/{path}`, `GET /sessions/{id}/files` | bytes; list of [`crate::FileEntry`] |
//! | `POST /uplink` | upgrades to the connection of [`crate::uplink`] |
//!
//! Tools run in another process, which serves the same kind of wire under `/tools`:
//!
//! | call | body -> answer |
//! | --- | --- |
//! | `GET /tools/health` | -> [`ToolsHealth`] |
//! | `GET /tools/metrics` | -> Prometheus text |
//! | `PUT /tools/components/{digest}` | a component -> [`crate::Component`]; checked and compiled once per digest. The worker's supervisor answers this, not the process that runs tools |
//! | `POST /tools/calls` | [`crate::ToolCall`] -> [`crate::ToolOutcome`]; the problem `component-missing` means that the `PUT` must come first |
//! | `POST /tools/uplink` | as `/uplink` |
//!
//! Every refusal is a [`crate::Problem`]. Every call carries [`ORGANIZATION_HEADER`]; resources of another organization
//! are a 404. The caller chooses all ids, so it can record an id before it asks the worker to create it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, SessionId};
use crate::limits::Limits;
use crate::run::{Language, RunRequest};
use crate::session::SessionState;

/// The organization that the call is made for.
pub const ORGANIZATION_HEADER: &str = "cofferdam-organization";
/// Header: the most runs, or calls of tools, that the organization may have at once on the worker. Absent: as many as there are
/// places. Further ones wait in the organization's line.
pub const MAX_RUNS_HEADER: &str = "cofferdam-max-runs";

/// `POST /runs`: the public request plus the controller's decisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerRun {
    pub id: RunId,
    /// Resolved against the operator's maximum. `request.limits` is ignored.
    pub limits: Limits,
    /// The token that the worker presents to the gateway. Absent if nothing is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Additional environment variables: the placeholders of granted secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    pub request: RunRequest,
}

/// `POST /sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSession {
    pub id: SessionId,
    pub language: Language,
    pub limits: Limits,
    pub ttl_s: u64,
    /// Unix time in seconds at which the session ends even if it is in use.
    pub ends_at: u64,
    /// The key of a snapshot to start from.
    #[serde(default)]
    pub snapshot: Option<String>,
}

/// A worker's view of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerSessionInfo {
    pub id: SessionId,
    pub language: Language,
    pub state: SessionState,
    /// Unix time in seconds.
    pub last_used_at: u64,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `POST /session-infos`: at most [`MAX_INFOS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSessionIds {
    pub ids: Vec<SessionId>,
}

/// The most sessions in one request.
pub const MAX_INFOS: usize = 1_000;

/// `POST /sessions/{id}/fork`: one new session for each id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerFork {
    pub ids: Vec<SessionId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    pub size_bytes: u64,
}

/// `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// The kernels that are ready, as `name version`.
    pub kernels: Vec<String>,
    pub runs_active: u64,
    pub runs_waiting: u64,
    pub sessions_live: u64,
    pub sessions_suspended: u64,
}

/// `GET /tools/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolsHealth {
    pub calls_active: u64,
    pub calls_waiting: u64,
    /// Components that are loaded and ready to be called.
    pub components: u64,
    pub uplinks: u64,
}
