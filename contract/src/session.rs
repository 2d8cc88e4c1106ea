//! Sessions: interpreters that are kept between runs. They can be suspended to disk, resumed, forked and snapshotted.

use serde::{Deserialize, Serialize};

use crate::grants::Grants;
use crate::ids::SessionId;
use crate::limits::LimitsRequest;
use crate::object::object;
use crate::run::Language;

/// Seconds of idle time until a session ends: default and maximum.
pub const DEFAULT_TTL_S: u64 = 3_600;
pub const MAX_TTL_S: u64 = 7 * 24 * 3_600;
/// The most copies that one fork may create.
pub const MAX_FORK: u32 = 1_000;

/// The body of `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionRequest {
    /// Required unless `snapshot` is set, which fixes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Seconds of idle time until the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    #[serde(default, deserialize_with = "object")]
    pub limits: LimitsRequest,
    #[serde(default, skip_serializing_if = "Grants::is_empty", deserialize_with = "object")]
    pub grants: Grants,
    /// The named snapshot to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionState {
    /// In a worker's memory.
    Live,
    /// On disk; the next run resumes it.
    Suspended,
}

impl SessionState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspended => "suspended",
        }
    }
}

/// A session, as `GET /v1/sessions/{id}` returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    pub id: SessionId,
    pub language: Language,
    pub state: SessionState,
    /// Seconds of idle time until it ends.
    pub ttl_s: u64,
    /// Unix time in seconds.
    pub created_at: u64,
    pub last_used_at: u64,
    /// When it ends unless it is used again, Unix time in seconds.
    pub expires_at: u64,
    /// State that the last suspend or fork could not carry over; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The body of `POST /v1/sessions/{id}/fork`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForkRequest {
    #[serde(default = "one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}

impl Default for ForkRequest {
    fn default() -> Self {
        Self { count: one() }
    }
}

/// The body of `POST /v1/sessions/{id}/snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotRequest {
    /// 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
}

/// A named state that new sessions can start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    pub name: String,
    pub language: Language,
    /// Unix time in seconds.
    pub created_at: u64,
    /// Size on disk, in bytes.
    pub size_bytes: u64,
}
