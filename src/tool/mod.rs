//! What `cofferdam tool` does: asks a server, and shows what it says.

mod arguments;
mod call;
mod deploy;
mod show;
pub mod table;

use std::process::ExitCode;

use anyhow::Context;
use cofferdam_controller::services::tools::ToolInfo;
use http::Method;
use serde_json::{Value, json};

use crate::commands::tool::{Command, Push, Rollback, Wrap};
use crate::run::wire::Server;
use crate::server::{block_on, find, segment};

/// Where a call was refused or could not be made: the function did not fail, it was not called.
const REFUSED: u8 = 126;

pub fn main(command: Command) -> anyhow::Result<ExitCode> {
    if let Command::Wrap(args) = &command {
        return wrap(args);
    }
    let server = find()?;
    match command {
        // Above: it needs no server.
        Command::Wrap(_) => {}
        Command::Deploy(args) => block_on(deploy::deploy(&server, &args))?,
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Show(args) => {
            let answer = block_on(server.call(Method::GET, &path(&args.name), Vec::new()))?;
            print(&answer, args.output.json)?;
        }
        Command::Call(args) => {
            return Ok(block_on(call::call(&server, &args)).unwrap_or_else(|error| {
                eprintln!("cofferdam: {error:#}");
                ExitCode::from(REFUSED)
            }));
        }
        Command::Rollback(args) => block_on(rollback(&server, &args))?,
        Command::Delete(which) => {
            block_on(server.call(Method::DELETE, &path(&which.name), Vec::new()))?;
        }
        Command::Push(args) => block_on(push(&server, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn wrap(args: &Wrap) -> anyhow::Result<ExitCode> {
    let module = std::fs::read(&args.module).with_context(|| args.module.display().to_string())?;
    let component = cofferdam_runtime::tool::wrap::wrap(module, &args.wit, args.world.as_deref())?;
    std::fs::write(&args.output, component).with_context(|| args.output.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn path(tool: &str) -> String {
    format!("/v1/tools/{}", segment(tool))
}

/// Shows a tool for people, or the answer as it came.
fn print(answer: &[u8], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let value: Value = serde_json::from_slice(answer).context("the server's answer")?;
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    let info: ToolInfo = serde_json::from_slice(answer).context("the server's answer")?;
    print!("{}", show::text(&info));
    Ok(())
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let mut tools: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/tools?limit=1000&after={}", segment(&after));
        let answer = server.call(Method::GET, &path, Vec::new()).await?;
        let mut page: Value = serde_json::from_slice(&answer).context("the server's answer")?;
        tools.extend(page.get_mut("tools").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&json!({ "tools": tools }))?);
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |tool: &Value| {
        let functions = tool["functions"].as_array().into_iter().flatten().map(|f| text(&f["name"]));
        vec![text(&tool["name"]), show::short(&text(&tool["version"])), functions.collect::<Vec<_>>().join(" ")]
    };
    table::print(&["NAME", "VERSION", "FUNCTIONS"], &tools.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn rollback(server: &Server, args: &Rollback) -> anyhow::Result<()> {
    let version = args.version.as_ref().map(|text| text.parse::<u32>().map_or_else(|_| json!(text), |n| json!(n)));
    let body = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
    let path = format!("{}/rollback", path(&args.name));
    print(&server.call(Method::POST, &path, serde_json::to_vec(&body)?).await?, args.output.json)
}

async fn push(server: &Server, args: &Push) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&json!({ "oci": args.reference }))?;
    let answer = server.call(Method::POST, &format!("{}/push", path(&args.name)), body).await?;
    let answer: Value = serde_json::from_slice(&answer).context("the server's answer")?;
    println!("{}", answer.get("reference").and_then(Value::as_str).unwrap_or_default());
    Ok(())
}
