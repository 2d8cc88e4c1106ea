//! `cofferdam agent`: defines agents, asks them, and manages those in containers.

mod act;
pub(crate) mod args;
mod ask;
mod define;
mod definition_args;
mod logs;
mod show;

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use crate::args::{Waits, Which};
use crate::client::{Server, block_on, call, find, read, segment};
use crate::deploy::status;
use crate::terminal::{json as print_json, note, say};
use crate::times::now_ms;
use crate::{Machine, table};
use act::{Action, act};
use args::{Command, Create, Delete, One};

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    match command {
        Command::Apply(args) => block_on(define::apply(&find(machine)?, &args))?,
        Command::Ask(args) => return block_on(ask::ask(&find(machine)?, &args)),
        Command::Create(args) => block_on(create(&find(machine)?, &args))?,
        Command::List(output) => block_on(list(&find(machine)?, output.json))?,
        Command::Show(one) => block_on(show_one(&find(machine)?, &one))?,
        Command::Versions(args) => block_on(define::versions(&find(machine)?, &args))?,
        Command::Diff(args) => block_on(define::diff(&find(machine)?, &args))?,
        Command::Activate(args) => block_on(define::activate(&find(machine)?, &args))?,
        Command::Deactivate(args) => block_on(define::deactivate(&find(machine)?, &args))?,
        Command::Export(args) => block_on(define::export(&find(machine)?, &args))?,
        Command::Start(args) => return Ok(change(machine, Action::Start, &args.act.which, &args.act.waits)),
        Command::Stop(args) => return Ok(change(machine, Action::Stop, &args.act.which, &args.act.waits)),
        Command::Restart(args) => return Ok(change(machine, Action::Restart, &args.act.which, &args.act.waits)),
        Command::Rollback(args) => {
            return Ok(change(machine, Action::Rollback(args.version), &args.which, &args.waits));
        }
        Command::Logs(args) => block_on(logs::logs(&find(machine)?, &args))?,
        Command::Delete(args) => block_on(delete(&find(machine)?, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries out an action that may wait for a deployment, with the exit statuses of `cofferdam deploy`.
fn change(machine: &dyn Machine, action: Action, agent: &Which, waits: &Waits) -> ExitCode {
    status(find(machine).and_then(|server| block_on(act(&server, &agent.id, action, waits))))
}

fn path(agent: &str) -> String {
    format!("/v1/agents/{}", segment(agent))
}

async fn create(server: &Server, args: &Create) -> anyhow::Result<()> {
    let body = body(args);
    let answer: Value = read(&server.send(Method::POST, "/v1/agents", serde_json::to_vec(&body)?).await?)?;
    if args.output.json {
        return print_json(&answer);
    }
    say!("{}", show::word(&answer, "id"))?;
    define::warnings(&answer);
    match (show::word(&answer, "type"), show::word(&answer, "status")) {
        ("serverless", "DRAFT") => note!("next: cofferdam agent activate {}", args.id),
        ("serverless", _) => note!("next: cofferdam agent ask {} \"...\"", args.id),
        _ => note!("next: cofferdam deploy IMAGE --agent {}", args.id),
    }
    Ok(())
}

/// The document of an agent that is to be made.
fn body(args: &Create) -> Value {
    let mut body = json!({ "id": args.id });
    let tools = (!args.tools.is_empty()).then(|| json!(args.tools));
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let fields = [
        ("name", text(&args.name)),
        ("environment", text(&args.environment)),
        ("instructions", text(&args.instructions)),
        ("model", text(&args.model)),
        ("tools", tools),
        ("status", args.draft.then(|| json!("DRAFT"))),
    ];
    for (name, value) in fields {
        if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
            body.insert(name.to_owned(), value);
        }
    }
    body
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let (mut agents, mut after): (Vec<Value>, String) = (Vec::new(), String::new());
    loop {
        let mut page: Value = server.get(&format!("/v1/agents?limit=200&after={}", segment(&after))).await?;
        agents.extend(page.get_mut("agents").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if as_json {
        return print_json(&json!({ "agents": agents }));
    }
    table::print(
        &["AGENT", "TYPE", "STATE", "SERVES", "LATEST", "ENVIRONMENT"],
        &agents.iter().map(show::row).collect::<Vec<_>>(),
    )
}

async fn show_one(server: &Server, one: &One) -> anyhow::Result<()> {
    let agent: Value = server.get(&path(&one.which.id)).await?;
    if show::word(&agent, "type") == "serverless" {
        return if one.output.json { print_json(&agent) } else { define::page(&agent).print() };
    }
    let versions: Value = server.get(&format!("{}/deployments", path(&one.which.id))).await?;
    if one.output.json {
        let mut whole = agent;
        if let (Some(whole), Some(versions)) = (whole.as_object_mut(), versions.get("deployments")) {
            whole.insert("deployments".to_owned(), versions.clone());
        }
        return print_json(&whole);
    }
    show::page(&agent, &versions, now_ms()).print()
}

async fn delete(server: &Server, args: &Delete) -> anyhow::Result<()> {
    let id = &args.which.id;
    let url = format!("{}?force={}", path(id), args.force);
    let answer: Value = read(&call(server.request(Method::DELETE, &url)).await?)?;
    if args.output.json {
        return print_json(&answer);
    }
    if show::word(&answer, "type") == "serverless" {
        note!("{id}: is deleted; tasks of it that are under way end");
        return Ok(());
    }
    if args.force {
        note!(
            "{id}: is being deleted by force: it disappears from `cofferdam agent list` after one attempt to remove it"
        );
        left_behind(&answer);
    } else {
        note!("{id}: is being deleted; it disappears from `cofferdam agent list` once nothing of it runs");
    }
    Ok(())
}

/// Names what a deletion by force may have left in a cluster.
pub(crate) fn left_behind(agent: &Value) {
    let id = show::word(agent, "agent_id");
    let Some(left) = agent.get("left_behind").filter(|left| left.is_object()) else {
        note!("{id}: nothing of it was in a cluster");
        return;
    };
    let names: Vec<&str> =
        left.get("names").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let (environment, namespace) = (show::word(left, "environment"), show::word(left, "namespace"));
    let place = if namespace.is_empty() { "its namespace" } else { namespace };
    note!(
        "{id}: if the cluster of environment {environment} does not answer now, what it has of the agent stays in {place} and \
         may go on running. This removes it there, and does nothing if it is gone already:"
    );
    note!(
        "  kubectl delete --ignore-not-found{} job,secret,serviceaccount,networkpolicy {}",
        if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") },
        names.join(" ")
    );
}
