//! Deployed tools over MCP. A result is wrapped as `{"result": ...}`, as in the REST answer, because MCP's structured
//! content must be an object and a function's result may be anything.

use std::borrow::Cow;
use std::sync::Arc;

use cofferdam_contract::tool::MAX_ARGUMENTS_BYTES;
use cofferdam_contract::{Status, ToolFunction, ToolOutcome};
use rmcp::ErrorData as McpError;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool as McpTool, ToolAnnotations};
use serde_json::{Value, json};

use cofferdam_core::{Caller, Failure};
use cofferdam_tools::{Tool, Tools};

fn object(value: &Value) -> Arc<JsonObject> {
    Arc::new(value.as_object().cloned().unwrap_or_default())
}

/// A function as it is listed.
pub(crate) fn tool(name: &str, tool: &Tool, function: &ToolFunction) -> McpTool {
    let description: Cow<'static, str> = Cow::Owned(function.description.clone());
    let mut listed = McpTool::new(name.to_owned(), description, object(&function.input_schema));
    let output = json!({
        "type": "object",
        "properties": {"result": function.output_schema},
        "required": ["result"],
    });
    listed.output_schema = Some(object(&output));
    let mut hints = ToolAnnotations::new();
    hints.read_only_hint = function.read_only;
    hints.destructive_hint = function.destructive;
    hints.idempotent_hint = function.idempotent;
    hints.open_world_hint = Some(tool.grants.reaches_http());
    listed.annotations = Some(hints);
    listed
}

/// Calls the function that is published under this name.
///
/// # Errors
/// An unknown name. A failure of the tool is a result.
pub(crate) async fn call(
    tools: &Tools,
    caller: &Caller,
    name: &str,
    arguments: JsonObject,
) -> Result<CallToolResult, McpError> {
    let shelf = tools.shelf(&caller.organization).await.map_err(|e| super::handler::failed(&e))?;
    let Some((tool, function)) = shelf.published(name) else {
        let shown: String = name.chars().take(80).collect();
        return Err(McpError::invalid_params(format!("there is no tool {shown:?}"), None));
    };
    let arguments = match serde_json::value::to_raw_value(&arguments) {
        Ok(arguments) if arguments.get().len() <= MAX_ARGUMENTS_BYTES => arguments,
        Ok(_) => {
            let most = format!("arguments: at most {MAX_ARGUMENTS_BYTES} bytes");
            return Err(McpError::invalid_params(most, None));
        }
        Err(e) => return Err(McpError::invalid_params(format!("arguments: {e}"), None)),
    };
    match tools.call_function(caller, tool, function, arguments, 0).await {
        Ok(outcome) => Ok(result(&outcome)),
        Err(error) => refused(&error),
    }
}

/// Returns a refusal as a result, because the model can act on most of them.
///
/// # Errors
/// An internal failure.
pub(super) fn refused(error: &dyn Failure) -> Result<CallToolResult, McpError> {
    match error.refused() {
        Some(problem) => {
            let text = format!("{}: {}", problem.title, problem.detail);
            Ok(CallToolResult::error(vec![ContentBlock::text(text)]))
        }
        None => Err(super::handler::failed(error)),
    }
}

fn result(outcome: &ToolOutcome) -> CallToolResult {
    if outcome.status != Status::Ok {
        let why = match &outcome.error {
            Some(error) => format!("{}: {}", error.name, error.message),
            None => format!("The call ended with {:?}.", outcome.status).to_lowercase(),
        };
        return CallToolResult::error(vec![ContentBlock::text(why)]);
    }
    let value: Value =
        outcome.result.as_deref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(json!({ "result": value }));
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_contract::{RunError, RunId, Usage};

    fn outcome(status: Status, result: Option<&str>, error: Option<RunError>) -> ToolOutcome {
        ToolOutcome {
            id: RunId::from_random(1),
            status,
            result: result.map(|text| serde_json::value::RawValue::from_string(text.to_owned()).unwrap()),
            error,
            logs: String::new(),
            usage: Usage::default(),
        }
    }

    #[test]
    fn results_are_structured_and_failures_are_told() {
        let good = result(&outcome(Status::Ok, Some("[1,2]"), None));
        assert_eq!(good.structured_content, Some(json!({"result": [1, 2]})));
        assert_eq!(good.content[0].as_text().unwrap().text, "[1,2]");
        assert_eq!(good.is_error, Some(false));
        let text = result(&outcome(Status::Ok, Some("\"a\""), None));
        assert_eq!(text.content[0].as_text().unwrap().text, "a");
        let nothing = result(&outcome(Status::Ok, None, None));
        assert_eq!(nothing.structured_content, Some(json!({"result": null})));
        let error = RunError { name: "ToolError".into(), message: "no such city".into(), traceback: String::new() };
        let bad = result(&outcome(Status::Error, None, Some(error)));
        assert_eq!(bad.is_error, Some(true));
        assert_eq!(bad.content[0].as_text().unwrap().text, "ToolError: no such city");
        assert_eq!(result(&outcome(Status::Timeout, None, None)).is_error, Some(true));
    }
}
