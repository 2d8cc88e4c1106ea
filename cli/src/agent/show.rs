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

/// Doubts about a state: the cluster does not answer, or the version is not ready now.
fn doubt(deployment: Option<&Value>) -> &'static str {
    let since = |name: &str| deployment.and_then(|deployment| deployment.get(name)).is_some_and(Value::is_number);
    if since("unreachable_since_ms") {
        " (unreachable)"
    } else if since("not_ready_since_ms") {
        " (not ready)"
    } else {
        ""
    }
}

pub(super) fn row(agent: &Value) -> Vec<String> {
    let state = match word(agent, "state") {
        _ if agent.get("deleting").and_then(Value::as_bool) == Some(true) => "deleting".to_owned(),
        "" => "-".to_owned(),
        state => format!("{state}{}", doubt(agent.get("serving").or_else(|| agent.get("latest")))),
    };
    vec![
        word(agent, "id").to_owned(),
        state,
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
    if agent.get("deleting").and_then(Value::as_bool) == Some(true) {
        writeln!(out, "  it is being deleted; if its cluster is gone: cofferdam agent delete {id} --force")?;
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
        restarts(out, version)?;
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

/// The number of a version's restarts, and the reason of the last one.
fn restarts(out: &mut String, version: &Value) -> std::fmt::Result {
    let count = |name: &str| version.get(name).and_then(Value::as_u64).unwrap_or(0);
    // A node's restart that counts as a crash is in both.
    let times = count("restarts").max(count("crashes"));
    if times == 0 {
        return Ok(());
    }
    write!(out, "  {:>5}  restarted {times} {}", "", if times == 1 { "time" } else { "times" })?;
    match version.get("last_crash").filter(|last| last.is_object()) {
        Some(last) => writeln!(out, "; last: {}: {}", plain(word(last, "reason")), plain(word(last, "detail"))),
        None => writeln!(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn restarts_are_counted_with_the_last_reason() {
        let last = json!({"reason": "out_of_memory", "detail": "It used more than 64Mi.", "at_ms": 1});
        let up =
            json!({"number": 3, "state": "Up", "detail": "Serving.", "restarts": 3, "crashes": 1, "last_crash": last});
        let versions = json!({"deployments": [up, {"number": 2, "state": "Stopped", "crashes": 1}, {"number": 1, "state": "Stopped"}]});
        let shown = text(&json!({"id": "a", "state": "Up", "serving": up, "latest": up}), &versions);
        assert!(shown.contains("restarted 3 times; last: out_of_memory: It used more than 64Mi.\n"), "{shown}");
        assert!(shown.contains("restarted 1 time\n") && shown.matches("restarted").count() == 2, "{shown}");
    }

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
        let away =
            json!({"id": "b", "state": "Up", "serving": {"number": 1, "unreachable_since_ms": 5}, "latest": null});
        assert_eq!(row(&away)[1], "Up (unreachable)");
        let held = json!({"id": "b", "state": "Up", "serving": {"number": 1, "unreachable_since_ms": null, "not_ready_since_ms": 5}});
        assert_eq!(row(&held)[1], "Up (not ready)");
        assert!(text(&json!({"id": "b"}), &json!({})).contains("cofferdam deploy IMAGE --agent b"));
    }
}
