//! `cofferdam model usage`: what was used, or the last calls, as a table, JSON or CSV.

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

/// The heads of single calls, each with the field of a record.
const CALLS: [(&str, &str); 11] = [
    ("AT", "at"),
    ("MODEL", "model"),
    ("UPSTREAM", "upstream"),
    ("SERVED", "served"),
    ("ENDING", "ending"),
    ("IN", "input_tokens"),
    ("CACHED", "cached_tokens"),
    ("OUT", "output_tokens"),
    ("DOLLARS", "cost_usd"),
    ("MS", "wall_ms"),
    ("ID", "id"),
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
    if args.calls {
        let found = answer.get("calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        table::print(&CALLS.map(|(head, _)| head), &calls(found))?;
        if found.is_empty() {
            note!("No model was called in this time.");
        }
        return Ok(());
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
    let mut path = match args.calls {
        true => format!("/v1/usage/calls?from={from}&limit={}", args.limit),
        false => {
            let groups: Vec<String> = args.by.iter().map(|by| segment(by)).collect();
            format!("/v1/usage?from={from}&group_by={}", groups.join(","))
        }
    };
    for (name, value) in [("model", &args.model), ("served", &args.served), ("key", &args.key), ("agent", &args.agent)]
    {
        if let Some(value) = value {
            let _ = write!(path, "&{name}={}", segment(value));
        }
    }
    if args.csv {
        path.push_str("&format=csv");
    }
    path
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    }
}

/// The cells of the table of single calls.
pub(super) fn calls(found: &[Value]) -> Vec<Vec<String>> {
    found.iter().map(|call| CALLS.iter().map(|(_, field)| text(call.get(field))).collect()).collect()
}

/// The cells of the table of sums.
pub(super) fn rows(found: &[Value], by: &[String]) -> Vec<Vec<String>> {
    let row = |row: &Value| {
        let groups = by.iter().map(|by| text(row.get("group").and_then(|group| group.get(by))));
        groups.chain(SUMS.map(|(_, field)| text(row.get(field)))).collect()
    };
    found.iter().map(row).collect()
}
