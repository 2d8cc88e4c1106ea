//! `cofferdam secret`. A value comes from standard input or from a prompt without echo, never from the arguments, which
//! every process of the machine can read.

pub(crate) mod args;

use std::io::{IsTerminal, Read, stdin};
use std::process::{Command as Program, ExitCode, Stdio};

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Server, block_on, find, segment};
use crate::terminal::{json as print_json, note, print_error};
use crate::{Machine, table};
use args::{Command, Set};

/// The server refuses longer values.
const MAX_VALUE_BYTES: u64 = 1 << 20;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::Set(secret) => {
            let body = serde_json::to_vec(&json!({"value": value()?, "hosts": secret.hosts}))?;
            block_on(set(&server, secret, body))?;
        }
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Delete(which) => block_on(server.delete(&path(&which.name)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(secret: &str) -> String {
    format!("/v1/secrets/{}", segment(secret))
}

async fn set(server: &Server, secret: Set, body: Vec<u8>) -> anyhow::Result<()> {
    let Set { name, hosts } = secret;
    server.send(Method::PUT, &path(&name), body).await?;
    let hosts = hosts.join(", ");
    note!(
        "{name} is stored. Tools and runs that are granted it hold a placeholder; the value is sent to {hosts} only."
    );
    note!("An agent that is deployed with --secret {name} gets the value itself, in its variable {name}.");
    Ok(())
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let answer: Value = server.get("/v1/secrets").await?;
    if as_json {
        return print_json(&answer);
    }
    let secrets = answer.get("secrets").and_then(Value::as_array).cloned().unwrap_or_default();
    let row = |secret: &Value| {
        let hosts = secret.get("hosts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        vec![
            secret.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            hosts.collect::<Vec<_>>().join(" "),
        ]
    };
    table::print(&["NAME", "HOSTS"], &secrets.iter().map(row).collect::<Vec<_>>())
}

/// Reads standard input to its end, or a line from a prompt.
pub(crate) fn value() -> anyhow::Result<String> {
    let mut text = String::new();
    if stdin().is_terminal() {
        print_error("value (not shown): ")?;
        let _quiet = Quiet::new();
        stdin().read_line(&mut text).context("reading the value")?;
        note!("");
    } else {
        stdin()
            .lock()
            .take(MAX_VALUE_BYTES)
            .read_to_string(&mut text)
            .context("reading the value from standard input")?;
    }
    // A line's end comes from an editor, not from the secret.
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() {
        let piped = if stdin().is_terminal() { "" } else { ": the command before the pipe wrote nothing" };
        bail!("the value is empty{piped}");
    }
    Ok(value.to_owned())
}

/// Turns the terminal's echo off until it is dropped.
struct Quiet;

impl Quiet {
    fn new() -> Self {
        stty("-echo");
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        stty("echo");
    }
}

fn stty(setting: &str) {
    // Without stty, only the user at the terminal sees the value.
    let _ = Program::new("stty").arg(setting).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
}
