//! `cofferdam agent apply|versions|diff|activate|deactivate|export`: definitions of serverless agents.

use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Context, bail};
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::definition_args::{Activate, Apply, Deactivate, Diff, Export, Format, Versions};
use super::path;
use super::show::word;
use crate::client::{Server, call, read};
use crate::stdin::EMPTY;
use crate::table;
use crate::task::second;
use crate::terminal::{Page, json as print_json, json_text, note, print, put, say};

/// The largest file that is read. The server takes 4 MiB.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The longest value in a difference, in characters.
const MAX_VALUE: usize = 300;

/// Reads a file, or standard input for `-`.
pub(super) fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let shown = file.display();
    if file.as_os_str() == "-" {
        stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).context("standard input")?;
        if bytes.is_empty() {
            bail!("{EMPTY}");
        }
    } else {
        let open = std::fs::File::open(file).with_context(|| format!("{shown}"))?;
        open.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("{shown}"))?;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        bail!("{shown}: it is larger than {MAX_FILE_BYTES} bytes");
    }
    Ok(bytes)
}

pub(super) async fn apply(server: &Server, args: &Apply) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for file in &args.files {
        let request = server.request(Method::POST, "/v1/agents/import").header(CONTENT_TYPE, "application/yaml");
        let answer = call(request.body(read_file(file)?)).await.with_context(|| file.display().to_string())?;
        let mut answer: Value = read(&answer)?;
        all.extend(answer.get_mut("agents").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default());
    }
    if args.output.json {
        return print_json(&json!({ "agents": all }));
    }
    for agent in &all {
        let outcome = match word(agent, "outcome") {
            "made" => "created",
            "changed" => "changed",
            "same" => "unchanged",
            other => other,
        };
        say!("{} {outcome}, {}", word(agent, "id"), numbered(agent, "version"))?;
        warnings(agent);
    }
    if let [one] = all.as_slice() {
        note!("next: cofferdam agent ask {} \"...\"", word(one, "id"));
    }
    Ok(())
}

/// Tells what is no error, and may not be meant.
pub(super) fn warnings(agent: &Value) {
    let warnings = agent.get("warnings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for warning in warnings.iter().filter_map(Value::as_str) {
        note!("  warning: {warning}");
    }
}

fn numbered(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_u64)
        .map_or_else(|| "no version".to_owned(), |number| format!("version {number}"))
}

pub(super) async fn versions(server: &Server, args: &Versions) -> anyhow::Result<()> {
    let (mut all, mut before) = (Vec::new(), String::new());
    loop {
        let mut page: Value = server.get(&format!("{}/versions?limit=200{before}", path(&args.which.id))).await?;
        let found = page.get_mut("versions").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        all.extend(found);
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    if args.output.json {
        return print_json(&json!({ "versions": all }));
    }
    let row = |version: &Value| {
        vec![
            version.get("version").and_then(Value::as_u64).map(|number| format!("v{number}")).unwrap_or_default(),
            word(version, "status").to_owned(),
            second(word(version, "created_at")),
            word(version, "digest").chars().take(12).collect(),
            word(version, "created_by").to_owned(),
            word(version, "note").to_owned(),
        ]
    };
    table::print(&["VERSION", "STATE", "CREATED", "DIGEST", "BY", "NOTE"], &all.iter().map(row).collect::<Vec<_>>())
}

pub(super) async fn diff(server: &Server, args: &Diff) -> anyhow::Result<()> {
    let mut query = Vec::new();
    for (name, version) in [("from", args.from), ("to", args.to)] {
        query.extend(version.map(|version| format!("{name}={version}")));
    }
    let answer: Value = server.get(&format!("{}/diff?{}", path(&args.which.id), query.join("&"))).await?;
    if args.output.json {
        return print_json(&answer);
    }
    difference(&answer).print()
}

fn difference(answer: &Value) -> Page {
    let mut out = Page::default();
    put!(out, "{}: from {} to {}", "agent", numbered(answer, "from"), numbered(answer, "to"));
    let changes = answer.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        put!(out, "  nothing differs");
    }
    for change in changes {
        put!(out, "{}", word(change, "field"));
        for (mark, name) in [("-", "from"), ("+", "to")] {
            match change.get(name) {
                None => {}
                // Instructions are read line by line.
                Some(Value::String(text)) if text.contains('\n') => {
                    text.lines().for_each(|line| put!(out, "  {mark} {line}"));
                }
                Some(value) => {
                    let text = value.to_string();
                    let short: String = text.chars().take(MAX_VALUE).collect();
                    put!(out, "  {mark} {short}{}", if short.len() < text.len() { "..." } else { "" });
                }
            }
        }
    }
    out
}

pub(super) async fn activate(server: &Server, args: &Activate) -> anyhow::Result<()> {
    let body = match args.version {
        Some(version) => json!({ "version": version }),
        None => json!({}),
    };
    let url = format!("{}/activate", path(&args.which.id));
    let agent: Value = read(&server.send(Method::POST, &url, serde_json::to_vec(&body)?).await?)?;
    if args.output.json {
        return print_json(&agent);
    }
    note!("{}: {} is active", args.which.id, numbered(&agent, "active_version"));
    Ok(())
}

pub(super) async fn deactivate(server: &Server, args: &Deactivate) -> anyhow::Result<()> {
    let url = format!("{}/deactivate", path(&args.which.id));
    let agent: Value = read(&server.send(Method::POST, &url, Vec::new()).await?)?;
    if args.output.json {
        return print_json(&agent);
    }
    let id = &args.which.id;
    note!("{id}: is switched off; `cofferdam agent activate {id}` switches it on again");
    Ok(())
}

pub(super) async fn export(server: &Server, args: &Export) -> anyhow::Result<()> {
    let format = if args.format == Format::Json { "json" } else { "yaml" };
    let version = args.version.map(|version| format!("&version={version}")).unwrap_or_default();
    let url = format!("{}/export?format={format}{version}", path(&args.which.id));
    let answer = call(server.request(Method::GET, &url)).await?;
    if args.format == Format::Json {
        return print_json(&read::<Value>(&answer)?);
    }
    let text = String::from_utf8_lossy(&answer);
    // A file is exact; on a terminal, what it would obey is shown.
    let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    print(&if on_terminal { json_text(&text) } else { text.into_owned() })
}

/// A serverless agent with its definition.
pub(super) fn page(agent: &Value) -> Page {
    let mut out = Page::default();
    let of = |name: &str| agent.get(name).and_then(Value::as_u64);
    let (id, status) = (word(agent, "id"), word(agent, "status"));
    let version = of("version").map(|version| format!(", version {version}")).unwrap_or_default();
    put!(out, "{id}  {status}{version}  {}", word(agent, "name"));
    if let (Some(draft), Some(_)) = (of("draft_version"), of("active_version")) {
        put!(out, "  version {draft} is a draft: cofferdam agent diff {id}; cofferdam agent activate {id} {draft}");
    }
    if !word(agent, "description").is_empty() {
        put!(out, "  {}", word(agent, "description"));
    }
    put!(out, "  model  {}", if word(agent, "model").is_empty() { "default" } else { word(agent, "model") });
    let tools = agent.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> =
        tools.iter().filter_map(|tool| tool.as_str().or_else(|| tool.get("name")?.as_str())).collect();
    if !names.is_empty() {
        put!(out, "  tools  {}", names.join(", "));
    }
    for name in ["limits", "approvals", "memory", "output_schema"] {
        let value = agent.get(name).filter(|value| !value.is_null() && **value != json!({}) && **value != json!([]));
        if let Some(value) = value {
            put!(out, "  {name}  {value}");
        }
    }
    if !word(agent, "instructions").is_empty() {
        put!(out);
        word(agent, "instructions").lines().for_each(|line| put!(out, "  {line}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_by_field() {
        let answer = json!({"from": 1, "to": 2, "changes": [
            {"field": "instructions", "from": "a\nb\u{1b}[2J", "to": "c"},
            {"field": "tools[1]", "to": "run_code"}]});
        assert_eq!(
            difference(&answer).as_str(),
            "agent: from version 1 to version 2\ninstructions\n  - a\n  - b\\u{1b}[2J\n  + \"c\"\ntools[1]\n  + \"run_code\"\n"
        );
        assert!(difference(&json!({"from": 1, "to": 1, "changes": []})).as_str().contains("nothing differs"));
    }

    #[test]
    fn a_definition_is_shown_without_what_a_terminal_would_obey() {
        let agent = json!({"id": "a", "name": "A", "status": "ACTIVE", "version": 2, "active_version": 2, "draft_version": 3,
            "tools": ["run_code", {"name": "mcp:docs", "only": ["search"]}], "limits": {"steps": 5}, "approvals": [],
            "instructions": "Help.\nb  ACTIVE\u{202e}"});
        let shown = page(&agent);
        for part in [
            "a  ACTIVE, version 2  A\n",
            "version 3 is a draft",
            "  model  default\n",
            "  tools  run_code, mcp:docs\n",
            "  limits  {\"steps\":5}\n",
            "\n  Help.\n  b  ACTIVE\\u{202e}\n",
        ] {
            assert!(shown.as_str().contains(part), "{part:?} in {}", shown.as_str());
        }
        assert!(!shown.as_str().contains("approvals"));
    }
}
