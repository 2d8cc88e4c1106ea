//! A tool as text: what it offers, what it may do, who limited what.

use std::fmt::Write as _;

use cofferdam_contract::grants::{FOLDER, Grants, HttpGrant};
use cofferdam_controller::services::tools::ToolInfo;
use serde_json::Value;

/// The first digits of a digest, enough to tell versions apart.
pub fn short(version: &str) -> String {
    version.strip_prefix("sha256:").unwrap_or(version).chars().take(12).collect()
}

pub fn text(tool: &ToolInfo) -> String {
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
    let lines = grants(&tool.grants);
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
        writeln!(out, "\nasked for and not given")?;
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

/// The parameters by name and kind.
fn parameters(schema: &Value) -> String {
    let properties = schema["properties"].as_object();
    let one = |(name, schema): (&String, &Value)| match schema["type"].as_str() {
        Some(kind) => format!("{name}: {kind}"),
        None => name.clone(),
    };
    properties.into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

fn http(grant: &HttpGrant) -> String {
    let methods = grant.methods.as_ref().map(|methods| format!("{} ", methods.join("|"))).unwrap_or_default();
    let mut text = format!("HTTP to {methods}{}{}", grant.host, grant.path_prefix.as_deref().unwrap_or_default());
    for (what, size) in [
        ("request bytes", grant.max_request_bytes),
        ("response bytes", grant.max_response_bytes),
        ("ms", grant.timeout_ms),
    ] {
        if let Some(size) = size {
            text.push_str(&format!(", at most {size} {what}"));
        }
    }
    text
}

fn grants(grants: &Grants) -> Vec<String> {
    let mut lines: Vec<String> = grants.http.iter().map(http).collect();
    lines.extend(grants.secrets.iter().map(|s| format!("secret {} in ${}", s.name, s.variable())));
    if let Some(kv) = &grants.keyvalue {
        lines.push(format!("key-value storage, {} keys, {} bytes", kv.max_keys, kv.max_bytes));
    }
    if let Some(files) = &grants.files {
        let mode = if files.read_only { "read only" } else { "read and write" };
        lines.push(format!(
            "a folder of its own ({FOLDER}), {mode}, {} files, {} bytes",
            files.max_files, files.max_bytes
        ));
    }
    lines.extend(grants.tools.iter().map(|name| format!("call the tool {name}")));
    if let Some(llm) = &grants.llm {
        let models = llm.models.join(", ");
        lines.push(format!("models {models}, {} tokens, {} requests a call", llm.max_tokens, llm.max_requests));
    }
    if !grants.config.is_empty() {
        lines.push(format!("configuration: {}", grants.config.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    lines
}
