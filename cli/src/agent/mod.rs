//! `cofferdam agent`: shows and manages a server's container agents.

pub(crate) mod args;
mod logs;
mod show;

use std::process::ExitCode;

use cofferdam_contract::{DeploymentState, Progress};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Server, block_on, find, read, segment};
use crate::terminal::{json as print_json, note, print, say};
use crate::{Machine, table};
use args::{Command, Create, One, Rollback};

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::Create(args) => block_on(create(&server, &args))?,
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Show(one) => block_on(show_one(&server, &one))?,
        Command::Start(one) => block_on(act(&server, &one.id, "start", json!({}), one.output.json))?,
        Command::Stop(one) => block_on(act(&server, &one.id, "stop", json!({}), one.output.json))?,
        Command::Restart(one) => block_on(act(&server, &one.id, "restart", json!({}), one.output.json))?,
        Command::Rollback(args) => block_on(rollback(&server, &args))?,
        Command::Logs(args) => block_on(logs::logs(&server, &args))?,
        Command::Delete(one) => block_on(server.delete(&path(&one.id)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(agent: &str) -> String {
    format!("/v1/agents/{}", segment(agent))
}

async fn create(server: &Server, args: &Create) -> anyhow::Result<()> {
    let mut body = json!({ "id": args.id });
    for (name, value) in [("name", &args.name), ("environment", &args.environment)] {
        if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
            body.insert(name.to_owned(), json!(value));
        }
    }
    let answer: Value = read(&server.send(Method::POST, "/v1/agents", serde_json::to_vec(&body)?).await?)?;
    if args.output.json {
        return print_json(&answer);
    }
    say!("{}", show::word(&answer, "id"))?;
    note!("next: cofferdam deploy IMAGE --agent {}", args.id);
    Ok(())
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
        &["AGENT", "STATE", "SERVES", "LATEST", "ENVIRONMENT"],
        &agents.iter().map(show::row).collect::<Vec<_>>(),
    )
}

async fn show_one(server: &Server, one: &One) -> anyhow::Result<()> {
    let agent: Value = server.get(&path(&one.id)).await?;
    let versions: Value = server.get(&format!("{}/deployments", path(&one.id))).await?;
    if one.output.json {
        let mut whole = agent;
        if let (Some(whole), Some(versions)) = (whole.as_object_mut(), versions.get("deployments")) {
            whole.insert("deployments".to_owned(), versions.clone());
        }
        return print_json(&whole);
    }
    print(&show::text(&agent, &versions))
}

async fn rollback(server: &Server, args: &Rollback) -> anyhow::Result<()> {
    let body = args.version.map_or_else(|| json!({}), |version| json!({ "version": version }));
    act(server, &args.id, "rollback", body, args.output.json).await
}

/// One action of the deploy-agent post.
async fn act(server: &Server, agent: &str, action: &str, mut body: Value, as_json: bool) -> anyhow::Result<()> {
    if let Some(body) = body.as_object_mut() {
        body.insert("agent_id".to_owned(), json!(agent));
        body.insert("action".to_owned(), json!(action));
    }
    let answer: Value = read(&server.send(Method::POST, "/api/deploy-agent", serde_json::to_vec(&body)?).await?)?;
    if as_json {
        return print_json(&answer);
    }
    let state = show::word(&answer, "state");
    let Some(number) = answer.get("version").and_then(Value::as_u64) else {
        return say!("{agent}: {}", if state.is_empty() { "nothing was deployed yet" } else { state });
    };
    say!("{agent}: version {number} is {state}")?;
    if action == "stop" && DeploymentState::parse(state).map(DeploymentState::progress) == Some(Progress::Failed) {
        note!("{agent}: no version was running, so nothing was stopped");
    }
    Ok(())
}
