//! `cofferdam org`: makes, bounds, disables and deletes organizations.

pub(crate) mod args;

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use crate::client::{Server, block_on, find, read, segment};
use crate::key::{field, show_text};
use crate::terminal::{json as print_json, note};
use crate::times::on;
use crate::{Machine, table};
use args::{Command, Create, Delete, Limits, Show, Update};

/// Organizations of one page.
const PAGE: usize = 1_000;
/// The most pages of a list.
const MAX_PAGES: usize = 100;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::Create(args) => block_on(create(&server, args))?,
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Show(which) => block_on(show(&server, &which))?,
        Command::Update(args) => block_on(update(&server, args))?,
        Command::Delete(args) => block_on(delete(&server, &args))?,
        Command::Key(which) => block_on(key(&server, &which))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str) -> String {
    format!("/v1/organizations/{}", segment(id))
}

/// The limits by the API's names.
fn limits(limits: &Limits) -> impl Iterator<Item = (String, Value)> {
    let given = [
        ("requests_per_minute", limits.requests_per_minute),
        ("max_concurrent_runs", limits.max_runs),
        ("max_concurrent_tasks", limits.max_tasks),
    ];
    given.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?))))
}

async fn create(server: &Server, args: Create) -> anyhow::Result<()> {
    let mut body: Map<String, Value> = limits(&args.limits).collect();
    body.extend(args.id.map(|id| ("id".to_owned(), json!(id))));
    body.extend(args.name.map(|name| ("name".to_owned(), json!(name))));
    let answer = server.send(Method::POST, "/v1/organizations", serde_json::to_vec(&Value::Object(body))?).await?;
    let answer: Value = read(&answer)?;
    if args.output.json {
        return print_json(&answer);
    }
    let id = answer.pointer("/organization/id").and_then(Value::as_str).unwrap_or_default();
    note!("The organization {id} is made. Its first key:");
    show_text(answer.get("key").unwrap_or(&Value::Null), false)
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let mut all: Vec<Value> = Vec::new();
    let mut after = String::new();
    for _ in 0..MAX_PAGES {
        let page: Value = server.get(&format!("/v1/organizations?limit={PAGE}&after={}", segment(&after))).await?;
        all.extend(page.get("organizations").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    if as_json {
        return print_json(&json!({"organizations": all}));
    }
    print(&all)
}

fn print(organizations: &[Value]) -> anyhow::Result<()> {
    let heads = ["ID", "NAME", "CREATED", "PER MINUTE", "MAX RUNS", "MAX TASKS", "STATE"];
    table::print(&heads, &organizations.iter().map(row).collect::<Vec<_>>())
}

fn row(organization: &Value) -> Vec<String> {
    let limit = |name: &str| organization.get(name).map_or_else(|| "-".to_owned(), ToString::to_string);
    let state = match organization.get("disabled_at").and_then(Value::as_i64) {
        Some(since) => format!("disabled since {}", on(since)),
        None => "active".to_owned(),
    };
    vec![
        field(organization, "id"),
        field(organization, "name"),
        organization.get("created_at").and_then(Value::as_i64).map(on).unwrap_or_default(),
        limit("requests_per_minute"),
        limit("max_concurrent_runs"),
        limit("max_concurrent_tasks"),
        state,
    ]
}

async fn show(server: &Server, which: &Show) -> anyhow::Result<()> {
    let answer: Value = server.get(&path(&which.id)).await?;
    if which.output.json { print_json(&answer) } else { print(&[answer]) }
}

async fn update(server: &Server, args: Update) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&Value::Object(changes(&args)))?;
    let answer: Value = read(&server.send(Method::PATCH, &path(&args.which.id), body).await?)?;
    if args.which.output.json { print_json(&answer) } else { print(&[answer]) }
}

/// The fields that the arguments change.
fn changes(args: &Update) -> Map<String, Value> {
    let mut body: Map<String, Value> = limits(&args.limits).collect();
    for limit in &args.no {
        let name = match limit.as_str() {
            "max-runs" => "max_concurrent_runs",
            "max-tasks" => "max_concurrent_tasks",
            _ => "requests_per_minute",
        };
        body.insert(name.to_owned(), Value::Null);
    }
    body.extend(args.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
    if args.disable || args.enable {
        body.insert("disabled".to_owned(), json!(args.disable));
    }
    body
}

async fn delete(server: &Server, args: &Delete) -> anyhow::Result<()> {
    let force = if args.force { "?force=true" } else { "" };
    server.delete(&format!("{}{force}", path(&args.id))).await?;
    note!("The organization {} is deleted, and its keys have ended.", args.id);
    Ok(())
}

async fn key(server: &Server, which: &Show) -> anyhow::Result<()> {
    let answer = server.send(Method::POST, &format!("{}/keys", path(&which.id)), Vec::new()).await?;
    show_text(&read(&answer)?, which.output.json)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn update(args: &[&str]) -> Value {
        let line = Line::try_parse_from(["org", "update", "acme"].iter().chain(args)).unwrap();
        let Command::Update(args) = line.command else { unreachable!("it is an update") };
        Value::Object(changes(&args))
    }

    #[test]
    fn only_what_is_given_changes() {
        assert_eq!(update(&[]), json!({}));
        assert_eq!(update(&["--max-tasks", "3", "--disable"]), json!({"max_concurrent_tasks": 3, "disabled": true}));
        assert_eq!(
            update(&["--no", "max-runs", "--no", "requests-per-minute", "--enable", "--name", "A"]),
            json!({"max_concurrent_runs": null, "requests_per_minute": null, "disabled": false, "name": "A"})
        );
    }

    #[test]
    fn a_row_has_what_is_known() {
        let shown =
            row(&json!({"id": "acme", "name": "A", "created_at": 0, "max_concurrent_runs": 2, "disabled_at": 60}));
        assert_eq!(shown[..2], ["acme", "A"]);
        assert_eq!(shown[2..6], ["1970-01-01 00:00 UTC", "-", "2", "-"]);
        assert_eq!(shown[6], "disabled since 1970-01-01 00:01 UTC");
    }
}
