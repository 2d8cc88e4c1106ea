//! `cofferdam model usage`: what was used, as a table, JSON or CSV.

use std::fmt::Write as _;

use http::Method;
use serde_json::Value;

use super::args::Usage;
use crate::client::{Server, call, read, segment};
use crate::table;
use crate::terminal::{json as print_json, note, print};
use crate::times::now_ms;

/// The heads behind the groups, each with the field of a row.
const SUMS: [(&str, &str); 7] = [
    ("REQUESTS", "requests"),
    ("ERRORS", "errors"),
    ("IN", "input_tokens"),
    ("CACHED", "cached_tokens"),
    ("OUT", "output_tokens"),
    ("DOLLARS", "cost_usd"),
    ("AVG MS", "wall_avg_ms"),
];

pub(super) async fn usage(server: &Server, args: &Usage) -> anyhow::Result<()> {
    let path = path(args, now_ms());
    let answer = call(server.request(Method::GET, &path)).await?;
    if args.csv {
        return print(&String::from_utf8_lossy(&answer));
    }
    let answer: Value = read(&answer)?;
    if args.output.json {
        return print_json(&answer);
    }
    let found = answer.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let heads: Vec<String> = args.by.iter().map(|by| by.to_uppercase()).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).chain(SUMS.map(|(head, _)| head)).collect();
    table::print(&heads, &rows(found, &args.by))?;
    if found.is_empty() {
        note!("No model was called in this time.");
    }
    if let Some(left) = answer.get("left_out").and_then(Value::as_u64).filter(|left| *left > 0) {
        note!("{left} more rows are left out; ask for less time or fewer groups.");
    }
    Ok(())
}

/// The path with the question.
pub(super) fn path(args: &Usage, now_ms: i64) -> String {
    let from = now_ms.div_euclid(1_000).saturating_sub(args.since.0);
    let groups: Vec<String> = args.by.iter().map(|by| segment(by)).collect();
    let mut path = format!("/v1/usage?from={from}&group_by={}", groups.join(","));
    for (name, value) in [("served", &args.model), ("key", &args.key), ("agent", &args.agent)] {
        if let Some(value) = value {
            let _ = write!(path, "&{name}={}", segment(value));
        }
    }
    if args.csv {
        path.push_str("&format=csv");
    }
    path
}

/// The cells of the table.
pub(super) fn rows(found: &[Value], by: &[String]) -> Vec<Vec<String>> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    let row = |row: &Value| {
        let groups = by.iter().map(|by| text(row.get("group").and_then(|group| group.get(by))));
        groups.chain(SUMS.map(|(_, field)| text(row.get(field)))).collect()
    };
    found.iter().map(row).collect()
}
