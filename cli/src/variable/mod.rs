//! `cofferdam variable`: lists, sets and removes the variables that every agent of the organization gets.

pub(crate) mod args;

use std::process::ExitCode;

use anyhow::bail;
use http::Method;
use serde_json::{Map, Value, json};

use crate::client::{Server, block_on, find, read};
use crate::secret::value;
use crate::terminal::{json as print_json, note};
use crate::{Machine, assignments, table};
use args::{Command, Set, Unset};

const PATH: &str = "/v1/variables";

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(output) => block_on(list(&find(machine)?, output.json))?,
        Command::Set(args) => {
            let changes = changes(&args, value)?;
            block_on(patch(&find(machine)?, changes, "set", args.output.json))?;
        }
        Command::Unset(args) => block_on(unset(&find(machine)?, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The variables to set. `ask` reads the value of one that is given without any.
fn changes(args: &Set, ask: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<Map<String, Value>> {
    match args.variables.as_slice() {
        [name] if !name.contains('=') && args.file.is_none() => Ok(Map::from_iter([(name.clone(), json!(ask()?))])),
        variables => assignments::read(args.file.as_deref(), "cofferdam variable set", variables),
    }
}

fn names(answer: &Value) -> Vec<String> {
    let all = answer.get("variables").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|variable| variable.get("name").and_then(Value::as_str)).map(str::to_owned).collect()
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let answer: Value = server.get(PATH).await?;
    if as_json {
        return print_json(&answer);
    }
    table::print(&["NAME"], &names(&answer).into_iter().map(|name| vec![name]).collect::<Vec<_>>())
}

async fn patch(server: &Server, changes: Map<String, Value>, done: &str, as_json: bool) -> anyhow::Result<()> {
    let changed: Vec<String> = changes.keys().cloned().collect();
    let answer: Value = read(&server.send(Method::PATCH, PATH, serde_json::to_vec(&changes)?).await?)?;
    if as_json {
        return print_json(&answer);
    }
    note!("{done}: {}. Agents get this at their next start.", changed.join(", "));
    Ok(())
}

async fn unset(server: &Server, args: &Unset) -> anyhow::Result<()> {
    let known = names(&server.get::<Value>(PATH).await?);
    if let Some(name) = args.names.iter().find(|name| !known.contains(name)) {
        bail!("there is no variable {name:?}; nothing was removed");
    }
    let changes = args.names.iter().map(|name| (name.clone(), Value::Null)).collect();
    patch(server, changes, "removed", args.output.json).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_or_asked_for() {
        let set = |variables: &[&str]| Set {
            variables: variables.iter().map(|text| (*text).to_owned()).collect(),
            file: None,
            output: crate::args::Json { json: false },
        };
        let ask = || Ok("hush".to_owned());
        assert_eq!(Value::Object(changes(&set(&["KEY"]), ask).unwrap()), json!({"KEY": "hush"}));
        assert_eq!(Value::Object(changes(&set(&["A=1", "B="]), ask).unwrap()), json!({"A": "1", "B": ""}));
        assert!(changes(&set(&["A=1", "B"]), ask).is_err());
        assert_eq!(names(&json!({"variables": [{"name": "A"}, {"name": "B"}]})), ["A", "B"]);
    }
}
