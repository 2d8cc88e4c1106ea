//! Environments as text.

use serde_json::Value;

use crate::terminal::{Page, put};

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool) == Some(true)
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

pub(super) fn row(environment: &Value) -> Vec<String> {
    vec![
        word(environment, "name").to_owned(),
        // One that does not open is neither.
        match word(environment, "state") {
            "" | "usable" if is(environment, "has_cluster") => "yes",
            "" | "usable" => "none",
            state => state,
        }
        .to_owned(),
        or(word(environment, "namespace"), "cofferdam-agents").to_owned(),
        or(word(environment, "architecture"), "amd64").to_owned(),
        or(word(environment, "images"), "-").to_owned(),
    ]
}

/// Every setting on a line of its own. Secrets are shown as set or not.
pub(super) fn page(environment: &Value) -> Page {
    let mut out = Page::default();
    let from = if is(environment, "built_in") { "  from the server's own settings" } else { "" };
    put!(out, "{}{from}", word(environment, "name"));
    let mut line = |name: &str, value: &str| put!(out, "  {name:<20}  {value}");
    for (name, set) in [("cluster", "has_cluster"), ("password", "has_password")] {
        line(name, if is(environment, set) { "set" } else { "none" });
    }
    let Some(all) = environment.as_object() else { return out };
    for (name, value) in all {
        if matches!(name.as_str(), "name" | "built_in" | "has_cluster" | "has_password" | "created_at" | "updated_at") {
            continue;
        }
        let shown = match value {
            Value::String(text) if text.contains('\n') => format!("{} lines", text.lines().count()),
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(item).collect::<Vec<_>>().join(" "),
            Value::Object(fields) => {
                let each = fields.iter().filter(|(_, value)| !value.is_null());
                each.map(|(name, value)| format!("{name}={}", item(value))).collect::<Vec<_>>().join(" ")
            }
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) | Value::Null => String::new(),
            Value::Number(number) => number.to_string(),
        };
        if !shown.is_empty() {
            line(name, &shown);
        }
    }
    out
}

fn item(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(item).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A line for each check of a test.
pub(super) fn checks(answer: &Value) -> Vec<String> {
    let all = answer.get("checks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let width = all.iter().map(|check| word(check, "about").chars().count()).max().unwrap_or(0);
    let line = |check: &Value| {
        let (outcome, about) = (word(check, "outcome"), word(check, "about"));
        format!("{outcome:<7}  {about:<width$}  {}", word(check, "detail"))
    };
    all.iter().map(line).collect()
}
