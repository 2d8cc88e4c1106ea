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
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Map, Value, json};

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

// The comments are the descriptions that models read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Arguments {
    #[schemars(extend("enum" = ["python", "javascript", "typescript"]), with = "String")]
    language: Language,
    /// The source code. The value of the last expression is a result.
    code: String,
    /// The id of the session whose state to use, or "new" to create one. Without it, the code runs in a fresh sandbox.
    #[serde(default)]
    #[schemars(with = "String")]
    session: Option<String>,
    #[serde(default)]
    stdin: String,
    /// Files to put into the working folder
    #[serde(default)]
    #[schemars(with = "Vec<File>")]
    files: FilesInput,
    /// Permissions that the code needs, such as {"http": [{"host": "api.example.com"}]}
    #[serde(default)]
    #[schemars(with = "JsonObject")]
    grants: Grants,
    /// Limits of the run, such as {"wall_ms": 10000}
    #[serde(default)]
    #[schemars(with = "JsonObject")]
    limits: LimitsRequest,
}

/// The tool as it is listed.
pub(crate) fn tool() -> Tool {
    static LISTED: OnceLock<Tool> = OnceLock::new();
    LISTED.get_or_init(make).clone()
}

// `FilesInput` takes other forms as well; models are told one.
/// A file: text in `content`, or bytes in `content_base64`
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
struct File {
    path: String,
    #[schemars(default)]
    content: String,
    #[schemars(default, extend("contentEncoding" = "base64"))]
    content_base64: String,
}

fn input_schema() -> JsonObject {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
    let mut schema = settings.into_generator().into_root_schema_for::<Arguments>();
    // The names of the fields say enough, and clients send a field or leave it out.
    schema.remove("title");
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    for field in fields.filter_map(Value::as_object_mut) {
        field.remove("default");
    }
    schema.as_object().cloned().unwrap_or_default()
}

fn make() -> Tool {
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
    let output = output.as_object().cloned().unwrap_or_default();
    let description = "Run Python, JavaScript or TypeScript in a WebAssembly sandbox without files of the host, other \
                       processes, or a network that `grants` does not ask for. Returns standard output, the last expression's value, figures and \
                       files.";
    let mut tool = Tool::new(NAME, description, input_schema());
    tool.output_schema = Some(Arc::new(output));
    tool.annotations = Some(ToolAnnotations::with_title("Run code").destructive(false).open_world(false));
    tool
}

/// # Errors
/// Invalid arguments, or an internal failure. A failure of the code is a result.
pub(crate) async fn call(
    sandboxes: &Arc<Sandboxes>,
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

async fn run(sandboxes: &Arc<Sandboxes>, caller: &Caller, arguments: Arguments) -> Result<Outcome, Error> {
    let mut request = RunRequest::new(arguments.language, arguments.code);
    request.stdin = arguments.stdin;
    request.files = arguments.files;
    request.limits = arguments.limits;
    request.grants = arguments.grants;
    check(&request)?;
    let mut unknown = None;
    request.session = match arguments.session.as_deref() {
        None => None,
        Some(NEW) => {
            let id = new_session(sandboxes, caller, &request).await?;
            unknown = Some(Unknown(Some((Arc::clone(sandboxes), caller.clone(), id.clone()))));
            Some(id)
        }
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
        let outcome = serde_json::from_slice(&body).map_err(answer)?;
        unknown.into_iter().for_each(Unknown::told);
        return Ok(outcome);
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(problem.into()),
        Err(source) => Err(answer(source)),
    }
}

/// A new session that the caller was not told of. It ends with this: nobody could use or end it.
struct Unknown(Option<(Arc<Sandboxes>, Caller, SessionId)>);

impl Unknown {
    /// The caller learns its id.
    fn told(mut self) {
        self.0 = None;
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        let Some((sandboxes, caller, id)) = self.0.take() else { return };
        tokio::spawn(async move {
            if let Err(error) = sandboxes.delete_session(&caller, &id).await {
                tracing::debug!(session = %id, %error, "a session that nobody knows could not be ended");
            }
        });
    }
}

async fn new_session(sandboxes: &Arc<Sandboxes>, caller: &Caller, request: &RunRequest) -> Result<SessionId, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_of_what_is_read() {
        let schema = Value::Object(input_schema());
        let fields = schema["properties"].as_object().unwrap();
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        for name in ["language", "code", "session", "stdin", "files", "grants", "limits"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert_eq!(names.len(), 7);
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], json!(["language", "code"]));
        assert_eq!(fields["session"]["type"], "string");
        assert_eq!(fields["grants"]["type"], "object");
        assert_eq!(fields["files"]["items"]["required"], json!(["path"]));
        assert_eq!(fields["files"]["items"]["properties"]["content_base64"]["contentEncoding"], "base64");
        assert!(fields["code"]["description"].as_str().unwrap().starts_with("The source code."));
        // Clients that inline nothing would lose what a reference names.
        assert!(!schema.to_string().contains("$ref") && !schema.to_string().contains("$schema"), "{schema}");
        for language in fields["language"]["enum"].as_array().unwrap() {
            let arguments = json!({"language": language, "code": "1", "files": [{"path": "a", "content": "x"}]});
            assert!(serde_json::from_value::<Arguments>(arguments).is_ok(), "{language}");
        }
    }
}
