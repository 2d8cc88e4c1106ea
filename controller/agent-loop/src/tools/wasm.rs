//! Deployed Wasm tools: all functions of one, or one function. A call runs the version that serves when it is made.

use cofferdam_contract::tool::MAX_ARGUMENTS_BYTES;
use cofferdam_contract::{Grants, Problem, Status, ToolFunction, ToolOutcome};
use cofferdam_core::{Failure as _, chain};
use cofferdam_store::ToolResult;
use serde_json::Value;

use super::{Attempt, Found, Kind, bounded};
use crate::types::{Hints, PlannedCall, RunContext, ToolDone};

/// The largest structured result that is kept with the receipt, as JSON.
const MAX_VALUE_BYTES: usize = 32 << 10;
/// Characters of a failed tool's log that the model is shown.
const MAX_LOG_CHARS: usize = 4_000;

/// A function, by its published name: it may be deployed anew meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    published: String,
}

/// The functions that an entry of a definition names.
///
/// # Errors
/// A sentence that says why there are none.
pub(super) async fn tools(ctx: &RunContext, entry: &str) -> Result<Vec<Found>, String> {
    let shelf = match ctx.parts.tools.shelf(&ctx.task.organization).await {
        Ok(shelf) => shelf,
        Err(error) => {
            tracing::warn!(error = chain(&error), "the tools of an organization cannot be read");
            return Err("tools cannot be read now".to_owned());
        }
    };
    // A tool of this name, before a function whose published name is the same.
    let named = |tool: &str| tool == entry;
    let alone = shelf.published(entry).into_iter().map(|(tool, function)| (entry, tool, function));
    let below = shelf.published_after(entry).take_while(|(name, ..)| name.starts_with(entry));
    let all: Vec<(&str, &cofferdam_tools::Tool, &ToolFunction)> =
        alone.chain(below).map(|(name, tool, function)| (name, &**tool, function)).collect();
    let whole = all.iter().any(|(_, tool, _)| named(&tool.row.tool));
    let found: Vec<Found> = all
        .into_iter()
        .filter(|(name, tool, _)| if whole { named(&tool.row.tool) } else { *name == entry })
        .map(|(name, tool, function)| found(name, &tool.row.tool, &tool.grants, function))
        .collect();
    if found.is_empty() { Err("no tool of this name is deployed".to_owned()) } else { Ok(found) }
}

fn found(published: &str, tool: &str, grants: &Grants, function: &ToolFunction) -> Found {
    Found {
        wanted: published.to_owned(),
        known_as: vec![function.name.clone(), published.to_owned()],
        description: function.description.clone(),
        parameters: function.input_schema.clone(),
        hints: hints(grants, function),
        kind: Kind::Wasm(Function { published: published.to_owned() }),
        given: vec![tool.to_owned(), published.to_owned()],
        // The component's own word.
        claimed: Some(function.name.clone()),
    }
}

/// A function that can reach nothing and keeps nothing only reads, whatever it says. Else its own words count: the organization
/// deployed it.
fn hints(grants: &Grants, function: &ToolFunction) -> Hints {
    let keeps = grants.files.is_some_and(|files| !files.read_only);
    let reaches = !grants.http.is_empty()
        || grants.keyvalue.is_some()
        || keeps
        || !grants.tools.is_empty()
        || grants.llm.is_some();
    if !reaches {
        return Hints { read_only: true, idempotent: true, destructive: false, ..Hints::default() };
    }
    let read_only = function.read_only.unwrap_or(false);
    Hints {
        read_only,
        idempotent: function.idempotent.unwrap_or(false),
        destructive: function.destructive.unwrap_or(!read_only),
        ..Hints::default()
    }
}

pub(super) async fn call(ctx: &RunContext, function: &Function, call: &PlannedCall) -> Attempt {
    let shelf = match ctx.parts.tools.shelf(&ctx.task.organization).await {
        Ok(shelf) => shelf,
        Err(error) => return super::Later::from(error).into(),
    };
    let Some((tool, function)) = shelf.published(&function.published) else {
        return Attempt::Done(ToolDone::error("This tool is not deployed any more.").into());
    };
    let arguments = match serde_json::value::to_raw_value(&call.arguments) {
        Ok(arguments) if arguments.get().len() <= MAX_ARGUMENTS_BYTES => arguments,
        Ok(_) => return told(format!("arguments: at most {MAX_ARGUMENTS_BYTES} bytes")),
        Err(error) => return told(format!("arguments: {error}")),
    };
    match ctx.parts.tools.call_function(&ctx.caller, tool, function, arguments, 0).await {
        Ok(outcome) => Attempt::Done(ToolDone { result: result(&outcome), ..ToolDone::default() }.into()),
        Err(error) => match error.refused() {
            Some(problem) => refused(problem),
            None => broke(&error),
        },
    }
}

fn told(text: String) -> Attempt {
    Attempt::Done(ToolDone::error(text).into())
}

fn refused(problem: &Problem) -> Attempt {
    match problem.kind() {
        // Before it was sent, or because there was no place.
        "unavailable" | "overloaded" | "rate-limited" | "component-missing" => {
            Attempt::NotSent { why: problem.detail.clone(), after: None }
        }
        "worker-lost" | "internal" | "bad-upstream" => Attempt::Unknown { why: problem.detail.clone() },
        _ => told(format!("{}: {}", problem.title, problem.detail)),
    }
}

fn broke(error: &cofferdam_tools::Error) -> Attempt {
    use cofferdam_tools::Error;
    tracing::warn!(error = chain(error), "a tool call of an agent failed");
    match error {
        Error::Workers(_) => Attempt::Unknown { why: "The worker of tools did not answer.".to_owned() },
        _ => Attempt::NotSent { why: "This server could not start the call.".to_owned(), after: None },
    }
}

fn result(outcome: &ToolOutcome) -> ToolResult {
    if outcome.status != Status::Ok {
        let mut why = match &outcome.error {
            Some(error) => format!("{}: {}", error.name, error.message),
            None => format!("The call ended with {}.", outcome.status.as_str()),
        };
        if !outcome.logs.is_empty() {
            let logs = super::text::within(outcome.logs.clone(), MAX_LOG_CHARS);
            why.push_str("\nIts log:\n");
            why.push_str(&logs);
        }
        return ToolResult { text: bounded(why), value: None, is_error: true };
    }
    let raw = outcome.result.as_deref().map_or("null", serde_json::value::RawValue::get);
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    ToolResult { text: bounded(text), value: (raw.len() <= MAX_VALUE_BYTES).then_some(value), is_error: false }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::{FilesGrant, HttpGrant, KeyValueGrant};
    use serde_json::json;

    use super::*;

    fn function(json: Value) -> ToolFunction {
        let mut all = json!({"name": "f", "description": "", "input_schema": {}, "output_schema": {}, "export": {"function": "f"}});
        all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_reaches_nothing_only_reads() {
        let http = Grants {
            http: vec![HttpGrant { host: "a.example".to_owned(), ..HttpGrant::default() }],
            ..Grants::default()
        };
        let keyvalue = Grants { keyvalue: Some(KeyValueGrant { max_bytes: 1, max_keys: 1 }), ..Grants::default() };
        let files =
            |read_only| Grants { files: Some(FilesGrant { read_only, ..FilesGrant::default() }), ..Grants::default() };
        let tools = Grants { tools: vec!["*".to_owned()], ..Grants::default() };
        for (grants, says, read_only, repeatable, destructive) in [
            (Grants::default(), json!({}), true, true, false),
            (Grants::default(), json!({"destructive": true}), true, true, false),
            (http.clone(), json!({}), false, false, true),
            (http.clone(), json!({"read_only": true}), true, true, false),
            (http, json!({"idempotent": true}), false, true, true),
            (keyvalue, json!({}), false, false, true),
            (files(false), json!({}), false, false, true),
            (files(true), json!({}), true, true, false),
            (tools, json!({}), false, false, true),
        ] {
            let hints = hints(&grants, &function(says.clone()));
            assert_eq!(
                (hints.read_only, hints.may_repeat(), hints.destructive),
                (read_only, repeatable, destructive),
                "{grants:?} {says}"
            );
        }
    }

    #[test]
    fn an_outcome_is_text_for_the_model() {
        let outcome = |json: Value| {
            let mut all = json!({"id": "run_1", "status": "ok", "usage": {"wall_ms": 1.0, "cpu_ms": 1.0, "memory_peak_bytes": 1}});
            all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
            serde_json::from_str::<ToolOutcome>(&all.to_string()).unwrap()
        };
        let good = result(&outcome(json!({"result": {"a": 1}})));
        assert_eq!((good.text.as_str(), good.value, good.is_error), ("{\"a\":1}", Some(json!({"a": 1})), false));
        assert_eq!(result(&outcome(json!({"result": "plain"}))).text, "plain");
        let error = json!({"name": "trap", "message": "unreachable", "traceback": ""});
        let bad = result(&outcome(json!({"status": "error", "error": error, "logs": "about to fail"})));
        assert_eq!((bad.text.as_str(), bad.is_error), ("trap: unreachable\nIts log:\nabout to fail", true));
        let large = result(&outcome(json!({"result": "x".repeat(1 << 20)})));
        assert!(large.text.len() < 50_000 && large.value.is_none());
    }

    #[test]
    fn refusals_say_whether_it_ran() {
        let kind = |problem: &Problem| match refused(problem) {
            Attempt::NotSent { .. } => "again",
            Attempt::Unknown { .. } => "unknown",
            Attempt::Done(_) => "told",
        };
        assert_eq!(kind(&Problem::unavailable("x")), "again");
        assert_eq!(kind(&Problem::overloaded("x")), "again");
        assert_eq!(kind(&Problem::worker_lost("x")), "unknown");
        assert_eq!(kind(&Problem::denied("x")), "told");
    }
}
