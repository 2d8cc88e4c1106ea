//! `cofferdam connector`: MCP servers whose tools agents may use.

pub(crate) mod args;

use std::process::ExitCode;

use anyhow::Context;
use http::Method;
use serde_json::{Map, Value, json};

use crate::client::{Server, block_on, call, find, read, segment};
use crate::secret::value;
use crate::terminal::{Page, json as print_json, note, put, say};
use crate::{Machine, table};
use args::{Auth, Command, OfPerson, Set};

/// The most pages of a list.
const MAX_PAGES: usize = 100;
/// The longest description in a list of tools, in characters.
const MAX_SHOWN: usize = 80;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    match command {
        Command::Set(args) => {
            let body = settings(&args, value)?;
            block_on(set(&find(machine)?, &args, &body))?;
        }
        Command::List(output) => block_on(list(&find(machine)?, output.json))?,
        Command::Show(args) => block_on(show(&find(machine)?, &args.which.name, args.output.json))?,
        Command::Test(args) => return block_on(test(&find(machine)?, &args)),
        Command::Login(args) => block_on(login(&find(machine)?, &args))?,
        Command::Logout(args) => {
            block_on(find(machine)?.delete(&of_person(&args, "/login")))?;
            note!("{}: logged out", args.asked.which.name);
        }
        Command::Delete(which) => {
            block_on(find(machine)?.delete(&path(&which.name)))?;
            note!("{}: deleted", which.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(name: &str) -> String {
    format!("/v1/connectors/{}", segment(name))
}

fn of_person(args: &OfPerson, end: &str) -> String {
    let path = format!("{}{end}", path(&args.asked.which.name));
    match &args.person {
        Some(person) => format!("{path}?person={}", segment(person)),
        None => path,
    }
}

/// The document of a connector. `secret` reads what is not given as an argument.
fn settings(args: &Set, secret: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<Value> {
    let mut body: Map<String, Value> = match &args.settings {
        Some(file) => {
            let text = std::fs::read(file).with_context(|| file.display().to_string())?;
            serde_json::from_slice(&text).with_context(|| format!("{}: no JSON object", file.display()))?
        }
        None => Map::new(),
    };
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("url", args.url.clone().map(Value::from));
    put("only", (!args.only.is_empty()).then(|| json!(args.only)));
    put("exclude", (!args.exclude.is_empty()).then(|| json!(args.exclude)));
    put("prefix", args.prefix.clone().map(Value::from));
    if let Some(file) = &args.ca {
        let pem = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        put("ca", Some(pem.into()));
    }
    let auth = match args.auth {
        None => None,
        Some(Auth::None) => Some(json!({ "type": "none" })),
        Some(Auth::ApiKey) => {
            let mut auth = json!({ "type": "api_key", "key": secret()? });
            if let (Some(auth), Some(header)) = (auth.as_object_mut(), &args.header) {
                auth.insert("header".to_owned(), json!(header));
            }
            Some(auth)
        }
        Some(Auth::Bearer) => Some(json!({ "type": "bearer", "token": secret()? })),
        Some(Auth::Oauth2) => {
            let mut auth = json!({ "type": "oauth2", "scopes": args.scopes, "per_person": args.per_person });
            if let (Some(auth), Some(id)) = (auth.as_object_mut(), &args.client_id) {
                auth.insert("client_id".to_owned(), json!(id));
                if args.client_secret {
                    auth.insert("client_secret".to_owned(), json!(secret()?));
                }
            }
            Some(auth)
        }
    };
    put("auth", auth);
    Ok(Value::Object(body))
}

async fn set(server: &Server, args: &Set, body: &Value) -> anyhow::Result<()> {
    let answer = server.send(Method::PUT, &path(&args.name), serde_json::to_vec(body)?).await?;
    if args.output.json {
        return print_json(&read::<Value>(&answer)?);
    }
    note!(
        "{name} is stored; `cofferdam connector test {name}` tries it. Agents use it as mcp:{name}.",
        name = args.name
    );
    Ok(())
}

async fn list(server: &Server, as_json: bool) -> anyhow::Result<()> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let query = after.as_ref().map(|after| format!("?after={}", segment(after))).unwrap_or_default();
        let mut page: Value = server.get(&format!("/v1/connectors{query}")).await?;
        if let Some(found) = page.get_mut("connectors").and_then(Value::as_array_mut) {
            all.append(found);
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if as_json {
        return print_json(&json!({ "connectors": all }));
    }
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let row = |one: &Value| vec![text(one, "/name"), text(one, "/spec/url"), text(one, "/spec/auth/type")];
    table::print(&["CONNECTOR", "URL", "AUTH"], &all.iter().map(row).collect::<Vec<_>>())
}

async fn show(server: &Server, name: &str, as_json: bool) -> anyhow::Result<()> {
    let found: Value = server.get(&path(name)).await?;
    if as_json {
        return print_json(&found);
    }
    let mut out = Page::default();
    put!(out, "{}", found.get("name").and_then(Value::as_str).unwrap_or_default());
    for (name, value) in found.get("spec").and_then(Value::as_object).into_iter().flatten() {
        let shown = match value {
            Value::String(text) if text.contains('\n') => format!("{} lines", text.lines().count()),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        put!(out, "  {name:<14}  {shown}");
    }
    out.print()
}

async fn test(server: &Server, args: &OfPerson) -> anyhow::Result<ExitCode> {
    let report: Value = read(&call(server.request(Method::POST, &of_person(args, "/test"))).await?)?;
    let good = report.get("ok").and_then(Value::as_bool) == Some(true);
    if args.asked.output.json {
        print_json(&report)?;
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let each = |name: &str| report.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    if good {
        let row = |tool: &Value| {
            let about: String =
                text(tool, "description").lines().next().unwrap_or_default().chars().take(MAX_SHOWN).collect();
            vec![text(tool, "name"), about]
        };
        table::print(&["TOOL", "DESCRIPTION"], &each("tools").iter().map(row).collect::<Vec<_>>())?;
        note!("{} speaks MCP {}", text(&report, "server"), text(&report, "protocol"));
    } else {
        note!("{}: {}", args.asked.which.name, text(&report, "problem"));
    }
    for skipped in each("skipped") {
        note!("not offered: {}", skipped.as_str().unwrap_or_default());
    }
    if let Some(url) = report.get("login_url").and_then(Value::as_str) {
        note!("Open this address in a browser within 10 minutes:");
        say!("{url}")?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn login(server: &Server, args: &OfPerson) -> anyhow::Result<()> {
    let answer: Value = server.get(&of_person(args, "/login")).await?;
    if args.asked.output.json {
        return print_json(&answer);
    }
    note!("Open this address in a browser within 10 minutes:");
    say!("{}", answer.get("url").and_then(Value::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn body(line: &[&str]) -> Value {
        let line = Line::try_parse_from(["x", "docs"].iter().chain(line)).map_err(|why| why.to_string()).unwrap();
        settings(&line.set, || Ok("hush".to_owned())).unwrap()
    }

    #[test]
    fn the_flags_make_the_document() {
        assert_eq!(body(&["--url", "https://a/mcp"]), json!({ "url": "https://a/mcp" }));
        let key = body(&["--url", "u", "--auth", "api-key", "--header", "x-k", "--only", "a*", "--prefix", "p_"]);
        let auth = json!({ "type": "api_key", "key": "hush", "header": "x-k" });
        assert_eq!(key, json!({ "url": "u", "auth": auth, "only": ["a*"], "prefix": "p_" }));
        let oauth = body(&[
            "--url",
            "u",
            "--auth",
            "oauth2",
            "--client-id",
            "i",
            "--client-secret",
            "--scope",
            "s",
            "--per-person",
        ]);
        let auth =
            json!({ "type": "oauth2", "scopes": ["s"], "per_person": true, "client_id": "i", "client_secret": "hush" });
        assert_eq!(oauth["auth"], auth);
        assert!(Line::try_parse_from(["x", "docs"]).is_err(), "no address");
    }
}
