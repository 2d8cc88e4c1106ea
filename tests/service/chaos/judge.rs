//! The answers that are right. Every action has a closed set of outcomes; a lost worker is one only while a worker was killed.

use std::time::Instant;

use serde_json::Value;

use super::kills::Kind;
use super::rig::Rig;
use crate::support::Answer;

/// The outcome's name for the table, or what is wrong.
pub(super) type Judged = Result<&'static str, String>;

/// The name of an outcome that a kill excuses.
pub(super) const DISTURBED: &str = "disturbed";

/// An answer as it is shown in a complaint.
pub(super) fn shown(answer: &Answer) -> String {
    let text: String = answer.text().chars().take(700).collect();
    format!("HTTP {} after {} ms: {text}", answer.status, answer.took.as_millis())
}

/// `None` if the worker was lost and one had been killed.
pub(super) fn settled(
    rig: &Rig,
    kind: Kind,
    from: Instant,
    answer: Answer,
    good: &[u16],
) -> Result<Option<Answer>, String> {
    if good.contains(&answer.status) {
        return Ok(Some(answer));
    }
    if answer.status != 503 {
        return Err(format!("expected {good:?}: {}", shown(&answer)));
    }
    let known = answer.check_problem("worker-lost").or_else(|_| answer.check_problem("unavailable"));
    known.map_err(|why| format!("{why}: {}", shown(&answer)))?;
    if answer.json()["retryable"] != true {
        return Err(format!("not retryable: {}", shown(&answer)));
    }
    if !rig.kills.disturbed(kind, from) {
        return Err(format!("no worker of {kind:?} was killed: {}", shown(&answer)));
    }
    Ok(None)
}

/// A run's outcome that has to be `ok` with exactly this standard output.
pub(super) fn said(answer: &Answer, output: &str) -> Result<(), String> {
    outcome_said(&parsed(answer)?, output).map_err(|why| format!("{why}: {}", shown(answer)))
}

pub(super) fn outcome_said(outcome: &Value, output: &str) -> Result<(), String> {
    if outcome["status"] != "ok" {
        return Err(format!("the status is {}", outcome["status"]));
    }
    if outcome["stdout"] != output {
        return Err(format!("the output is {}, not {output:?}", outcome["stdout"]));
    }
    Ok(())
}

pub(super) fn parsed(answer: &Answer) -> Result<Value, String> {
    serde_json::from_slice(&answer.body).map_err(|why| format!("{why}: {}", shown(answer)))
}

/// An event stream of a run, read to its end. `None` if it says that the worker was lost.
pub(super) fn streamed(answer: &Answer) -> Result<Option<Value>, String> {
    let text = answer.text();
    let mut output = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let data: Value = serde_json::from_str(field("data:")).map_err(|why| format!("{why}: {block}"))?;
        match field("event:") {
            "stdout" => output.push_str(data["text"].as_str().unwrap_or_default()),
            "stderr" | "result" => {}
            "error" if data["name"] == "WorkerLost" => return Ok(None),
            "problem" if data["status"] == 503 => return Ok(None),
            "error" => {}
            "end" => {
                let mut outcome = data;
                outcome["stdout"] = output.into();
                return Ok(Some(outcome));
            }
            other => return Err(format!("an event {other:?}: {block}")),
        }
    }
    Err(format!("the stream ended without an end: {}", shown(answer)))
}

/// The text that the upstream says to a key of this organization, with the secret taken out.
pub(super) fn upstream_said(text: &str, owner: &str, token: &str) -> Result<(), String> {
    let expected = format!("owner={owner} token={token} echo=");
    if text.starts_with(&expected) { Ok(()) } else { Err(format!("expected {expected:?}, got {text:?}")) }
}
