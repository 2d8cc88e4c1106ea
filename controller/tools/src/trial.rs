//! The trial of a version before it serves: its imports are compared with its grants, the component is instantiated and
//! asked for the description of its functions. It gets no token, so nothing leaves the sandbox.

use bytes::Bytes;
use cofferdam_contract::tool::{ExportPath, ToolCall, uncovered};
use cofferdam_contract::{Limits, Problem, RunId, Status, ToolOutcome};
use cofferdam_core::random_bits;
use serde_json::value::RawValue;

use crate::{Error, Tool, Tools};

/// The time for a component to be instantiated, and to describe its functions.
const TRIAL_MS: u64 = 5_000;
/// The output of a trial, in bytes.
const TRIAL_OUTPUT: u64 = 1 << 20;
/// Missing grants and reduced grants shown in a refusal.
const MAX_MISSING_SHOWN: usize = 16;
const MAX_LIMITED_SHOWN: usize = 8;

impl Tools {
    /// Tries a version out and adds the component's own description of its functions.
    ///
    /// # Errors
    /// [`Problem::bad_component`] says why it cannot serve.
    pub(crate) async fn try_out(&self, tool: &mut Tool, bytes: Bytes) -> Result<(), Error> {
        check_imports(tool)?;
        let outcome = self.trial(tool, None, &bytes).await?;
        if outcome.status != Status::Ok {
            return Err(Problem::bad_component(format!("It does not start: {}", why(&outcome))).into());
        }
        if let Some(export) = tool.row.component.describe.clone() {
            let outcome = self.trial(tool, Some(export), &bytes).await?;
            if outcome.status != Status::Ok {
                let detail = format!("Its own `describe` function failed: {}", why(&outcome));
                return Err(Problem::bad_component(detail).into());
            }
            let described = outcome.result.as_deref().map_or("[]", |raw| raw.get());
            let described = serde_json::from_str(described).map_err(|e| {
                Problem::bad_component(format!("Its own `describe` function returned an invalid description: {e}"))
            })?;
            tool.row.component.take_in(described);
        }
        Ok(())
    }

    async fn trial(&self, tool: &Tool, export: Option<ExportPath>, bytes: &Bytes) -> Result<ToolOutcome, Error> {
        let limits = Limits {
            wall_ms: TRIAL_MS.min(tool.limits.wall_ms),
            cpu_ms: TRIAL_MS.min(tool.limits.cpu_ms),
            output_bytes: TRIAL_OUTPUT,
            ..tool.limits
        };
        let call = ToolCall {
            id: RunId::from_random(random_bits()?),
            tool: tool.row.tool.clone(),
            digest: tool.row.component.digest.clone(),
            export,
            arguments: RawValue::from_string("{}".to_owned())?,
            limits,
            grants: tool.grants.clone(),
            env: tool.grants.config.clone(),
            token: None,
            depth: 0,
        };
        self.workers.call(&tool.row.organization, &call, || async { Ok(bytes.clone()) }).await
    }
}

fn check_imports(tool: &Tool) -> Result<(), Problem> {
    let missing = uncovered(&tool.row.component.imports, &tool.grants);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().take(MAX_MISSING_SHOWN).map(ToString::to_string).collect();
    let mut detail = format!("It {}.", lines.join("; it "));
    if !tool.limited.is_empty() {
        let limited = tool.limited.iter().take(MAX_LIMITED_SHOWN);
        let limited: Vec<String> = limited.map(|l| format!("{} ({}: {})", l.grant, l.by, l.detail)).collect();
        detail.push_str(&format!(" Asked for, but not allowed: {}.", limited.join(", ")));
    }
    Err(Problem::bad_component(detail))
}

/// The reason for a failed trial, in one line.
fn why(outcome: &ToolOutcome) -> String {
    let error = outcome.error.as_ref().map(|error| format!("{}: {}", error.name, error.message));
    let text = match (outcome.status, error) {
        (Status::Timeout, _) => format!("it took more than {TRIAL_MS} ms"),
        (_, Some(error)) => error,
        (status, None) => format!("{status:?}").to_lowercase(),
    };
    text.lines().next().unwrap_or_default().chars().take(500).collect()
}
