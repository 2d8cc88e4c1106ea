//! Runs: the request, the events while it runs, and the outcome.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::{FileEntry, FilesInput};
use crate::grants::Grants;
use crate::ids::{RunId, SessionId};
use crate::limits::LimitsRequest;
use crate::object::object;

/// The longest source text, in bytes.
pub const MAX_CODE_BYTES: usize = 1 << 20;
/// The longest standard input, in bytes.
pub const MAX_STDIN_BYTES: usize = 16 << 20;
/// The largest request body, in bytes.
pub const MAX_REQUEST_BYTES: usize = 32 << 20;
/// The most environment variables and arguments, and the most bytes of them together.
pub const MAX_ENV_VARS: usize = 256;
pub const MAX_ENV_BYTES: usize = 128 << 10;
/// Files are inlined in the answer if all of them together have at most this many bytes.
pub const INLINE_FILES_BYTES: u64 = 1 << 20;

/// The language of a snippet. TypeScript runs as JavaScript with its types stripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Language {
    Python,
    JavaScript,
    TypeScript,
}

impl Language {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
        }
    }

    /// The kernel for this language: `python` or `javascript`.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript | Self::TypeScript => "javascript",
        }
    }
}

/// The policy for a run whose session is already running one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum IfBusy {
    /// Wait for it, for at most the run's own wall time.
    #[default]
    Wait,
    /// Answer `session-busy` at once.
    Refuse,
}

/// The body of `POST /v1/runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunRequest {
    /// Required unless `session` is set. A session fixes it, except that JavaScript sessions also take TypeScript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    pub code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdin: String,
    #[serde(default, skip_serializing_if = "FilesInput::is_empty")]
    pub files: FilesInput,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, deserialize_with = "object")]
    pub limits: LimitsRequest,
    #[serde(default, skip_serializing_if = "Grants::is_empty", deserialize_with = "object")]
    pub grants: Grants,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    #[serde(default)]
    pub if_busy: IfBusy,
    /// Also return figures as `image/svg+xml`, besides `image/png`.
    #[serde(default)]
    pub svg: bool,
}

impl RunRequest {
    /// A request with only a language and a source text.
    pub fn new(language: Language, code: impl Into<String>) -> Self {
        Self {
            language: Some(language),
            code: code.into(),
            stdin: String::new(),
            files: FilesInput::default(),
            env: BTreeMap::new(),
            args: Vec::new(),
            limits: LimitsRequest::default(),
            grants: Grants::default(),
            session: None,
            if_busy: IfBusy::default(),
            svg: false,
        }
    }

    /// Checks everything that needs only the request itself. The error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.code.len() > MAX_CODE_BYTES {
            return Err(format!(
                "code has {} bytes; the maximum is {MAX_CODE_BYTES}. Send data as `files`.",
                self.code.len()
            ));
        }
        if self.stdin.len() > MAX_STDIN_BYTES {
            return Err(format!("stdin has {} bytes; the maximum is {MAX_STDIN_BYTES}", self.stdin.len()));
        }
        if self.language.is_none() && self.session.is_none() {
            return Err("`language` is needed: \"python\", \"javascript\" or \"typescript\"".to_owned());
        }
        let env_bytes: usize = self.env.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
            + self.args.iter().map(String::len).sum::<usize>();
        if self.env.len() + self.args.len() > MAX_ENV_VARS || env_bytes > MAX_ENV_BYTES {
            return Err(format!("env and args: at most {MAX_ENV_VARS} entries with {MAX_ENV_BYTES} bytes together"));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!(
                    "env: {name:?}: names must not be empty or contain '=' or NUL, values must not contain NUL"
                ));
            }
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Err("args: NUL is not allowed".to_owned());
        }
        Ok(())
    }
}

/// The way a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Status {
    /// The code ran to its end.
    Ok,
    /// The code raised, or exited with a non-zero code.
    Error,
    /// The wall-clock limit stopped it.
    Timeout,
    /// Another limit stopped it. `error.name` says which.
    Limit,
    /// The caller disconnected or cancelled.
    Cancelled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The exception that the code raised, or the limit that stopped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunError {
    /// The exception's class, or the limit's name.
    pub name: String,
    pub message: String,
    pub traceback: String,
}

/// One result as representations by MIME type. Images are base64, `application/json` is JSON, the rest is text.
pub type MimeBundle = BTreeMap<String, Value>;

/// The resources that a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// From sandbox start to the end of the run, in milliseconds with three decimals.
    #[serde(with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub wall_ms: std::time::Duration,
    #[serde(with = "millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub cpu_ms: std::time::Duration,
    /// The sandbox's peak linear memory in bytes, including the interpreter's image.
    pub memory_peak_bytes: u64,
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(value.as_micros() as f64 / 1_000.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let millis = f64::deserialize(d)?;
        Duration::try_from_secs_f64(millis / 1_000.0).map_err(serde::de::Error::custom)
    }
}

/// The answer of `POST /v1/runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outcome {
    pub id: RunId,
    pub status: Status,
    /// The code's exit code; 1 if it raised; absent if it was stopped.
    pub exit_code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// MIME bundles; the last expression's value comes first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub results: Vec<MimeBundle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// Files that the run created or changed under its working folder.
    pub files: Vec<FileEntry>,
    pub usage: Usage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// An event of a running run: the data of a server-sent event named [`Event::name`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum Event {
    Stdout(TextChunk),
    Stderr(TextChunk),
    /// `main` marks the value of the last expression.
    Result(ResultChunk),
    Error(RunError),
    /// Replaces `end` if there is no outcome: the request was refused late, or we failed.
    Problem(Box<crate::Problem>),
    /// Always last. Omits the texts and results that were already sent.
    End(Box<Outcome>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextChunk {
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultChunk {
    pub data: MimeBundle,
    pub main: bool,
}

impl Event {
    /// The name of the server-sent event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdout(_) => "stdout",
            Self::Stderr(_) => "stderr",
            Self::Result(_) => "result",
            Self::Error(_) => "error",
            Self::Problem(_) => "problem",
            Self::End(_) => "end",
        }
    }

    /// The event in SSE format (WHATWG HTML, 9.2), including the blank line.
    pub fn to_sse(&self) -> String {
        let data = match self {
            Self::Stdout(data) | Self::Stderr(data) => serde_json::to_string(data),
            Self::Result(data) => serde_json::to_string(data),
            Self::Error(data) => serde_json::to_string(data),
            Self::Problem(data) => serde_json::to_string(data),
            Self::End(data) => serde_json::to_string(data),
        };
        // Serializing these types to a string cannot fail: string keys only, no foreign `Serialize`.
        format!("event: {}\ndata: {}\n\n", self.name(), data.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_strict() {
        for (json, good) in [
            (r#"{"language":"python","code":"1"}"#, true),
            (r#"{"language":"typescript","code":"1","limits":{"wall_ms":5}}"#, true),
            (r#"{"language":"Python","code":"1"}"#, false),
            (r#"{"language":"python"}"#, false),
            (r#"{"language":"python","code":"1","limit":{}}"#, false),
            (r#"{"language":"python","code":"1","limits":{"wall_ms":-5}}"#, false),
            (r#"{"language":"python","code":"1","limits":{"wall_ms":1e400}}"#, false),
            (r#"{"language":"python","code":"\ud800"}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<RunRequest>(json).is_ok(), good, "{json}");
        }
    }

    #[test]
    fn a_request_is_checked() {
        let base = RunRequest::new(Language::Python, "1");
        assert_eq!(base.check(), Ok(()));
        let mut request = base.clone();
        request.language = None;
        assert!(request.check().unwrap_err().contains("language"));
        let mut request = base.clone();
        request.code = "x".repeat(MAX_CODE_BYTES + 1);
        assert!(request.check().unwrap_err().contains("code has"));
        let mut request = base.clone();
        request.env.insert("A=B".into(), String::new());
        assert!(request.check().unwrap_err().contains("env"));
        let mut request = base;
        request.env = (0..=MAX_ENV_VARS).map(|i| (format!("V{i}"), String::new())).collect();
        assert!(request.check().unwrap_err().contains("env"));
    }

    #[test]
    fn an_event_is_one_sse_block() {
        let event = Event::Stdout(TextChunk { text: "a\nb\n".into() });
        assert_eq!(event.to_sse(), "event: stdout\ndata: {\"text\":\"a\\nb\\n\"}\n\n");
    }
}
