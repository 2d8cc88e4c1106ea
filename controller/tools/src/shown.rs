//! Tools in the form that the API shows.

use cofferdam_contract::{Grants, Limits, LimitsRequest, ToolFunction};
use cofferdam_policy::Limited;
use cofferdam_store::{FolderSize, ToolVersionRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Tool;

/// A tool: its serving version, grants and limits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolInfo {
    pub name: String,
    /// The digest of the component.
    pub version: String,
    /// The number of the deployment, counted per tool.
    pub number: i64,
    pub functions: Vec<ToolFunction>,
    /// The grants that were asked for and are allowed by the operator.
    pub grants: Grants,
    /// Grants and limits that were refused or reduced, and the reason.
    #[serde(default)]
    pub limited_by: Vec<Limited>,
    /// The grants and limits that were asked for.
    pub asked: Asked,
    pub limits: Limits,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The registry reference of the component.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    pub size_bytes: u64,
    /// The tool's own folder, if it is granted one and has used it; only when a single tool is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderInfo>,
    /// Unix time in seconds.
    pub created_at: i64,
    /// The kept versions, newest first; only when a single tool is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionInfo>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    pub grants: Grants,
    pub limits: LimitsRequest,
}

/// A tool's folder, which lasts between its calls.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FolderInfo {
    /// The size of the stored archive: contents, names and times.
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
    /// True for the serving version.
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
