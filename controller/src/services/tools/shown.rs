//! Tools as the API shows them.

use cofferdam_contract::{Grants, Limits, LimitsRequest, ToolFunction};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::catalogue::Tool;
use crate::policy::Limited;
use crate::store::{FolderSize, ToolVersionRow};

/// A tool: the version that serves and what it may do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolInfo {
    pub name: String,
    /// The digest of the component.
    pub version: String,
    /// Counts this tool's deployments.
    pub number: i64,
    pub functions: Vec<ToolFunction>,
    /// What it may do: asked for, and allowed by the operator.
    pub grants: Grants,
    /// What was asked for and is not given, or less of it, and by whom.
    #[serde(default)]
    pub limited_by: Vec<Limited>,
    /// What was asked for.
    pub asked: Asked,
    pub limits: Limits,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The reference it was pulled from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    pub size_bytes: u64,
    /// Its own folder, where it is granted one and has used it; only where one tool is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderInfo>,
    /// Unix time in seconds.
    pub created_at: i64,
    /// Those that are kept, the newest first; only where one tool is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionInfo>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    pub grants: Grants,
    pub limits: LimitsRequest,
}

/// What lasts between a tool's calls.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FolderInfo {
    /// As it is kept: contents, names and times.
    pub bytes: u64,
    /// Unix time in seconds.
    pub updated_at: i64,
}

impl From<FolderSize> for FolderInfo {
    fn from(size: FolderSize) -> Self {
        Self { bytes: size.bytes, updated_at: size.updated_at }
    }
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    pub version: String,
    pub number: i64,
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Whether this is the one that serves.
    pub current: bool,
}

/// A tool in the list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolSummary {
    pub name: String,
    pub version: String,
    pub functions: Vec<FunctionSummary>,
    pub created_at: i64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FunctionSummary {
    pub name: String,
    pub description: String,
}

impl From<&Tool> for ToolSummary {
    fn from(tool: &Tool) -> Self {
        let summary = |f: &ToolFunction| FunctionSummary { name: f.name.clone(), description: f.description.clone() };
        Self {
            name: tool.row.tool.clone(),
            version: tool.row.component.digest.clone(),
            functions: tool.functions().iter().map(summary).collect(),
            created_at: tool.row.created_at,
        }
    }
}

impl From<&Tool> for ToolInfo {
    fn from(tool: &Tool) -> Self {
        let row = &tool.row;
        Self {
            name: row.tool.clone(),
            version: row.component.digest.clone(),
            number: row.number,
            functions: row.component.functions.clone(),
            grants: tool.grants.clone(),
            limited_by: tool.limited.clone(),
            asked: Asked { grants: row.grants.clone(), limits: row.limits },
            limits: tool.limits,
            warnings: row.warnings.iter().chain(&row.component.warnings).cloned().collect(),
            source: row.source.clone(),
            size_bytes: row.component.size_bytes,
            folder: None,
            created_at: row.created_at,
            versions: Vec::new(),
        }
    }
}

impl From<&ToolVersionRow> for VersionInfo {
    fn from(row: &ToolVersionRow) -> Self {
        Self {
            version: row.component.digest.clone(),
            number: row.number,
            created_at: row.created_at,
            source: row.source.clone(),
            current: row.current,
        }
    }
}
