//! Messages of a thread: each is a row of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

use super::Timestamp;
use crate::ids::{TaskId, ThreadId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    User,
    Assistant,
    /// The result of a tool call.
    Tool,
    /// Stands for the messages before it when the model's window is full; those stay in the store.
    Summary,
    /// Said by us to the model: repairs of an answer, notices of limits.
    Notice,
}

impl Role {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A tool call that the model asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskedCall {
    /// Unique within its task: ours, made from the step and the model's own id.
    pub id: String,
    pub name: String,
    /// An object; as text where the model wrote something else.
    pub arguments: Value,
}

/// The content of a message. The role decides which fields are set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Content {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Addresses of files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The model's reasoning, where it is shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thinking: String,
    /// Reasoning in the provider's own form, to be sent back to the same model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AskedCall>,
    /// The call that a tool's result belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    /// The last message that a summary stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
    /// The model that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Set where the answer was cut off: `length`, `cancelled`, `broken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
}

/// A message of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageInfo {
    /// Counted in its thread from 1.
    pub seq: u64,
    pub thread_id: ThreadId,
    pub task_id: TaskId,
    pub role: Role,
    #[serde(flatten)]
    pub content: Content,
    pub created_at: Timestamp,
}
