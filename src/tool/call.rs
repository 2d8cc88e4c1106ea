//! Calling: the result on standard output, what the tool logged on standard error, how it ended as the exit status.

use std::io::{IsTerminal, Read, stderr};
use std::process::ExitCode;

use anyhow::Context;
use cofferdam_contract::{Status, ToolOutcome};
use cofferdam_controller::services::tools::ToolInfo;
use http::Method;
use serde_json::Value;

use super::arguments::{arguments, function};
use super::path;
use crate::commands::tool::Call;
use crate::run::wire::Server;
use crate::server::segment;

pub async fn call(server: &Server, args: &Call) -> anyhow::Result<ExitCode> {
    let info = server.call(Method::GET, &path(&args.name), Vec::new()).await?;
    let info: ToolInfo = serde_json::from_slice(&info).context("the server's answer")?;
    let (function, words) = function(&info.functions, &args.words)?;
    let body = arguments(function, words, || {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).context("standard input")?;
        Ok(text)
    })?;
    let path = format!("{}/functions/{}", path(&args.name), segment(&function.name));
    let answer = tokio::select! {
        answer = server.call_as(Method::POST, &path, "application/json", body) => answer?,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("cancelled");
            return Ok(ExitCode::from(130));
        }
    };
    let outcome: ToolOutcome = serde_json::from_slice(&answer).context("the server's answer")?;
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::from_slice::<Value>(&answer)?)?);
    } else {
        show(&outcome)?;
    }
    Ok(ExitCode::from(match outcome.status {
        Status::Ok => 0,
        Status::Error => 1,
        Status::Timeout => 124,
        Status::Limit => 125,
        Status::Cancelled => 130,
    }))
}

fn show(outcome: &ToolOutcome) -> anyhow::Result<()> {
    if !outcome.logs.is_empty() {
        eprint!("{}", plain(&outcome.logs));
        if !outcome.logs.ends_with('\n') {
            eprintln!();
        }
    }
    if let Some(result) = &outcome.result {
        match serde_json::from_str(result.get()).context("the result")? {
            Value::String(text) => println!("{text}"),
            // As it came: numbers keep all their digits.
            _ => println!("{}", result.get()),
        }
    }
    if let Some(error) = &outcome.error {
        eprintln!("{}", plain(&format!("{}: {}", error.name, error.message)));
        if !error.traceback.is_empty() {
            eprintln!("{}", plain(error.traceback.trim_end()));
        }
    }
    Ok(())
}

/// A tool's words, without what would steer the terminal that they are shown on.
fn plain(text: &str) -> String {
    if !stderr().is_terminal() {
        return text.to_owned();
    }
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
