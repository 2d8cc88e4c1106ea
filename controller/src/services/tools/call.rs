//! A call of a function: found in memory, given what its tool was granted, sent to a worker of tools.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_CALL_DEPTH, ToolCall};
use cofferdam_contract::{Problem, RunId, ToolFunction, ToolOutcome};
use serde_json::value::RawValue;

use super::catalogue::Tool;
use super::deploy::component;
use crate::Error;
use crate::auth::Caller;
use crate::clock::random_bits;
use crate::gateway::Pass;
use crate::services::App;

/// What a token lives longer than its call's own time: waiting for a place, compiling what a worker has not seen.
const BESIDE: Duration = Duration::from_secs(120);

/// The arguments of a call: a JSON object, or nothing for one without parameters.
///
/// # Errors
/// [`Problem::too_large`], [`Problem::malformed`].
pub fn arguments(body: &Bytes) -> Result<Box<RawValue>, Error> {
    if body.len() > MAX_ARGUMENTS_BYTES {
        return Err(Problem::too_large(format!("Arguments may have at most {MAX_ARGUMENTS_BYTES} bytes.")).into());
    }
    let text = std::str::from_utf8(body).map_err(|e| {
        Problem::malformed(format!("The body is not UTF-8: the byte at offset {} is wrong.", e.valid_up_to()))
    })?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let raw: Box<RawValue> =
        serde_json::from_str(text).map_err(|e| Problem::malformed(format!("The body is not JSON: {e}")))?;
    if raw.get().starts_with('{') {
        return Ok(raw);
    }
    Err(Problem::invalid("arguments: expected an object with a property for each parameter").into())
}

/// Calls a tool's function by name.
///
/// # Errors
/// [`Problem::not_found`], or that no worker could take it. What the tool does wrong is an outcome.
pub async fn call(
    app: &App,
    caller: &Caller,
    tool: &str,
    function: &str,
    arguments: Box<RawValue>,
    depth: u32,
) -> Result<ToolOutcome, Error> {
    let shelf = app.tools.catalogue.shelf(&caller.organization).await?;
    let tool = shelf.tools.get(tool).ok_or_else(|| super::no_tool(tool))?;
    let Some(function) = tool.function(function) else {
        let has: Vec<&str> = tool.functions().iter().take(32).map(|f| f.name.as_str()).collect();
        let detail = format!("The tool {:?} has no such function; it has {}.", tool.row.tool, has.join(", "));
        return Err(Problem::not_found(detail).into());
    };
    call_function(app, caller, tool, function, arguments, depth).await
}

/// Calls a function that was found. Dropping the future cancels the call.
///
/// # Errors
/// As [`call`].
pub async fn call_function(
    app: &App,
    caller: &Caller,
    tool: &Tool,
    function: &ToolFunction,
    arguments: Box<RawValue>,
    depth: u32,
) -> Result<ToolOutcome, Error> {
    if depth > MAX_CALL_DEPTH {
        return Err(Problem::denied(format!("Tools may call each other {MAX_CALL_DEPTH} deep, not deeper.")).into());
    }
    let wall = Duration::from_millis(tool.limits.wall_ms);
    // Those that only read see what was there when they began, and wait for nobody.
    let _turn = match tool.grants.files {
        Some(grant) if !grant.read_only => {
            Some(app.tools.turns.take(&caller.organization, &tool.row.tool, wall).await?)
        }
        _ => None,
    };
    let admitted = app.gateway.admit(Pass {
        caller: caller.clone(),
        tool: Some(tool.row.tool.clone()),
        session: None,
        grants: tool.grants.clone(),
        depth,
        deadline: Instant::now() + wall + BESIDE,
    })?;
    let mut env = tool.grants.config.clone();
    env.extend(admitted.env.clone());
    let id = RunId::from_random(random_bits()?);
    tracing::Span::current().record("run", id.as_str());
    let call = ToolCall {
        id,
        tool: tool.row.tool.clone(),
        digest: tool.row.component.digest.clone(),
        export: Some(function.export.clone()),
        arguments,
        limits: tool.limits,
        grants: tool.grants.clone(),
        env,
        token: admitted.token.clone(),
        depth,
    };
    let outcome = app.tool_workers.call(&caller.organization, &call, || component(app, &call.digest)).await;
    // Until here the token is good.
    drop(admitted);
    outcome
}
