//! What `cofferdam secret` does. A value comes from standard input or a prompt without echo: never from the arguments,
//! which every process of the machine may read.

use std::io::{IsTerminal, Read, Write, stdin};
use std::process::{Command as Program, ExitCode, Stdio};

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};

use crate::commands::secret::{Command, Set};
use crate::server::{block_on, find, segment};
use crate::tool::table;

/// Beyond this the server takes none; reading on would only take memory.
const MOST: u64 = 1 << 20;

pub fn main(command: Command) -> anyhow::Result<ExitCode> {
    let server = find()?;
    match command {
        Command::Set(set) => {
            let body = json!({"value": value()?, "hosts": set.hosts});
            let path = format!("/v1/secrets/{}", segment(&set.name));
            block_on(server.call(Method::PUT, &path, serde_json::to_vec(&body)?))?;
            let Set { name, hosts } = set;
            eprintln!("{name} is stored; it goes to {} only. Grant it with --secret {name}.", hosts.join(", "));
        }
        Command::List(output) => {
            let answer = block_on(server.call(Method::GET, "/v1/secrets", Vec::new()))?;
            let answer: Value = serde_json::from_slice(&answer).context("the server's answer")?;
            if output.json {
                println!("{}", serde_json::to_string_pretty(&answer)?);
                return Ok(ExitCode::SUCCESS);
            }
            let secrets = answer.get("secrets").and_then(Value::as_array).cloned().unwrap_or_default();
            let row = |secret: &Value| {
                let hosts =
                    secret.get("hosts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                vec![
                    secret.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    hosts.collect::<Vec<_>>().join(" "),
                ]
            };
            table::print(&["NAME", "HOSTS"], &secrets.iter().map(row).collect::<Vec<_>>());
        }
        Command::Delete(which) => {
            let path = format!("/v1/secrets/{}", segment(&which.name));
            block_on(server.call(Method::DELETE, &path, Vec::new()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Standard input to its end, or a line that is asked for.
fn value() -> anyhow::Result<String> {
    let mut text = String::new();
    if stdin().is_terminal() {
        eprint!("value (not shown): ");
        std::io::stderr().flush()?;
        let _quiet = Quiet::new();
        stdin().read_line(&mut text).context("reading the value")?;
        eprintln!();
    } else {
        stdin().lock().take(MOST).read_to_string(&mut text).context("reading the value from standard input")?;
    }
    // A line's end is an editor's, not the secret's.
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() {
        bail!("the value is empty");
    }
    Ok(value.to_owned())
}

/// The terminal without echo, until it is dropped.
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

fn stty(what: &str) {
    // Where it cannot be had the value is seen by who types it, and by nobody else.
    let _ = Program::new("stty").arg(what).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
}
