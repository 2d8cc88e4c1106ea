//! Tools: the functions of a component, a call of one, and the outcome.
//!
//! A tool's version is the digest of its component. Function names come from the component's WIT and change only with
//! it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::grants::Grants;
use crate::ids::RunId;
use crate::limits::Limits;
use crate::run::{RunError, Status, Usage};

pub use crate::describe::FunctionInfo;
pub use crate::imports::{Uncovered, covered_by, uncovered};

/// The largest component, in bytes.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;
/// The longest arguments and the longest result of a call, as JSON, in bytes.
pub const MAX_ARGUMENTS_BYTES: usize = 8 << 20;
pub const MAX_RESULT_BYTES: usize = 8 << 20;
/// The most functions that one component may export.
pub const MAX_FUNCTIONS: usize = 256;
/// The deepest nesting of tools that call tools.
pub const MAX_CALL_DEPTH: u32 = 8;

/// The location of a function among a component's exports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportPath {
    /// The exported interface as the component names it, such as `example:hello/greeting@0.1.0`. Absent for a function
    /// that the world itself exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    pub function: String,
}

/// One function of a component, as models and users see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolFunction {
    /// Stable: `package-interface-function`, or `function` if the world itself exports it.
    pub name: String,
    /// The WIT doc comment, or the text from `cofferdam:tool/describe`.
    pub description: String,
    /// JSON Schema of the arguments: an object with one property per parameter.
    pub input_schema: Value,
    /// JSON Schema of `result`.
    pub output_schema: Value,
    pub export: ExportPath,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
    /// Hints for clients, as in MCP. `None` if the component does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
}

/// A component's interface, derived without running it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    pub size_bytes: u64,
    pub functions: Vec<ToolFunction>,
    /// The imported interfaces, as the component names them.
    pub imports: Vec<String>,
    /// Notes for the author, for example that sockets are imported and will return `access-denied`.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The export of `cofferdam:tool/describe`, if there is one. Pass its answer to [`Component::take_in`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub describe: Option<ExportPath>,
}

/// `POST /tools/calls` of a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    pub id: RunId,
    /// The tool's name, for logs.
    pub tool: String,
    pub digest: String,
    /// `None` only instantiates the component. A deployment does this before it switches to a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportPath>,
    /// A JSON object with the parameters by name.
    pub arguments: Box<RawValue>,
    pub limits: Limits,
    /// Effective grants: the requested ones, intersected with the operator's policy.
    pub grants: Grants,
    /// The component's environment, including placeholders of secrets.
    pub env: BTreeMap<String, String>,
    /// The token that the worker presents to the gateway. Absent if no grant needs the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The number of tool calls that this one is nested in. Each depth has its own permits, so calls that wait for
    /// nested ones never take the permits that those need.
    #[serde(default)]
    pub depth: u32,
}

/// The result of a call.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolOutcome {
    pub id: RunId,
    /// `ok`; `error` if the function returned an error or trapped; `timeout`, `limit` or `cancelled`.
    pub status: Status,
    /// The function's return value. For a `result`, the value inside `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Value>))]
    pub result: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// The component's log lines, stdout and stderr, bounded by `limits.output_bytes`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub logs: String,
    pub usage: Usage,
}
