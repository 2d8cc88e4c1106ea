//! A tool as text: functions, grants, limits, versions.

use cofferdam_contract::grants::FOLDER;
use serde_json::Value;

use super::grants;
use super::wire::ToolInfo;
use crate::terminal::{Page, put};

/// The first digits of a digest, enough to tell versions apart.
pub(super) fn short(version: &str) -> String {
    version.strip_prefix("sha256:").unwrap_or(version).chars().take(12).collect()
}

pub(super) fn page(tool: &ToolInfo) -> Page {
    let mut out = Page::default();
    put!(out, "{}  {}  (deployment {})", tool.name, tool.version, tool.number);
    if !tool.source.is_empty() {
        put!(out, "  from {}", tool.source);
    }
    for function in &tool.functions {
        let description = function.description.lines().next().unwrap_or_default();
        put!(out);
        put!(out, "  {}({})", function.name, parameters(&function.input_schema));
        if !description.is_empty() {
            put!(out, "      {description}");
        }
    }
    heading(&mut out, "grants");
    let lines = grants::lines(&tool.grants);
    if lines.is_empty() {
        put!(out, "  none: no network, no storage, no secrets, no other tools");
    }
    for line in lines {
        put!(out, "  {line}");
    }
    if let Some(folder) = &tool.folder {
        put!(out, "  {FOLDER} has {} bytes now", folder.bytes);
    }
    if !tool.limited_by.is_empty() {
        heading(&mut out, "requested but not granted");
    }
    for limited in &tool.limited_by {
        put!(out, "  {}: {} ({})", limited.grant, limited.detail, limited.by);
    }
    let limits = &tool.limits;
    heading(&mut out, "limits");
    put!(out, "  {} ms wall, {} ms CPU, {} MiB memory", limits.wall_ms, limits.cpu_ms, limits.memory_bytes >> 20);
    for warning in &tool.warnings {
        heading(&mut out, &format!("warning: {warning}"));
    }
    if tool.versions.len() > 1 {
        heading(&mut out, "versions");
        for version in &tool.versions {
            let mark = if version.current { "serves" } else { "" };
            put!(out, "  {:>4}  {}  {mark}", version.number, version.version);
        }
    }
    out
}

fn heading(out: &mut Page, text: &str) {
    put!(out);
    put!(out, "{text}");
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
