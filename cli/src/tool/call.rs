//! `cofferdam tool call`: shows the result on standard output and the tool's log on standard error; the exit status says how
//! the call ended.

use std::io::Read;
use std::process::ExitCode;

use anyhow::Context;
use cofferdam_contract::{Status, ToolOutcome};
use http::Method;
use serde_json::Value;

use super::args::Call;
use super::arguments::{arguments, function};
use super::path;
use super::wire::ToolInfo;
use crate::client::{Server, read, segment};
use crate::terminal::{Output, json, json_text, note, print};

pub(super) async fn call(server: &Server, args: &Call) -> anyhow::Result<ExitCode> {
    let info: ToolInfo = server.get(&path(&args.name)).await?;
    let (function, words) = function(&info.functions, &args.words)?;
    let body = arguments(function, words, || {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).context("standard input")?;
        Ok(text)
    })?;
    let path = format!("{}/functions/{}", path(&args.name), segment(&function.name));
    let answer = tokio::select! {
        answer = server.send(Method::POST, &path, body) => answer?,
        _ = tokio::signal::ctrl_c() => {
            note!("cancelled");
            return Ok(ExitCode::from(130));
        }
    };
    let outcome: ToolOutcome = read(&answer)?;
    if args.output.json {
        json(&read::<Value>(&answer)?)?;
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
        Output::stderr().whole(&outcome.logs)?;
    }
    if let Some(result) = &outcome.result {
        match serde_json::from_str(result.get()).context("the result")? {
            Value::String(text) => Output::stdout().whole(&text)?,
            // Not parsed: numbers keep all their digits.
            _ => print(&format!("{}\n", json_text(result.get().trim_end())))?,
        }
    }
    if let Some(error) = &outcome.error {
        // Closed standard error is no failure of the call.
        let _ = Output::stderr().whole(&format!("{}: {}", error.name, error.message));
        if !error.traceback.is_empty() {
            let _ = Output::stderr().whole(error.traceback.trim_end());
        }
    }
    Ok(())
}
