//! Checks if a definition can be used: bounds, names, patterns. A tool or a model that does not exist yet is no error.

use cofferdam_contract::AgentId;
use cofferdam_contract::Problem;
use cofferdam_contract::work::{AgentDefinition, AgentLimits, ApprovalRule, ToolEntry};
use serde_json::Value;

/// The longest instructions, in bytes.
pub const MAX_INSTRUCTIONS_BYTES: usize = 256 << 10;
const MAX_DESCRIPTION_CHARS: usize = 2_000;
const MAX_NAME_CHARS: usize = 200;
const MAX_TOOLS: usize = 128;
const MAX_RULES: usize = 100;
const MAX_RULE_ARGUMENTS: usize = 32;
/// The longest name or pattern, in characters.
const MAX_PATTERN_CHARS: usize = 200;
const MAX_SCHEMA_BYTES: usize = 64 << 10;
const MAX_SCHEMA_DEPTH: usize = 32;
const MAX_METADATA: usize = 32;
const MAX_TIMEOUT_S: u64 = 30 * 86_400;

fn refuse(field: &str, why: &str) -> Result<(), Problem> {
    Err(Problem::invalid(format!("{field}: {why}")))
}

fn text(field: &str, text: &str, most: usize) -> Result<(), Problem> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.chars().count() > most || text.chars().any(bad) {
        return refuse(field, &format!("at most {most} characters, no control characters"));
    }
    Ok(())
}

/// A name or pattern of one line.
fn line(field: &str, text: &str) -> Result<(), Problem> {
    if text.is_empty() || text.chars().count() > MAX_PATTERN_CHARS || text.chars().any(char::is_control) {
        return refuse(field, &format!("1 to {MAX_PATTERN_CHARS} characters, no control characters"));
    }
    Ok(())
}

/// Checks a definition.
///
/// # Errors
/// [`Problem::invalid`] that names the field and says what is allowed.
pub fn check(definition: &AgentDefinition) -> Result<(), Problem> {
    text("description", &definition.description, MAX_DESCRIPTION_CHARS)?;
    if definition.instructions.len() > MAX_INSTRUCTIONS_BYTES {
        refuse("instructions", &format!("at most {MAX_INSTRUCTIONS_BYTES} bytes of text"))?;
    }
    text("instructions", &definition.instructions, MAX_INSTRUCTIONS_BYTES)?;
    if let Some(model) = &definition.model {
        line("model", model)?;
    }
    if definition.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        refuse("temperature", "0 to 2")?;
    }
    if definition.context_window.is_some_and(|window| !(1_000..=100_000_000).contains(&window)) {
        refuse("context_window", "1,000 to 100,000,000 tokens")?;
    }
    if definition.output_repairs.is_some_and(|repairs| repairs > 10) {
        refuse("output_repairs", "0 to 10")?;
    }
    if definition.tools.len() > MAX_TOOLS {
        refuse("tools", &format!("at most {MAX_TOOLS}"))?;
    }
    for (at, entry) in definition.tools.iter().enumerate() {
        check_tool(&format!("tools[{at}]"), entry)?;
    }
    check_limits(&definition.limits)?;
    if definition.approvals.len() > MAX_RULES {
        refuse("approvals", &format!("at most {MAX_RULES} rules"))?;
    }
    for (at, rule) in definition.approvals.iter().enumerate() {
        check_rule(&format!("approvals[{at}]"), rule)?;
    }
    if let Some(schema) = &definition.output_schema {
        check_schema("output_schema", schema)?;
    }
    if definition.memory.recalled.is_some_and(|recalled| recalled > 200) {
        refuse("memory.recalled", "0 to 200")?;
    }
    if definition.memory.history == Some(0) {
        refuse("memory.history", "at least 1 message")?;
    }
    if definition.metadata.len() > MAX_METADATA {
        refuse("metadata", &format!("at most {MAX_METADATA} entries"))?;
    }
    for (name, value) in &definition.metadata {
        line("metadata", name)?;
        text("metadata", value, 2_000)?;
    }
    Ok(())
}

/// Checks an agent's name.
///
/// # Errors
/// [`Problem::invalid`].
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return refuse("name", &format!("1 to {MAX_NAME_CHARS} characters, no control characters"));
    }
    Ok(())
}

fn check_tool(field: &str, entry: &ToolEntry) -> Result<(), Problem> {
    let name = entry.name();
    line(field, name)?;
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !name.is_empty();
    let known = match name.split_once(':') {
        Some(("agent", id)) => AgentId::parse(id).is_ok(),
        Some(("mcp", connector)) => plain(connector),
        Some(_) => false,
        None => plain(name),
    };
    if !known {
        refuse(field, "use run_code, TOOL, TOOL-FUNCTION, mcp:CONNECTOR or agent:ID")?;
    }
    let ToolEntry::Options(options) = entry else { return Ok(()) };
    if let Some(only) = &options.only {
        if only.is_empty() || only.len() > MAX_TOOLS {
            refuse(&format!("{field}.only"), &format!("1 to {MAX_TOOLS} patterns"))?;
        }
        only.iter().try_for_each(|pattern| line(&format!("{field}.only"), pattern))?;
    }
    if options.rename.len() > MAX_TOOLS {
        refuse(&format!("{field}.rename"), &format!("at most {MAX_TOOLS} names"))?;
    }
    for (old, new) in &options.rename {
        line(&format!("{field}.rename"), old)?;
        let fits =
            (1..=64).contains(&new.len()) && new.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !fits {
            refuse(&format!("{field}.rename"), "new names are 1 to 64 of letters, digits, `_` and `-`")?;
        }
    }
    if let Some(description) = &options.description {
        text(&format!("{field}.description"), description, MAX_DESCRIPTION_CHARS)?;
    }
    if options.timeout_s.is_some_and(|timeout| !(1..=86_400).contains(&timeout)) {
        refuse(&format!("{field}.timeout_s"), "1 to 86,400 seconds")?;
    }
    Ok(())
}

fn check_limits(limits: &AgentLimits) -> Result<(), Problem> {
    let within = |field: &str, value: Option<u64>, least: u64, most: u64| match value {
        Some(value) if !(least..=most).contains(&value) => {
            refuse(&format!("limits.{field}"), &format!("{least} to {most}"))
        }
        _ => Ok(()),
    };
    within("steps", limits.steps.map(u64::from), 1, 1_000)?;
    within("tokens", limits.tokens, 1, 1_000_000_000_000)?;
    within("wall_s", limits.wall_s, 1, 86_400)?;
    within("depth", limits.depth.map(u64::from), 0, 8)?;
    within("parallel", limits.parallel.map(u64::from), 1, 32)?;
    within("max_output_tokens", limits.max_output_tokens, 1, 10_000_000)?;
    within("attempts", limits.attempts.map(u64::from), 1, 20)?;
    within("concurrency", limits.concurrency.map(u64::from), 1, 100_000)?;
    if let Some(cost) = &limits.cost_usd
        && nano_dollars(cost).is_none_or(|cost| cost == 0)
    {
        refuse(
            "limits.cost_usd",
            "dollars as decimal text, such as \"0.50\", above 0, at most 9 places after the point",
        )?;
    }
    Ok(())
}

/// Dollars as decimal text in nano-dollars.
pub(crate) fn nano_dollars(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(part)
}

fn check_rule(field: &str, rule: &ApprovalRule) -> Result<(), Problem> {
    if let Some(tool) = &rule.tool {
        line(&format!("{field}.tool"), tool)?;
    }
    if rule.arguments.len() > MAX_RULE_ARGUMENTS {
        refuse(&format!("{field}.arguments"), &format!("at most {MAX_RULE_ARGUMENTS}"))?;
    }
    for (pointer, pattern) in &rule.arguments {
        if !pointer.starts_with('/') || pointer.len() > MAX_PATTERN_CHARS || pointer.chars().any(char::is_control) {
            refuse(&format!("{field}.arguments"), "names are JSON pointers, such as /path or /to/0")?;
        }
        line(&format!("{field}.arguments"), pattern)?;
    }
    if rule.timeout_s.is_some_and(|timeout| !(1..=MAX_TIMEOUT_S).contains(&timeout)) {
        refuse(&format!("{field}.timeout_s"), &format!("1 to {MAX_TIMEOUT_S} seconds"))?;
    }
    if let Some(message) = &rule.message {
        text(&format!("{field}.message"), message, MAX_DESCRIPTION_CHARS)?;
    }
    Ok(())
}

/// Checks a JSON Schema: an object, of bounded size and depth, without references to other documents.
///
/// # Errors
/// [`Problem::invalid`] that names the field.
pub(crate) fn check_schema(field: &str, schema: &Value) -> Result<(), Problem> {
    if !schema.is_object() {
        return refuse(field, "a JSON Schema is an object");
    }
    if schema.to_string().len() > MAX_SCHEMA_BYTES {
        return refuse(field, &format!("at most {MAX_SCHEMA_BYTES} bytes"));
    }
    walk(field, schema, 0)
}

fn walk(field: &str, value: &Value, depth: usize) -> Result<(), Problem> {
    if depth > MAX_SCHEMA_DEPTH {
        return refuse(field, &format!("at most {MAX_SCHEMA_DEPTH} levels deep"));
    }
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if name == "$ref" && value.as_str().is_some_and(|to| !to.starts_with('#')) {
                return refuse(field, "`$ref` may only lead to a place in the schema itself: begin it with #");
            }
            walk(field, value, depth + 1)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| walk(field, item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(definition: Value) -> String {
        match serde_json::from_value::<AgentDefinition>(definition) {
            Ok(definition) => check(&definition).err().map_or_else(String::new, |problem| problem.detail),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = json!({"instructions": "Help.", "model": "m", "tools": ["run_code", "hash-digest", "mcp:github", "agent:a-1",
            {"name": "mcp:x", "only": ["read_*"], "rename": {"a": "b"}, "repeatable": true}],
            "limits": {"steps": 5, "cost_usd": "0.50"},
            "approvals": [{"tool": "mcp*", "arguments": {"/path": "/etc/*"}, "effect": "deny"}],
            "output_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}});
        assert_eq!(problem(good), "");
        let mut deep = json!({});
        for _ in 0..40 {
            deep = json!({ "items": deep });
        }
        for (bad, field) in [
            (json!({"instructions": "x".repeat(MAX_INSTRUCTIONS_BYTES + 1)}), "instructions"),
            (json!({"instructions": "a\0b"}), "instructions"),
            (json!({"instructions": "a\u{1b}[2Jb"}), "instructions"),
            (json!({"approvals": [{"arguments": {"/a\u{7}": "x"}}]}), "approvals[0].arguments"),
            (json!({"model": ""}), "model"),
            (json!({"temperature": 3.0}), "temperature"),
            (json!({"tools": ["http:evil"]}), "tools[0]"),
            (json!({"tools": ["run_code", "agent:Über"]}), "tools[1]"),
            (json!({"tools": [{"name": "mcp:a", "only": []}]}), "tools[0].only"),
            (json!({"tools": [{"name": "mcp:a", "rename": {"a": "b c"}}]}), "tools[0].rename"),
            (json!({"limits": {"steps": 0}}), "limits.steps"),
            (json!({"limits": {"cost_usd": "0"}}), "limits.cost_usd"),
            (json!({"limits": {"cost_usd": "-1"}}), "limits.cost_usd"),
            (json!({"limits": {"depth": 9}}), "limits.depth"),
            (json!({"approvals": [{"arguments": {"path": "x"}}]}), "approvals[0].arguments"),
            (json!({"approvals": [{"timeout_s": 0}]}), "approvals[0].timeout_s"),
            (json!({"output_schema": []}), "output_schema"),
            (json!({"output_schema": {"$ref": "http://x/y"}}), "output_schema"),
            (json!({"output_schema": deep}), "output_schema"),
            (json!({"colour": 1}), "unknown field `colour`"),
            (json!({"limits": {"step": 1}}), "unknown field `step`"),
        ] {
            let said = problem(bad.clone());
            assert!(said.starts_with(field), "{said:?} for {bad}");
        }
    }

    #[test]
    fn dollars_are_exact() {
        for (text, nano) in [
            ("0.5", Some(500_000_000)),
            ("12", Some(12_000_000_000)),
            ("0.000000001", Some(1)),
            ("1.0000000001", None),
            ("1e3", None),
            ("", None),
            (".5", None),
            ("9999999999", None),
        ] {
            assert_eq!(nano_dollars(text), nano, "{text}");
        }
    }
}
