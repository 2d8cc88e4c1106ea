//! `cofferdam audit`: a page of the audit log.

pub(crate) mod args;

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use crate::client::{Server, block_on, find, segment};
use crate::key::field;
use crate::terminal::{json as print_json, note};
use crate::{Machine, table};
use args::Audit;

/// The longest detail in a table, in characters.
const MAX_DETAIL: usize = 80;

pub(crate) fn main(args: &Audit, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    block_on(show(&server, args))?;
    Ok(ExitCode::SUCCESS)
}

async fn show(server: &Server, args: &Audit) -> anyhow::Result<()> {
    let answer: Value = server.get(&path(args)).await?;
    if args.output.json {
        return print_json(&answer);
    }
    let entries = answer.get("entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let heads = ["AT", "KEY", "ACTION", "TARGET", "OUTCOME", "ADDRESS", "DETAIL"];
    table::print(&heads, &entries.iter().map(row).collect::<Vec<_>>())?;
    if entries.is_empty() {
        note!("There is no such entry.");
    }
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        note!("There are more: --before {next}");
    }
    Ok(())
}

fn path(args: &Audit) -> String {
    let mut path = format!("/v1/audit?limit={}", args.limit);
    for (name, value) in
        [("action", &args.action), ("key", &args.key), ("before", &args.before), ("after", &args.after)]
    {
        if let Some(value) = value {
            let _ = write!(path, "&{name}={}", segment(value));
        }
    }
    path
}

fn row(entry: &Value) -> Vec<String> {
    let detail = entry.get("detail").filter(|detail| detail.as_object().is_some_and(|fields| !fields.is_empty()));
    let detail: String = detail.map(ToString::to_string).unwrap_or_default().chars().take(MAX_DETAIL).collect();
    let mut row: Vec<String> =
        ["at", "key", "action", "target", "outcome", "address"].iter().map(|name| field(entry, name)).collect();
    row.push(detail);
    row
}
