//! MCP servers as tools. What a server says about its tools is its claim. A person's own login is used where the connector has
//! logins of persons.

use std::time::Duration;

use cofferdam_connectors::{CallError, CallOptions, ToolResult as Answer};
use cofferdam_contract::work::{ConnectorTool, ToolEntry};
use cofferdam_store::ToolResult;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Attempt, Found, Kind, bounded};
use crate::types::{Hints, PlannedCall, RunContext, ToolAnswer, ToolDone};

/// The time that a server has to list its tools.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest structured result that is kept with the receipt, as JSON.
const MAX_VALUE_BYTES: usize = 32 << 10;

/// A tool of a connector, by the name that the connector offers it under.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    connector: String,
    tool: String,
}

fn person(ctx: &RunContext) -> Option<&str> {
    let said = ctx.task.request.input.user.as_ref().and_then(|user| user.id.as_deref());
    said.or(Some(ctx.thread.person.as_str()).filter(|person| !person.is_empty()))
}

/// The tools of a connector, if the entry names one; or a sentence that says why there are none.
pub(super) async fn look_up(ctx: &RunContext, entry: &ToolEntry) -> Option<Result<Vec<Found>, String>> {
    let name = entry.name().strip_prefix("mcp:")?;
    let listed = ctx.parts.connectors.tools(&ctx.task.organization, name, person(ctx));
    Some(match tokio::time::timeout(LIST_TIMEOUT, listed).await {
        Ok(Ok(list)) => {
            let mut all: Vec<Found> = list.tools.iter().map(|tool| found(name, tool)).collect();
            all.push(login_tool(name, false));
            Ok(all)
        }
        Ok(Err(CallError::LoginRequired { .. })) => Ok(vec![login_tool(name, true)]),
        Ok(Err(error)) => Err(sentence(&error.to_string())),
        Err(_) => Err(format!("its server did not list its tools within {} s", LIST_TIMEOUT.as_secs())),
    })
}

/// A clause without the full stop.
fn sentence(text: &str) -> String {
    text.trim_end_matches('.').chars().take(300).collect()
}

fn found(connector: &str, tool: &ConnectorTool) -> Found {
    let claims = tool.hints;
    Found {
        wanted: tool.name.clone(),
        known_as: vec![tool.name.clone(), tool.original.clone()],
        description: if tool.description.trim().is_empty() {
            tool.title.clone().unwrap_or_default()
        } else {
            tool.description.clone()
        },
        parameters: tool.input_schema.clone(),
        hints: Hints {
            read_only: claims.read_only.unwrap_or(false),
            idempotent: claims.idempotent.unwrap_or(false),
            destructive: claims.destructive.unwrap_or(!claims.read_only.unwrap_or(false)),
            sequential: false,
            claimed_by_server: true,
        },
        kind: Kind::Connector(Place { connector: connector.to_owned(), tool: tool.name.clone() }),
        given: vec![format!("mcp:{connector}"), format!("mcp:{connector}/{}", tool.original)],
        claimed: Some(tool.original.clone()),
    }
}

/// Stands for the tools of a server until somebody has logged in. Afterwards it is not offered, and still answers.
fn login_tool(connector: &str, needed: bool) -> Found {
    let description = format!(
        "Log in to {connector}. Its tools cannot be used before; call this when they are needed, and they are offered afterwards."
    );
    Found {
        wanted: format!("{connector}-login"),
        known_as: Vec::new(),
        description: if needed { description } else { String::new() },
        parameters: json!({"type": "object", "properties": {}, "additionalProperties": false}),
        hints: Hints { read_only: true, idempotent: true, sequential: true, ..Hints::default() },
        kind: Kind::Login { connector: connector.to_owned() },
        given: vec![format!("mcp:{connector}")],
        claimed: Some("login".to_owned()),
    }
}

pub(super) async fn login(ctx: &RunContext, connector: &str) -> Attempt {
    let listed = ctx.parts.connectors.tools(&ctx.task.organization, connector, person(ctx));
    match tokio::time::timeout(LIST_TIMEOUT, listed).await {
        Ok(Ok(_)) => Attempt::Done(
            ToolDone::text(format!("Logged in. The tools of {connector} are offered from now on.")).into(),
        ),
        Ok(Err(error)) => failed(connector, error),
        Err(_) => Attempt::NotSent { why: "The server did not answer.".to_owned(), after: None },
    }
}

pub(super) async fn call(ctx: &RunContext, place: &Place, call: &PlannedCall, timeout: Duration) -> Attempt {
    let none = Map::new();
    let arguments = call.arguments.as_object().unwrap_or(&none);
    let options = CallOptions {
        deadline: Instant::now() + timeout,
        idempotency_key: call.idempotency_key(&ctx.task),
        progress: None,
    };
    let made = ctx.parts.connectors.call(
        &ctx.task.organization,
        &place.connector,
        person(ctx),
        &place.tool,
        arguments,
        options,
    );
    match made.await {
        Ok(answer) => Attempt::Done(ToolDone { result: result(answer), ..ToolDone::default() }.into()),
        Err(error) => failed(&place.connector, error),
    }
}

fn failed(connector: &str, error: CallError) -> Attempt {
    match error {
        CallError::NotSent { why, retry_after } => Attempt::NotSent { why, after: retry_after },
        CallError::Unknown(why) => Attempt::Unknown { why },
        CallError::Refused(why) | CallError::Answered(why) => Attempt::Done(ToolDone::error(bounded(why)).into()),
        CallError::LoginRequired { url } => Attempt::Done(ToolAnswer::Login { connector: connector.to_owned(), url }),
    }
}

fn result(answer: Answer) -> ToolResult {
    let mut text = answer.text;
    if text.is_empty()
        && let Some(value) = &answer.structured
    {
        text = value.to_string();
    }
    if answer.truncated {
        text.push_str("\n[the rest is left out: the result is too long]");
    }
    let small = |value: &Value| value.to_string().len() <= MAX_VALUE_BYTES;
    ToolResult { text: bounded(text), value: answer.structured.filter(small), is_error: answer.is_error }
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::work::ToolHints;

    use super::*;

    #[test]
    fn failures_say_whether_it_was_made() {
        let kind = |error| match failed("github", error) {
            Attempt::NotSent { after, .. } => format!("again {after:?}"),
            Attempt::Unknown { .. } => "unknown".to_owned(),
            Attempt::Done(ToolAnswer::Done(done)) => format!("told {}", done.result.is_error),
            Attempt::Done(ToolAnswer::Login { connector, url }) => format!("login {connector} {url}"),
            Attempt::Done(_) => "other".to_owned(),
        };
        let after = Some(Duration::from_secs(3));
        assert_eq!(kind(CallError::NotSent { why: "x".to_owned(), retry_after: after }), "again Some(3s)");
        assert_eq!(kind(CallError::Unknown("x".to_owned())), "unknown");
        assert_eq!(kind(CallError::Refused("x".to_owned())), "told true");
        assert_eq!(kind(CallError::Answered("x".to_owned())), "told true");
        assert_eq!(
            kind(CallError::LoginRequired { url: "https://a.example".to_owned() }),
            "login github https://a.example"
        );
    }

    #[test]
    fn a_servers_claims_are_claims() {
        let tool = |hints| ConnectorTool {
            name: "gh_get".to_owned(),
            original: "get".to_owned(),
            title: Some("Get".to_owned()),
            description: String::new(),
            input_schema: json!({}),
            output_schema: None,
            hints,
        };
        let claims = ToolHints { read_only: Some(true), idempotent: Some(true), ..ToolHints::default() };
        let found_one = found("github", &tool(claims));
        assert!(found_one.hints.claimed_by_server && !found_one.hints.may_repeat() && !found_one.hints.destructive);
        assert_eq!((found_one.description.as_str(), found_one.claimed.as_deref()), ("Get", Some("get")));
        assert!(found("github", &tool(ToolHints::default())).hints.destructive);
    }

    #[test]
    fn a_result_is_text_and_value() {
        let answer = |text: &str, structured, truncated| Answer {
            text: text.to_owned(),
            structured,
            is_error: false,
            truncated,
            hints: ToolHints::default(),
        };
        assert_eq!(result(answer("", Some(json!({"a": 1})), false)).text, "{\"a\":1}");
        assert!(result(answer("a", None, true)).text.ends_with("too long]"));
        assert!(result(answer("a", Some(json!("x".repeat(1 << 20))), false)).value.is_none());
    }
}
