//! `cofferdam key`: makes, lists, changes, rotates and revokes API keys.
//!
//! Prints a key's text once, to standard output alone, so that a script can keep it.

pub(crate) mod args;

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use crate::client::{Server, block_on, find, read, segment};
use crate::terminal::{json as print_json, note, say};
use crate::times::{now_ms, on};
use crate::{Machine, table};
use args::{Command, Create, Rotate, Scope, Update};

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::Create(args) => block_on(create(&server, args))?,
        Command::List(output) => block_on(list(&server, output.json))?,
        Command::Update(args) => block_on(update(&server, args))?,
        Command::Rotate(args) => block_on(rotate(&server, args))?,
        Command::Revoke(which) => block_on(server.delete(&path(&which.id)))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str) -> String {
    format!("/v1/keys/{}", segment(id))
}

fn names(scopes: &[Scope]) -> Value {
    scopes.iter().map(|scope| scope.name()).collect()
}

async fn create(server: &Server, args: Create) -> anyhow::Result<()> {
    let mut body = json!({"name": args.name, "scopes": names(&args.scopes), "operator": args.operator});
    if let Value::Object(body) = &mut body {
        body.extend(args.expires.map(|period| ("ttl_s".to_owned(), json!(period.0))));
        body.extend(args.rate.map(|rate| ("requests_per_minute".to_owned(), json!(rate))));
    }
    let answer = server.send(Method::POST, "/v1/keys", serde_json::to_vec(&body)?).await?;
    show_text(&read(&answer)?, args.output.json)
}

/// Prints a key that was just made: its text to standard output, what to know of it beside that.
pub(crate) fn show_text(made: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(made);
    }
    say!("{}", field(made, "key"))?;
    let scopes = scopes(made);
    note!("{} ({}) has the scopes {scopes}. Its text is not shown again.", field(made, "id"), field(made, "name"));
    if let Some(end) = made.get("expires_at").and_then(Value::as_i64) {
        note!("It ends on {}.", on(end));
    }
    Ok(())
}

pub(crate) fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn scopes(key: &Value) -> String {
    let all = key.get("scopes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    all.collect::<Vec<_>>().join(" ")
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let answer: Value = server.get("/v1/keys").await?;
    if as_json {
        return print_json(&answer);
    }
    let keys = answer.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let now = now_ms().div_euclid(1_000);
    let rows: Vec<_> = keys.iter().map(|key| row(key, now)).collect();
    table::print(&["ID", "NAME", "SCOPES", "LAST USED", "ENDS", "PER MINUTE", "NOTES"], &rows)
}

fn row(key: &Value, now: i64) -> Vec<String> {
    let time = |name: &str| key.get(name).and_then(Value::as_i64);
    let mut notes = Vec::new();
    if key.get("operator").and_then(Value::as_bool) == Some(true) {
        notes.push("operator".to_owned());
    }
    if let Some(end) = time("old_text_until") {
        notes.push(format!("old text until {}", on(end)));
    }
    let ends = match time("expires_at") {
        Some(end) if end <= now => "over".to_owned(),
        Some(end) => on(end),
        None => "never".to_owned(),
    };
    vec![
        field(key, "id"),
        field(key, "name"),
        scopes(key),
        time("last_used_at").map_or_else(|| "never".to_owned(), on),
        ends,
        key.get("requests_per_minute").map_or_else(|| "-".to_owned(), ToString::to_string),
        notes.join(", "),
    ]
}

async fn update(server: &Server, args: Update) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&Value::Object(changes(&args)))?;
    let answer: Value = read(&server.send(Method::PATCH, &path(&args.which.id), body).await?)?;
    if args.output.json {
        return print_json(&answer);
    }
    note!("{} is changed: {}.", field(&answer, "id"), scopes(&answer));
    Ok(())
}

/// The fields that the arguments change.
fn changes(args: &Update) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(name) = &args.name {
        body.insert("name".to_owned(), json!(name));
    }
    if !args.scopes.is_empty() {
        body.insert("scopes".to_owned(), names(&args.scopes));
    }
    if args.expires.is_some() || args.no_end {
        body.insert("ttl_s".to_owned(), json!(args.expires.map(|period| period.0)));
    }
    if args.rate.is_some() || args.no_rate {
        body.insert("requests_per_minute".to_owned(), json!(args.rate));
    }
    body
}

async fn rotate(server: &Server, args: Rotate) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&json!({"grace_s": args.grace.0}))?;
    let answer = server.send(Method::POST, &format!("{}/rotate", path(&args.which.id)), body).await?;
    let answer: Value = read(&answer)?;
    show_text(&answer, args.output.json)?;
    if !args.output.json {
        match answer.get("old_text_until").and_then(Value::as_i64) {
            Some(end) => note!("The old text is accepted until {}.", on(end)),
            None => note!("The old text is not accepted any more."),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_ends_and_when() {
        let key = json!({"id": "key_1", "name": "ci", "scopes": ["run", "read"], "created_at": 1, "expires_at": 100,
            "requests_per_minute": 60, "old_text_until": 86_400, "operator": true});
        let shown = row(&key, 50);
        assert_eq!(shown[2..4], ["run read", "never"]);
        assert_eq!(shown[4..], ["1970-01-01 00:01 UTC", "60", "operator, old text until 1970-01-02 00:00 UTC"]);
        assert_eq!(row(&key, 100)[4], "over");
        assert_eq!(row(&json!({"id": "key_2"}), 0), ["key_2", "", "", "never", "never", "-", ""]);
    }
}
