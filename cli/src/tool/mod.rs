//! `cofferdam tool`: deploys, shows and calls a server's tools.

pub(crate) mod args;
mod arguments;
mod call;
mod deploy;
mod grants;
mod show;
mod wire;

use std::process::ExitCode;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};

use crate::client::{self, Server, block_on, find, read, segment};
use crate::terminal::{failed, json as print_json, say};
use crate::{Machine, table};
use args::{Command, Push, Rollback, Wrap};
use wire::ToolInfo;

/// The exit status if the function was not called.
const REFUSED: u8 = 126;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    if let Command::Wrap(args) = &command {
        return wrap(args, machine);
    }
    let server = find(machine)?;
    match command {
        // Done above, without a server.
        Command::Wrap(_) => {}
        Command::Deploy(args) => block_on(deploy::deploy(&server, &args))?,
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Show(args) => block_on(show_one(&server, &args.which.name, args.output.json))?,
        Command::Call(args) => {
            return Ok(block_on(call::call(&server, &args)).unwrap_or_else(|error| failed(&error, REFUSED)));
        }
        Command::Rollback(args) => block_on(rollback(&server, &args))?,
        Command::Delete(which) => block_on(server.delete(&path(&which.name)))?,
        Command::Push(args) => block_on(push(&server, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn wrap(args: &Wrap, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let module = std::fs::read(&args.module).with_context(|| args.module.display().to_string())?;
    let component = machine.wrap(module, &args.wit, args.world.as_deref())?;
    std::fs::write(&args.output, component).with_context(|| args.output.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn path(tool: &str) -> String {
    format!("/v1/tools/{}", segment(tool))
}

/// Shows a tool as text, or the answer as JSON.
fn print(answer: &[u8], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&read::<Value>(answer)?);
    }
    show::page(&read::<ToolInfo>(answer)?).print()
}

async fn show_one(server: &Server, name: &str, as_json: bool) -> anyhow::Result<()> {
    print(&client::call(server.request(Method::GET, &path(name))).await?, as_json)
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let mut tools: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/tools?limit=1000&after={}", segment(&after));
        let mut page: Value = server.get(&path).await?;
        tools.extend(page.get_mut("tools").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if as_json {
        return print_json(&json!({ "tools": tools }));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |tool: &Value| {
        let functions = tool["functions"].as_array().into_iter().flatten().map(|f| text(&f["name"]));
        vec![text(&tool["name"]), show::short(&text(&tool["version"])), functions.collect::<Vec<_>>().join(" ")]
    };
    table::print(&["NAME", "VERSION", "FUNCTIONS"], &tools.iter().map(row).collect::<Vec<_>>())
}

async fn rollback(server: &Server, args: &Rollback) -> anyhow::Result<()> {
    let version = args.version.as_ref().map(|text| text.parse::<u32>().map_or_else(|_| json!(text), |n| json!(n)));
    let body = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
    let path = format!("{}/rollback", path(&args.name));
    print(&server.send(Method::POST, &path, serde_json::to_vec(&body)?).await?, args.output.json)
}

async fn push(server: &Server, args: &Push) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&json!({ "oci": args.reference }))?;
    let answer = server.send(Method::POST, &format!("{}/push", path(&args.name)), body).await?;
    say!("{}", read::<Value>(&answer)?.get("reference").and_then(Value::as_str).unwrap_or_default())
}
