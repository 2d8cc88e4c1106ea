//! Agents as text: the serving version, all versions, the cause of a failure.

use cofferdam_contract::{DeploymentState, Progress};
use serde_json::Value;

use crate::terminal::{Page, put};
use crate::times::since;

pub(super) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: Option<&Value>) -> String {
    let number = value.and_then(|deployment| deployment.get("number")).and_then(Value::as_u64);
    number.map_or_else(|| "-".to_owned(), |number| format!("v{number}"))
}

/// Doubts about a state, with the time since when: the cluster does not answer, or the version is not ready now.
fn doubt(deployment: Option<&Value>) -> Option<(&'static str, i64)> {
    let since = |name: &str| deployment.and_then(|deployment| deployment.get(name)).and_then(Value::as_i64);
    let unreachable = since("unreachable_since_ms").map(|at| ("unreachable", at));
    unreachable.or_else(|| since("not_ready_since_ms").map(|at| ("not ready", at)))
}

pub(super) fn row(agent: &Value) -> Vec<String> {
    if word(agent, "type") == "serverless" {
        let version = |name: &str| agent.get(name).and_then(Value::as_u64);
        let shown = |version: Option<u64>| version.map_or_else(|| "-".to_owned(), |version| format!("v{version}"));
        return vec![
            word(agent, "id").to_owned(),
            "serverless".to_owned(),
            word(agent, "status").to_owned(),
            shown(version("active_version")),
            shown(version("draft_version").or_else(|| version("active_version"))),
            String::new(),
        ];
    }
    let state = match word(agent, "state") {
        _ if is_deleting(agent) => "deleting".to_owned(),
        "" => "-".to_owned(),
        state => match doubt(serving_or_latest(agent)) {
            Some((doubt, _)) => format!("{state} ({doubt})"),
            None => state.to_owned(),
        },
    };
    vec![
        word(agent, "id").to_owned(),
        "container".to_owned(),
        state,
        number(agent.get("serving")),
        number(agent.get("latest")),
        word(agent, "environment").to_owned(),
    ]
}

fn serving_or_latest(agent: &Value) -> Option<&Value> {
    let shown = |name: &str| agent.get(name).filter(|deployment| deployment.is_object());
    shown("serving").or_else(|| shown("latest"))
}

/// An agent with its versions, as of `now_ms`.
pub(super) fn page(agent: &Value, versions: &Value, now_ms: i64) -> Page {
    let mut out = Page::default();
    let [id, _, mut state, serves, ..] = row(agent).try_into().unwrap_or_else(|_| <[String; 6]>::default());
    if let (Some((doubt, at)), false) = (doubt(serving_or_latest(agent)), is_deleting(agent)) {
        state = format!("{}, {doubt} since {}", word(agent, "state"), since(at, now_ms));
    }
    put!(out, "{id}  {state}  in {}", word(agent, "environment"));
    if let Some(serving) = agent.get("serving").filter(|serving| serving.is_object()) {
        put!(out, "  serves {serves}: {}", word(serving, "image"));
    }
    if is_deleting(agent) {
        put!(out, "  it is being deleted; if its cluster is gone: cofferdam agent delete {id} --force");
    }
    let versions = versions.get("deployments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    put!(out);
    if versions.is_empty() {
        put!(out, "nothing is deployed yet: cofferdam deploy IMAGE --agent {id}");
        return out;
    }
    put!(out, "versions");
    for version in versions {
        let digest = word(version, "digest").strip_prefix("sha256:").unwrap_or_default();
        let digest: String = digest.chars().take(12).collect();
        let (number, state) = (number(Some(version)), word(version, "state"));
        put!(out, "  {number:>5}  {state:<9}  {digest:<12}  {}", word(version, "detail"));
        let mut more: Vec<String> = Vec::new();
        if let Some(at) = version.get("since_ms").and_then(Value::as_i64) {
            more.push(format!("since {}", since(at, now_ms)));
        }
        if let Some(origin) = version.pointer("/source/number").and_then(Value::as_u64) {
            more.push(format!("version {origin} again"));
        }
        if !more.is_empty() {
            put!(out, "  {:>5}  {}", "", more.join("; "));
        }
        if waits_for_deploy(version) {
            put!(
                out,
                "  {:>5}  to deploy it: cofferdam deploy --version {} --agent {id}",
                "",
                number.trim_start_matches('v')
            );
        }
        if let Some((doubt, at)) = doubt(Some(version)) {
            put!(out, "  {:>5}  {doubt} since {}", "", since(at, now_ms));
        }
        restarts(&mut out, version);
    }
    let progress = |version: &Value| DeploymentState::parse(word(version, "state")).map(DeploymentState::progress);
    let failed = agent.get("latest").filter(|latest| progress(latest) == Some(Progress::Failed));
    let lines = failed.and_then(|latest| latest.get("last_lines")).and_then(Value::as_array);
    if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
        put!(out);
        put!(out, "last lines of {}", number(failed));
        for line in lines.iter().filter_map(Value::as_str) {
            put!(out, "  {line}");
        }
    }
    out
}

/// Its image is uploaded, and nobody has asked to run it.
fn waits_for_deploy(version: &Value) -> bool {
    word(version, "state") == "Pushing"
        && version.get("requested").and_then(Value::as_bool) == Some(false)
        && !word(version, "image").is_empty()
}

fn is_deleting(agent: &Value) -> bool {
    agent.get("deleting").and_then(Value::as_bool) == Some(true)
}

/// The number of a version's restarts, and the reason of the last one.
fn restarts(out: &mut Page, version: &Value) {
    let count = |name: &str| version.get(name).and_then(Value::as_u64).unwrap_or(0);
    // A node's restart that counts as a crash is in both.
    let times = count("restarts").max(count("crashes"));
    if times == 0 {
        return;
    }
    let last = match version.get("last_crash").filter(|last| last.is_object()) {
        Some(last) => format!("; last: {}: {}", word(last, "reason"), word(last, "detail")),
        None => String::new(),
    };
    put!(out, "  {:>5}  restarted {times} {}{last}", "", if times == 1 { "time" } else { "times" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2026-11-30 12:03:04 UTC.
    const AT_MS: i64 = 1_796_040_184_000;

    fn text(agent: &Value, versions: &Value) -> String {
        page(agent, versions, AT_MS + 185_000).as_str().to_owned()
    }

    #[test]
    fn a_doubt_is_told_with_its_time() {
        let up = |field: &str| json!({"number": 3, "state": "Up", "detail": "Its node is away.", field: AT_MS});
        for (field, told) in [("not_ready_since_ms", "not ready"), ("unreachable_since_ms", "unreachable")] {
            let agent = json!({"id": "a", "state": "Up", "environment": "local", "serving": up(field), "latest": null});
            let shown = text(&agent, &json!({"deployments": [up(field)]}));
            let told = format!("{told} since 12:03:04 UTC (3 min)");
            assert!(shown.starts_with(&format!("a  Up, {told}  in local\n")), "{shown}");
            assert_eq!(shown.matches(&told).count(), 2, "{shown}");
        }
    }

    #[test]
    fn foreign_text_begins_no_line_and_reorders_none() {
        let up = json!({"number": 1, "state": "Up", "image": "r.example/a\n  serves v9: evil", "detail": "a\u{202e}b"});
        let agent = json!({"id": "a", "state": "Up", "environment": "lo\u{200b}cal", "serving": up, "latest": up});
        let shown = text(&agent, &json!({"deployments": [up]}));
        for part in ["r.example/a\\n  serves", "a\\u{202e}b", "lo\\u{200b}cal"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn a_version_is_told_with_its_time_its_origin_and_how_to_deploy_it() {
        let versions = json!({"deployments": [
            {"number": 3, "state": "Pushing", "requested": false, "image": "r.example/a@sha256:00", "since_ms": AT_MS},
            {"number": 2, "state": "Up", "since_ms": AT_MS, "source": {"kind": "version", "number": 1}}]});
        let shown = text(&json!({"id": "a", "state": "Up"}), &versions);
        for part in [
            "         since 12:03:04 UTC (3 min)\n",
            "         since 12:03:04 UTC (3 min); version 1 again\n",
            "cofferdam deploy --version 3 --agent a\n",
        ] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        assert_eq!(shown.matches("to deploy it").count(), 1, "{shown}");
    }

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
            ["a  Up  in local", "serves v1: r.example", "v2  Failed     abcdefabcdef  exit code 3", "boom\\u{1b}[2J"]
        {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        assert_eq!(row(&json!({"id": "b"})), ["b", "container", "-", "-", "-", ""]);
        let defined =
            json!({"id": "c", "type": "serverless", "status": "ACTIVE", "active_version": 2, "draft_version": 3});
        assert_eq!(row(&defined), ["c", "serverless", "ACTIVE", "v2", "v3", ""]);
        let away =
            json!({"id": "b", "state": "Up", "serving": {"number": 1, "unreachable_since_ms": 5}, "latest": null});
        assert_eq!(row(&away)[2], "Up (unreachable)");
        let held = json!({"id": "b", "state": "Up", "serving": {"number": 1, "unreachable_since_ms": null, "not_ready_since_ms": 5}});
        assert_eq!(row(&held)[2], "Up (not ready)");
        assert!(text(&json!({"id": "b"}), &json!({})).contains("cofferdam deploy IMAGE --agent b"));
    }
}
