//! A call of a function: looked up in memory, admitted with its tool's grants, sent to a worker of tools.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_CALL_DEPTH, ToolCall};
use cofferdam_contract::{Problem, RunId, ToolFunction, ToolOutcome};
use cofferdam_core::{Caller, random_bits};
use cofferdam_gateway::Pass;
use cofferdam_workers::Owner;
use serde_json::value::RawValue;

use crate::{Error, Tool, Tools};

/// The time for which a token outlives its call's own limit: waiting for a place, compiling a component that is new to
/// the worker.
const CALL_OVERHEAD: Duration = Duration::from_secs(120);
/// Functions shown in a refusal.
const MAX_FUNCTIONS_SHOWN: usize = 32;

/// The arguments of a call: a JSON object, or an empty body for a function without parameters.
///
/// # Errors
/// [`Problem::too_large`], [`Problem::malformed`], [`Problem::invalid`].
pub fn arguments(body: &Bytes) -> Result<Box<RawValue>, Problem> {
    if body.len() > MAX_ARGUMENTS_BYTES {
        return Err(Problem::too_large(format!("Arguments may have at most {MAX_ARGUMENTS_BYTES} bytes.")));
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
    Err(Problem::invalid("arguments: expected an object with a property for each parameter"))
}

impl Tools {
    /// Calls a tool's function by name.
    ///
    /// # Errors
    /// [`Problem::not_found`], or no worker that could take the call. A fault of the tool is an outcome.
    pub async fn call(
        &self,
        caller: &Caller,
        tool: &str,
        function: &str,
        arguments: Box<RawValue>,
        depth: u32,
    ) -> Result<ToolOutcome, Error> {
        let tool = self.find(caller, tool).await?;
        let Some(function) = tool.function(function) else {
            let has: Vec<&str> = tool.functions().iter().take(MAX_FUNCTIONS_SHOWN).map(|f| f.name.as_str()).collect();
            let detail = format!("The tool {:?} has no such function; it has {}.", tool.row.tool, has.join(", "));
            return Err(Problem::not_found(detail).into());
        };
        self.call_function(caller, &tool, function, arguments, depth).await
    }

    /// Calls a function of a tool. Dropping the future cancels the call.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_function(
        &self,
        caller: &Caller,
        tool: &Tool,
        function: &ToolFunction,
        arguments: Box<RawValue>,
        depth: u32,
    ) -> Result<ToolOutcome, Error> {
        if depth > MAX_CALL_DEPTH {
            let detail = format!("Tools may call each other {MAX_CALL_DEPTH} deep, not deeper.");
            return Err(Problem::denied(detail).into());
        }
        let wall = Duration::from_millis(tool.limits.wall_ms);
        // A call that only reads sees the folder as it was at its start, and waits for no other.
        let _turn = match tool.grants.files {
            Some(grant) if !grant.read_only => Some(self.turns.take(&caller.organization, &tool.row.tool, wall).await?),
            _ => None,
        };
        // Its token is valid until it is dropped, at the end of the call.
        let admitted = self.gateway.admit(Pass {
            caller: caller.clone(),
            tool: Some(tool.row.tool.clone()),
            session: None,
            grants: tool.grants.clone(),
            depth,
            deadline: Instant::now() + wall + CALL_OVERHEAD,
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
        let max_calls = caller.limits.organization.max_concurrent_runs;
        let owner = Owner { organization: &caller.organization, max_calls };
        let outcome = self.workers.call(owner, &call, || self.component(&call.digest)).await;
        drop(admitted);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_or_absent() {
        let read = |text: &'static [u8]| arguments(&Bytes::from_static(text));
        assert_eq!(read(b" ").unwrap().get(), "{}");
        assert_eq!(read(b"{\"a\": 1}").unwrap().get(), "{\"a\": 1}");
        for (bad, kind) in
            [(&b"[1]"[..], "invalid-request"), (b"{", "malformed-request"), (b"\xff", "malformed-request")]
        {
            assert_eq!(read(bad).unwrap_err().kind(), kind, "{bad:?}");
        }
    }
}
