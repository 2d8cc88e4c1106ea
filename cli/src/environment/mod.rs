//! `cofferdam environment`: creates, lists, shows, tests and deletes environments.

pub(crate) mod args;
mod create;
mod show;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use crate::agent::left_behind;
use crate::client::{Server, block_on, call, find, read, segment};
use crate::terminal::{json as print_json, note, say};
use crate::{Machine, table};
use args::{Command, Delete, Test};

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => {
            let settings = create::settings(&args)?;
            block_on(create::create(&find(machine)?, &args, settings))?;
        }
        Command::List(output) => block_on(list(&find(machine)?, output.json))?,
        Command::Show(args) => block_on(show_one(&find(machine)?, &args.which.name, args.output.json))?,
        Command::Test(args) => return block_on(test(&find(machine)?, &args)),
        Command::Delete(args) => block_on(delete(&find(machine)?, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(name: &str) -> String {
    format!("/v1/environments/{}", segment(name))
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let answer: Value = server.get("/v1/environments").await?;
    if as_json {
        return print_json(&answer);
    }
    let all = answer.get("environments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = all.iter().map(show::row).collect();
    table::print(&["ENVIRONMENT", "CLUSTER", "NAMESPACE", "ARCHITECTURE", "IMAGES"], &rows)
}

async fn show_one(server: &Server, name: &str, as_json: bool) -> anyhow::Result<()> {
    let environment: Value = server.get(&path(name)).await?;
    if as_json { print_json(&environment) } else { show::page(&environment).print() }
}

async fn test(server: &Server, args: &Test) -> anyhow::Result<ExitCode> {
    let url = format!("{}/test", path(&args.asked.which.name));
    let answer: Value = read(&call(server.request(Method::POST, &url)).await?)?;
    let good = answer.get("ok").and_then(Value::as_bool) == Some(true);
    if args.asked.output.json {
        print_json(&answer)?;
    } else {
        for line in show::checks(&answer) {
            say!("{line}")?;
        }
    }
    if !good {
        note!("{}: not everything is as agents need it", args.asked.which.name);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn delete(server: &Server, args: &Delete) -> anyhow::Result<()> {
    let name = &args.asked.which.name;
    if !args.force {
        server.delete(&path(name)).await?;
        note!("{name}: deleted");
        return Ok(());
    }
    note!("{name}: its agents are deleted by force; this waits up to 45 s for the cluster to remove them");
    // Without force it may have no body.
    let answer = call(server.request(Method::DELETE, &format!("{}?force=true", path(name)))).await?;
    let answer: Value = read(&answer)?;
    if args.asked.output.json {
        return print_json(&answer);
    }
    note!("{name}: deleted");
    for agent in answer.get("agents").and_then(Value::as_array).into_iter().flatten() {
        left_behind(agent);
    }
    Ok(())
}
