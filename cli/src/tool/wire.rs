//! The parts of the API's tools that this program shows.

use cofferdam_contract::{Grants, Limits, ToolFunction};
use serde::Deserialize;

/// A tool: the serving version, its grants and limits.
#[derive(Debug, Deserialize)]
pub(super) struct ToolInfo {
    pub(super) name: String,
    /// The component's digest.
    pub(super) version: String,
    /// Counts the tool's deployments.
    pub(super) number: i64,
    pub(super) functions: Vec<ToolFunction>,
    pub(super) grants: Grants,
    #[serde(default)]
    pub(super) limited_by: Vec<LimitedGrant>,
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    /// The reference that it was pulled from.
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    pub(super) folder: Option<FolderSize>,
    #[serde(default)]
    pub(super) versions: Vec<Version>,
}

/// A grant that is less than requested.
#[derive(Debug, Deserialize)]
pub(super) struct LimitedGrant {
    pub(super) grant: String,
    pub(super) by: String,
    pub(super) detail: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct FolderSize {
    pub(super) bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
    pub(super) number: i64,
    /// This version serves.
    pub(super) current: bool,
}
