//! What `cofferdam agent` does: asks a server, and shows what it says.

mod logs;
mod show;

use std::process::ExitCode;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};

use crate::commands::agent::{Command, Create, One, Rollback};
use crate::run::wire::Server;
use crate::server::{block_on, find, segment};
use crate::tool::table;

pub fn main(command: Command) -> anyhow::Result<ExitCode> {
    let server = find()?;
    match command {
        Command::Create(args) => block_on(create(&server, &args))?,
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Show(one) => block_on(show_one(&server, &one))?,
        Command::Start(one) => block_on(act(&server, &one.id, "start", json!({}), one.output.json))?,
        Command::Stop(one) => block_on(act(&server, &one.id, "stop", json!({}), one.output.json))?,
        Command::Restart(one) => block_on(act(&server, &one.id, "restart", json!({}), one.output.json))?,
        Command::Rollback(args) => block_on(rollback(&server, &args))?,
        Command::Logs(args) => block_on(logs::logs(&server, &args))?,
        Command::Delete(one) => {
            block_on(server.call(Method::DELETE, &path(&one.id), Vec::new()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(agent: &str) -> String {
    format!("/v1/agents/{}", segment(agent))
}

fn parse(answer: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(answer).context("the server's answer")
}

async fn create(server: &Server, args: &Create) -> anyhow::Result<()> {
    let mut body = json!({ "id": args.id });
    for (name, value) in [("name", &args.name), ("environment", &args.environment)] {
        if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
            body.insert(name.to_owned(), json!(value));
        }
    }
    let answer = parse(&server.call(Method::POST, "/v1/agents", serde_json::to_vec(&body)?).await?)?;
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        println!("{}", show::word(&answer, "id"));
        eprintln!("next: cofferdam deploy IMAGE --agent {}", args.id);
    }
    Ok(())
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let (mut agents, mut after): (Vec<Value>, String) = (Vec::new(), String::new());
    loop {
        let answer =
            server.call(Method::GET, &format!("/v1/agents?limit=200&after={}", segment(&after)), Vec::new()).await?;
        let mut page = parse(&answer)?;
        agents.extend(page.get_mut("agents").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&json!({ "agents": agents }))?);
        return Ok(());
    }
    table::print(
        &["AGENT", "STATE", "SERVES", "LATEST", "ENVIRONMENT"],
        &agents.iter().map(show::row).collect::<Vec<_>>(),
    );
    Ok(())
}

async fn show_one(server: &Server, one: &One) -> anyhow::Result<()> {
    let agent = parse(&server.call(Method::GET, &path(&one.id), Vec::new()).await?)?;
    let versions = parse(&server.call(Method::GET, &format!("{}/deployments", path(&one.id)), Vec::new()).await?)?;
    if one.output.json {
        let mut whole = agent;
        if let (Some(whole), Some(versions)) = (whole.as_object_mut(), versions.get("deployments")) {
            whole.insert("deployments".to_owned(), versions.clone());
        }
        println!("{}", serde_json::to_string_pretty(&whole)?);
        return Ok(());
    }
    print!("{}", show::text(&agent, &versions));
    Ok(())
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
    let answer = parse(&server.call(Method::POST, "/api/deploy-agent", serde_json::to_vec(&body)?).await?)?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        let version = answer.get("version").and_then(Value::as_u64).map(|number| format!("version {number} is "));
        println!("{agent}: {}{}", version.unwrap_or_default(), show::word(&answer, "state"));
    }
    Ok(())
}
