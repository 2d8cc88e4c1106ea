//! `cofferdam task`: lists, follows and steers agents' tasks, and answers what they ask.

pub(crate) mod args;
mod show;

use std::process::ExitCode;

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Server, block_on, find, read, segment};
use crate::live::{Form, Start, live, send_decision, shown_call};
use crate::terminal::{json as print_json, note};
use crate::{Machine, table};
use args::{Approve, Call, Command, Decide, Decline, Follow, List, One, Outcome};
pub(crate) use show::{second, short};

/// The largest page that the server gives.
const MAX_PAGE: u32 = 200;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::List(args) => block_on(list(&server, &args))?,
        Command::Show(one) => block_on(show(&server, &one))?,
        Command::Follow(args) => return Ok(block_on(follow(&server, &args))?.into()),
        Command::Stop(one) => block_on(ask(&server, &one, "stop"))?,
        Command::Pause(one) => block_on(ask(&server, &one, "pause"))?,
        Command::Resume(one) => block_on(ask(&server, &one, "resume"))?,
        Command::Replay(one) => block_on(ask(&server, &one, "replay"))?,
        Command::Approvals(output) => block_on(approvals(&server, output.json))?,
        Command::Approve(args) => block_on(approve(&server, &args))?,
        Command::Decline(args) => block_on(decline(&server, &args))?,
        Command::Decide(args) => block_on(decide(&server, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(task: &str) -> String {
    format!("/v1/tasks/{}", segment(task))
}

/// Up to `limit` entries of a list, over its pages. `query` has the filters, and ends with `&` unless it is empty.
pub(crate) async fn pages(
    server: &Server,
    path: &str,
    query: &str,
    name: &str,
    limit: u32,
) -> anyhow::Result<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let left = limit.saturating_sub(u32::try_from(all.len()).unwrap_or(u32::MAX));
        if left == 0 {
            return Ok(all);
        }
        let mut page: Value = server.get(&format!("{path}?{query}limit={}{after}", left.min(MAX_PAGE))).await?;
        let found = page.get_mut(name).and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let is_empty = found.is_empty();
        all.extend(found);
        after = match page.get("next") {
            Some(Value::String(next)) => format!("&after={}", segment(next)),
            Some(Value::Number(next)) => format!("&after={next}"),
            _ => return Ok(all),
        };
        if is_empty {
            return Ok(all);
        }
    }
}

/// A filter of a query, if it is given.
pub(crate) fn filter(name: &str, value: Option<&str>) -> String {
    value.map(|value| format!("{name}={}&", segment(value))).unwrap_or_default()
}

async fn list(server: &Server, args: &List) -> anyhow::Result<()> {
    let status = args.status.map(|status| format!("{status:?}").to_lowercase());
    let query = filter("agent", args.agent.as_deref())
        + &filter("status", status.as_deref())
        + &filter("thread", args.thread.as_deref());
    let tasks = pages(server, "/v1/tasks", &query, "tasks", args.limit).await?;
    if args.output.json {
        return print_json(&json!({ "tasks": tasks }));
    }
    table::print(
        &["TASK", "AGENT", "STATE", "CREATED", "STEPS", "COST", "INPUT"],
        &tasks.iter().map(show::row).collect::<Vec<_>>(),
    )
}

async fn show(server: &Server, one: &One) -> anyhow::Result<()> {
    let task: Value = server.get(&path(&one.which.id)).await?;
    if one.output.json {
        return print_json(&task);
    }
    show::page(&task).print()
}

async fn follow(server: &Server, args: &Follow) -> anyhow::Result<crate::live::End> {
    let start = Start::Task { id: args.which.id.clone(), after: args.after };
    live(server, start, if args.json { Form::Json } else { Form::Live }).await
}

/// Asks a task to stop, pause, resume or run again.
pub(crate) async fn steer(server: &Server, task: &str, what: &str) -> anyhow::Result<Value> {
    read(&server.send(Method::POST, &format!("{}/{what}", path(task)), Vec::new()).await?)
}

async fn ask(server: &Server, one: &One, what: &str) -> anyhow::Result<()> {
    let task = steer(server, &one.which.id, what).await?;
    if one.output.json {
        return print_json(&task);
    }
    note!("{}: {}", one.which.id, show::state(&task));
    Ok(())
}

async fn approvals(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let waiting = pages(server, "/v1/approvals", "", "approvals", 1_000).await?;
    if as_json {
        return print_json(&json!({ "approvals": waiting }));
    }
    table::print(
        &["TASK", "CALL", "AGENT", "ASKED FOR", "TOOL AND ARGUMENTS"],
        &waiting.iter().map(show::waiting).collect::<Vec<_>>(),
    )
}

/// The call that is meant, as the server shows it now.
async fn waiting(server: &Server, task: &str, call: Option<&str>) -> anyhow::Result<((String, String), Value)> {
    let mut answer: Value = server.get(&format!("{}/approvals", path(task))).await?;
    let mut all = answer.get_mut("approvals").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let id = |asked: &Value| asked.get("call_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = match call {
        Some(call) => all.into_iter().find(|asked| id(asked) == call),
        None if all.len() > 1 => {
            let ids: Vec<String> = all.iter().map(id).collect();
            bail!("several calls of the task wait: {}; name one of them", ids.join(", "))
        }
        None => all.pop(),
    };
    match found {
        Some(asked) => Ok(((task.to_owned(), id(&asked)), asked)),
        None => bail!("no such call of the task waits for a person; `cofferdam task approvals` lists those that do"),
    }
}

async fn answer(server: &Server, call: &Call, mut body: Value, as_json: bool) -> anyhow::Result<()> {
    let (call, asked) = waiting(server, &call.which.id, call.call.as_deref()).await?;
    // The answer is for exactly what is shown here.
    if let (Some(body), Some(digest)) = (body.as_object_mut(), asked.get("digest")) {
        body.insert("digest".to_owned(), digest.clone());
    }
    let verdict = body.get("verdict").and_then(Value::as_str).unwrap_or_default().to_owned();
    let task = send_decision(server, &call, &body).await?;
    if as_json {
        return print_json(&task);
    }
    note!("{} {}: {verdict}: {}", call.0, call.1, shown_call(&asked));
    note!("the task is {}; follow it with: cofferdam task follow {}", show::state(&task), call.0);
    Ok(())
}

async fn approve(server: &Server, args: &Approve) -> anyhow::Result<()> {
    let body = match &args.arguments {
        None => json!({ "verdict": "approve" }),
        Some(text) => {
            let arguments: Value = serde_json::from_str(text).context("--arguments is not JSON")?;
            json!({ "verdict": "edit", "arguments": arguments })
        }
    };
    answer(server, &args.call, body, args.output.json).await
}

async fn decline(server: &Server, args: &Decline) -> anyhow::Result<()> {
    let body = match &args.note {
        None => json!({ "verdict": "decline" }),
        Some(note) => json!({ "verdict": "decline", "note": note }),
    };
    answer(server, &args.call, body, args.output.json).await
}

async fn decide(server: &Server, args: &Decide) -> anyhow::Result<()> {
    let body = match (args.outcome, &args.value) {
        (Outcome::Retry, _) => json!({ "verdict": "retry" }),
        (Outcome::Skip, _) => json!({ "verdict": "skip" }),
        (Outcome::Result, value) => {
            let text = value.as_deref().unwrap_or_default();
            let value = serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
            json!({ "verdict": "result", "result": value })
        }
    };
    let call = Call { which: args::Id { id: args.which.id.clone() }, call: Some(args.call.clone()) };
    answer(server, &call, body, args.output.json).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::args::{Command, Task};
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        task: Task,
    }

    #[test]
    fn a_result_needs_its_value() {
        let line = |words: &[&str]| Line::try_parse_from(["x"].iter().chain(words)).map(|line| line.task.command);
        assert!(line(&["decide", "task_1", "1-1", "result"]).is_err());
        assert!(matches!(line(&["decide", "task_1", "1-1", "result", "--value", "5"]), Ok(Command::Decide(_))));
        assert!(matches!(line(&["decide", "task_1", "1-1", "skip"]), Ok(Command::Decide(_))));
        assert!(line(&["list", "--status", "running"]).is_err());
        assert!(matches!(line(&["approve", "task_1"]), Ok(Command::Approve(_))));
    }

    #[test]
    fn a_filter_is_a_part_of_a_query() {
        assert_eq!(filter("agent", Some("a b&c")), "agent=a%20b%26c&");
        assert_eq!(filter("agent", None), "");
    }
}
