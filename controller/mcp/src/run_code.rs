//! `run_code`: runs a snippet through MCP. Output is returned as text, figures as image content, the whole outcome as
//! structured content.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::{
    FilesInput, Grants, Language, LimitsRequest, Outcome, Problem, RunRequest, SessionId, SessionRequest, Status,
};
use http_body_util::{BodyExt, Limited};
use rmcp::ErrorData as McpError;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde::Deserialize;
use serde_json::{Value, json};

use super::tools::refused;
use crate::Error;
use cofferdam_core::Caller;
use cofferdam_sandbox::{Run, Sandboxes, Started, check};

pub(crate) const NAME: &str = "run_code";

/// The longest outcome that is accepted, in bytes.
const MAX_OUTCOME: usize = 128 << 20;
/// Requests a new session.
const NEW: &str = "new";
const IMAGES: [&str; 2] = ["image/png", "image/jpeg"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    language: Language,
    code: String,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    files: FilesInput,
    #[serde(default)]
    grants: Grants,
    #[serde(default)]
    limits: LimitsRequest,
}

/// The tool as it is listed.
pub(crate) fn tool() -> Tool {
    static LISTED: OnceLock<Tool> = OnceLock::new();
    LISTED.get_or_init(make).clone()
}

fn make() -> Tool {
    let input = json!({
        "type": "object",
        "properties": {
            "language": {"type": "string", "enum": ["python", "javascript", "typescript"]},
            "code": {"type": "string", "description": "The source code. The value of the last expression is a result."},
            "session": {"type": "string", "description": "The id of the session whose state to use, or \"new\" to create one. Without it, the code runs in a fresh sandbox."},
            "stdin": {"type": "string"},
            "files": {
                "type": "array",
                "description": "Files to put into the working folder",
                "items": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string"},
                        "content": {"type": "string"},
                        "content_base64": {"type": "string", "contentEncoding": "base64"}
                    },
                    "required": ["path"]
                }
            },
            "grants": {"type": "object", "description": "Permissions that the code needs, such as {\"http\": [{\"host\": \"api.example.com\"}]}"},
            "limits": {"type": "object", "description": "Limits of the run, such as {\"wall_ms\": 10000}"}
        },
        "required": ["language", "code"],
        "additionalProperties": false
    });
    let output = json!({
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "status": {"type": "string", "enum": ["ok", "error", "timeout", "limit", "cancelled"]},
            "exit_code": {"type": ["integer", "null"]},
            "stdout": {"type": "string"},
            "stderr": {"type": "string"},
            "results": {"type": "array"},
            "error": {"type": ["object", "null"]},
            "files": {"type": "array"},
            "usage": {"type": "object"},
            "session": {"type": ["string", "null"]}
        },
        "required": ["id", "status", "stdout", "stderr"]
    });
    let object = |value: Value| Arc::new(value.as_object().cloned().unwrap_or_default());
    let description = "Run Python, JavaScript or TypeScript in a WebAssembly sandbox without files of the host, other \
                       processes, or a network that `grants` does not ask for. Returns standard output, the last expression's value, figures and \
                       files.";
    let mut tool = Tool::new(NAME, description, object(input));
    tool.output_schema = Some(object(output));
    tool.annotations = Some(ToolAnnotations::with_title("Run code").destructive(false).open_world(false));
    tool
}

/// # Errors
/// Invalid arguments, or an internal failure. A failure of the code is a result.
pub(crate) async fn call(
    sandboxes: &Sandboxes,
    caller: &Caller,
    arguments: JsonObject,
) -> Result<CallToolResult, McpError> {
    let arguments: Arguments = serde_path_to_error::deserialize(Value::Object(arguments))
        .map_err(|e| McpError::invalid_params(format!("arguments.{}: {}", e.path(), e.inner()), None))?;
    match run(sandboxes, caller, arguments).await {
        Ok(outcome) => Ok(result(&outcome)),
        Err(error) => refused(&error),
    }
}

async fn run(sandboxes: &Sandboxes, caller: &Caller, arguments: Arguments) -> Result<Outcome, Error> {
    let mut request = RunRequest::new(arguments.language, arguments.code);
    request.stdin = arguments.stdin;
    request.files = arguments.files;
    request.limits = arguments.limits;
    request.grants = arguments.grants;
    check(&request)?;
    request.session = match arguments.session.as_deref() {
        None => None,
        Some(NEW) => Some(new_session(sandboxes, caller, &request).await?),
        Some(id) => Some(SessionId::parse(id).map_err(|e| Problem::invalid(format!("session: {e}")))?),
    };
    let raw = Bytes::from(serde_json::to_vec(&request).map_err(Error::Json)?);
    if raw.len() > MAX_REQUEST_BYTES {
        return Err(Problem::too_large(format!("A run may have at most {MAX_REQUEST_BYTES} bytes.")).into());
    }
    let Started { response, kept, .. } = sandboxes.run(Run { caller, request: &request, raw, accept: None }).await?;
    let status = response.status();
    let answer = |source| Error::Answer { status: status.as_u16(), source };
    let body = Limited::new(response.into_body(), MAX_OUTCOME).collect().await;
    let body = body.map_err(|_| Problem::worker_lost("The worker was lost in the middle of its answer."))?.to_bytes();
    drop(kept);
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(answer);
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(problem.into()),
        Err(source) => Err(answer(source)),
    }
}

async fn new_session(sandboxes: &Sandboxes, caller: &Caller, request: &RunRequest) -> Result<SessionId, Error> {
    let wanted = SessionRequest {
        language: request.language,
        ttl_s: None,
        limits: request.limits,
        grants: request.grants.clone(),
        snapshot: None,
    };
    Ok(sandboxes.create_session(caller, &wanted).await?.id)
}

fn result(outcome: &Outcome) -> CallToolResult {
    let mut text = outcome.stdout.clone();
    if !text.is_empty() && !text.ends_with('\n') && !outcome.stderr.is_empty() {
        text.push('\n');
    }
    text.push_str(&outcome.stderr);
    let mut content = Vec::new();
    let mut structured = serde_json::to_value(outcome).unwrap_or_default();
    for (at, bundle) in outcome.results.iter().enumerate() {
        let image = IMAGES.iter().find_map(|kind| Some((*kind, bundle.get(*kind)?.as_str()?)));
        match (image, bundle.get("text/plain").and_then(Value::as_str)) {
            (Some((kind, data)), _) => content.push(ContentBlock::image(data, kind)),
            (None, Some(plain)) => content.push(ContentBlock::text(plain)),
            (None, None) => {}
        }
        // Leave out the parts that are returned as content.
        if let Some(bundle) = structured.pointer_mut(&format!("/results/{at}")).and_then(Value::as_object_mut) {
            bundle.retain(|kind, _| !kind.starts_with("image/"));
        }
    }
    if let Some(error) = &outcome.error {
        let told = if error.traceback.is_empty() {
            format!("{}: {}", error.name, error.message)
        } else {
            error.traceback.clone()
        };
        content.push(ContentBlock::text(told));
    }
    if !text.is_empty() || content.is_empty() {
        content.insert(0, ContentBlock::text(text));
    }
    let mut result =
        if outcome.status == Status::Ok { CallToolResult::success(content) } else { CallToolResult::error(content) };
    result.structured_content = Some(structured);
    result
}
