//! Agents as text: the serving version, all versions, the cause of a failure.

use std::fmt::Write as _;

use cofferdam_contract::{DeploymentState, Progress};
use serde_json::Value;

use crate::terminal::plain;

pub(super) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: Option<&Value>) -> String {
    let number = value.and_then(|deployment| deployment.get("number")).and_then(Value::as_u64);
    number.map_or_else(|| "-".to_owned(), |number| format!("v{number}"))
}

pub(super) fn row(agent: &Value) -> Vec<String> {
    let state = match word(agent, "state") {
        _ if agent.get("deleting").and_then(Value::as_bool) == Some(true) => "deleting",
        "" => "-",
        state => state,
    };
    vec![
        word(agent, "id").to_owned(),
        state.to_owned(),
        number(agent.get("serving")),
        number(agent.get("latest")),
        word(agent, "environment").to_owned(),
    ]
}

pub(super) fn text(agent: &Value, versions: &Value) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, agent, versions);
    out
}

fn write(out: &mut String, agent: &Value, versions: &Value) -> std::fmt::Result {
    let [id, state, serves, ..] = row(agent).try_into().unwrap_or_else(|_| <[String; 5]>::default());
    writeln!(out, "{id}  {state}  in {}", word(agent, "environment"))?;
    if let Some(serving) = agent.get("serving").filter(|serving| serving.is_object()) {
        writeln!(out, "  serves {serves}: {}", word(serving, "image"))?;
    }
    let versions = versions.get("deployments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if versions.is_empty() {
        return writeln!(out, "\nnothing is deployed yet: cofferdam deploy IMAGE --agent {id}");
    }
    writeln!(out, "\nversions")?;
    for version in versions {
        let digest = word(version, "digest").strip_prefix("sha256:").unwrap_or_default();
        let digest: String = digest.chars().take(12).collect();
        writeln!(
            out,
            "  {:>5}  {:<9}  {digest:<12}  {}",
            number(Some(version)),
            word(version, "state"),
            plain(word(version, "detail"))
        )?;
    }
    let progress = |version: &Value| DeploymentState::parse(word(version, "state")).map(DeploymentState::progress);
    let failed = agent.get("latest").filter(|latest| progress(latest) == Some(Progress::Failed));
    let lines = failed.and_then(|latest| latest.get("last_lines")).and_then(Value::as_array);
    if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
        writeln!(out, "\nlast lines of {}", number(failed))?;
        for line in lines.iter().filter_map(Value::as_str) {
            writeln!(out, "  {}", plain(line))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_is_told_with_what_failed() {
        let failed = json!({"number": 2, "state": "Failed", "digest": "sha256:abcdefabcdefabcdef", "detail": "exit code 3",
            "last_lines": ["Traceback", "boom\u{1b}[2J"]});
        let up = json!({"number": 1, "state": "Up", "image": "r.example/a@sha256:00"});
        let agent = json!({"id": "a", "state": "Up", "environment": "local", "serving": up, "latest": failed});
        let shown = text(&agent, &json!({"deployments": [failed, up]}));
        for part in
            ["a  Up  in local", "serves v1: r.example", "v2  Failed     abcdefabcdef  exit code 3", "boom\u{fffd}[2J"]
        {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        assert_eq!(row(&json!({"id": "b"})), ["b", "-", "-", "-", ""]);
        assert!(text(&json!({"id": "b"}), &json!({})).contains("cofferdam deploy IMAGE --agent b"));
    }
}
