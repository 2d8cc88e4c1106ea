//! A tool as text: functions, grants, limits, versions.

use std::fmt::Write as _;

use cofferdam_contract::grants::FOLDER;
use serde_json::Value;

use super::grants;
use super::wire::ToolInfo;

/// The first digits of a digest, enough to tell versions apart.
pub(super) fn short(version: &str) -> String {
    version.strip_prefix("sha256:").unwrap_or(version).chars().take(12).collect()
}

pub(super) fn text(tool: &ToolInfo) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, tool);
    out
}

fn write(out: &mut String, tool: &ToolInfo) -> std::fmt::Result {
    writeln!(out, "{}  {}  (deployment {})", tool.name, tool.version, tool.number)?;
    if !tool.source.is_empty() {
        writeln!(out, "  from {}", tool.source)?;
    }
    for function in &tool.functions {
        let description = function.description.lines().next().unwrap_or_default();
        writeln!(out, "\n  {}({})", function.name, parameters(&function.input_schema))?;
        if !description.is_empty() {
            writeln!(out, "      {description}")?;
        }
    }
    writeln!(out, "\ngrants")?;
    let lines = grants::lines(&tool.grants);
    if lines.is_empty() {
        writeln!(out, "  none: no network, no storage, no secrets, no other tools")?;
    }
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    if let Some(folder) = &tool.folder {
        writeln!(out, "  {FOLDER} has {} bytes now", folder.bytes)?;
    }
    if !tool.limited_by.is_empty() {
        writeln!(out, "\nrequested but not granted")?;
    }
    for limited in &tool.limited_by {
        writeln!(out, "  {}: {} ({})", limited.grant, limited.detail, limited.by)?;
    }
    let limits = &tool.limits;
    writeln!(
        out,
        "\nlimits\n  {} ms wall, {} ms CPU, {} MiB memory",
        limits.wall_ms,
        limits.cpu_ms,
        limits.memory_bytes >> 20
    )?;
    for warning in &tool.warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    if tool.versions.len() > 1 {
        writeln!(out, "\nversions")?;
    }
    for version in tool.versions.iter().filter(|_| tool.versions.len() > 1) {
        let mark = if version.current { "serves" } else { "" };
        writeln!(out, "  {:>4}  {}  {mark}", version.number, version.version)?;
    }
    Ok(())
}

/// The parameters' names and types.
fn parameters(schema: &Value) -> String {
    let properties = schema["properties"].as_object();
    let one = |(name, schema): (&String, &Value)| match schema["type"].as_str() {
        Some(kind) => format!("{name}: {kind}"),
        None => name.clone(),
    };
    properties.into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}
