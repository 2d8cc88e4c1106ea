//! Tools: what a component offers, a call of one of its functions, how the call ended.
//!
//! A version of a tool is the digest of its component. Names come from the component's WIT and do not change as long as
//! that does not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::grants::Grants;
use crate::ids::RunId;
use crate::limits::Limits;
use crate::run::{RunError, Status, Usage};

pub use crate::describe::FunctionInfo;
pub use crate::imports::{Uncovered, uncovered};

/// The largest component, in bytes.
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;
/// The longest arguments of a call and the longest result, as JSON, in bytes.
pub const MAX_ARGUMENTS_BYTES: usize = 8 << 20;
pub const MAX_RESULT_BYTES: usize = 8 << 20;
/// The most functions that one component may offer.
pub const MAX_FUNCTIONS: usize = 256;
/// Calls of tools by tools, one within the other.
pub const MAX_CALL_DEPTH: u32 = 8;

/// Where a function is among a component's exports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportPath {
    /// The exported interface as the component names it, such as `example:hello/greeting@0.1.0`; none for a function
    /// that the world itself exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    pub function: String,
}

/// One function of a component, as models and people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolFunction {
    /// Stable: `package-interface-function`, or `function` where the world itself exports it.
    pub name: String,
    /// The WIT doc comment, or what `cofferdam:tool` says of it.
    pub description: String,
    /// JSON Schema of the arguments: an object with a property for each parameter.
    pub input_schema: Value,
    /// JSON Schema of `result`.
    pub output_schema: Value,
    pub export: ExportPath,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
    /// Hints for clients, as MCP has them; `None` where the component says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
}

/// What a component is, found out without running it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    pub size_bytes: u64,
    pub functions: Vec<ToolFunction>,
    /// The interfaces that it imports, as it names them.
    pub imports: Vec<String>,
    /// What its author should know (for example: sockets are imported and will answer `access-denied`).
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Its `cofferdam:tool/describe`, where it has one: what that answers is for [`Component::take_in`].
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
    /// None: only instantiate the component, which is what a deployment tries before it switches to a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportPath>,
    /// A JSON object with the parameters.
    pub arguments: Box<RawValue>,
    pub limits: Limits,
    /// Effective: what was asked for and what the operator allows.
    pub grants: Grants,
    /// The environment of the component, placeholders of secrets included.
    pub env: BTreeMap<String, String>,
    /// What the worker shows the gateway on the call's behalf; none where nothing is granted that needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// How many other tools' calls this one is made within. Each depth has places of its own, so that calls that wait
    /// for theirs never take the places that those need.
    #[serde(default)]
    pub depth: u32,
}

/// How a call ended.
#[derive(Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolOutcome {
    pub id: RunId,
    /// `ok`; `error`: the function returned the error of its `result`, or trapped; `timeout`, `limit`, `cancelled`.
    pub status: Status,
    /// What the function returned: the value inside `ok` where it returns a `result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Value>))]
    pub result: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// What the component logged and wrote to stdout and stderr, bounded by `limits.output_bytes`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub logs: String,
    pub usage: Usage,
}
