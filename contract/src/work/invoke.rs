//! A task that is asked for: our form `{"input": "text", "thread"?}` and the contract's `{"input": {"text", ...}, "id"?}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Timestamp;

/// The person on whose behalf a task is made, as the caller says: never an authentication.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskUser {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_attributes: Option<Value>,
}

/// The input of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvokeInput {
    pub text: String,
    /// Addresses of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<TaskUser>,
}

impl<'de> Deserialize<'de> for InvokeInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected text, or an object with `text`")]
        enum Form {
            Text(String),
            Object {
                #[serde(default)]
                text: Option<String>,
                #[serde(default)]
                files: Option<Vec<String>>,
                #[serde(default)]
                user: Option<TaskUser>,
            },
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => Self { text, ..Self::default() },
            Form::Object { text, files, user } => {
                Self { text: text.unwrap_or_default(), files: files.unwrap_or_default(), user }
            }
        })
    }
}

/// The body of `invoke`, `invoke/async` and `invoke/stream`. Unknown fields of the contract are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvokeRequest {
    pub input: InvokeInput,
    /// The thread to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The contract's name for it; a task's id means its thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Higher is earlier: -10 to 10, 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The task is stopped if it has not ended by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The same as the header `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Instead of the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Instead of the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions_override: Option<String>,
    /// Appended to the instructions of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_output: Option<String>,
    /// `sdk`, `api`, `cli`...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A version of the agent other than the active one; drafts can be tried this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kept with the task and shown again: at most 16 of 64 and 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let ours: InvokeRequest = serde_json::from_str(r#"{"input": "hello", "thread": "thread_1"}"#).unwrap();
        assert_eq!((ours.input.text.as_str(), ours.thread.as_deref()), ("hello", Some("thread_1")));
        let theirs = r#"{"input": {"text": "hi", "files": null, "user": {"id": "u", "email": "u@x"}}, "id": "task_1",
            "think_mode": "default", "mcp_servers": []}"#;
        let theirs: InvokeRequest = serde_json::from_str(theirs).unwrap();
        assert_eq!(theirs.input.text, "hi");
        assert_eq!(theirs.input.user.unwrap().email.as_deref(), Some("u@x"));
        assert_eq!(theirs.id.as_deref(), Some("task_1"));
        assert!(serde_json::from_str::<InvokeRequest>(r#"{"input": 5}"#).is_err());
        assert!(serde_json::from_str::<InvokeRequest>("{}").is_err());
    }
}
