//! Judges an answer of the gateway's by what a case expects: status, protocol, words, time, record, and no key anywhere.

use base64::Engine;
use cofferdam_testkit::models::SeenRequest;
use serde_json::Value;

use super::attack::{Came, Expect, Way};
use super::rig::{Door, Recorded, UPSTREAM_KEY};

pub(super) struct Judged {
    pub faults: Vec<String>,
    /// The answer and the record, in a line.
    pub told: String,
}

/// The key, as somebody might write it.
fn spellings() -> [String; 5] {
    let engine = base64::engine::general_purpose::STANDARD;
    [
        UPSTREAM_KEY.to_owned(),
        engine.encode(UPSTREAM_KEY),
        UPSTREAM_KEY.replace('/', "%2F").replace('+', "%2B"),
        UPSTREAM_KEY.replace('/', "\\/"),
        UPSTREAM_KEY[12..].to_owned(),
    ]
}

/// The data of each event.
fn events(text: &str) -> Vec<(String, String)> {
    let field = |block: &str, name: &str| {
        let found = block.lines().filter_map(|line| line.strip_prefix(name)).map(|value| value.trim_start());
        found.collect::<Vec<_>>().join("\n")
    };
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks.map(|block| (field(block, "event:"), field(block, "data:"))).collect()
}

/// How a stream ended, and the error in it.
fn stream_end(door: Door, text: &str) -> Result<(&'static str, Value), String> {
    let events = events(text);
    let mut error = Value::Null;
    let mut done = false;
    let mut last = Value::Null;
    for (name, data) in &events {
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let value: Value = match serde_json::from_str(data) {
            Ok(value) => value,
            Err(why) if data.is_empty() && name.is_empty() => {
                let _ = why;
                continue;
            }
            Err(why) => return Err(format!("an event that is no JSON ({why}): {}", &data[..data.len().min(200)])),
        };
        if value["error"].is_object() {
            error = value["error"].clone();
        } else if name == "error" || value["type"] == "error" {
            error = value.clone();
        }
        last = value;
    }
    let ended = match door {
        Door::Chat => done,
        Door::Responses => last["type"] == "response.completed",
        Door::Messages => last["type"] == "message_stop",
    };
    Ok(match (error.is_null(), ended) {
        (false, _) => ("error", error),
        (true, true) => ("whole", Value::Null),
        (true, false) => ("cut", Value::Null),
    })
}

fn end(way: &Way, came: &Came, text: &str) -> Result<(&'static str, Value), String> {
    if came.left {
        return Ok(("left", Value::Null));
    }
    if came.status == 0 {
        return Ok(("closed", Value::Null));
    }
    if !came.whole {
        return Ok(("cut", Value::Null));
    }
    let kind = came.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        return stream_end(way.door, text);
    }
    if !kind.starts_with("application/json") {
        return Err(format!("the content type is {kind:?}"));
    }
    let value: Value = serde_json::from_str(text).map_err(|why| format!("no JSON: {why}"))?;
    if value["error"].is_object() {
        let anthropic = value["type"] == "error";
        if anthropic != (way.door == Door::Messages) {
            return Err(format!("an error of another protocol: {value}"));
        }
        return Ok(("error", value["error"].clone()));
    }
    Ok(("whole", Value::Null))
}

pub(super) fn judge(
    way: &Way,
    expect: &Expect,
    came: &Came,
    record: Option<&Recorded>,
    sent: &[&SeenRequest],
) -> Judged {
    let mut faults = Vec::new();
    let text = String::from_utf8_lossy(&came.body).into_owned();
    let short: String = text.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
    let head = format!("{:?}", came.headers);
    for spelling in spellings() {
        if text.contains(&spelling) || head.contains(&spelling) {
            faults.push(format!("the upstream's key is in the answer as {spelling:?}"));
        }
    }
    let (ended, error) = match end(way, came, &text) {
        Ok(found) => found,
        Err(why) => {
            faults.push(format!("{why}: {short}"));
            ("unreadable", Value::Null)
        }
    };
    answer(way, expect, came, ended, &error, &mut faults);
    for part in &expect.contains {
        // A stream cuts words.
        if !text.contains(part) && !way.stream {
            faults.push(format!("it lacks {part:?}: {short}"));
        }
    }
    for part in &expect.lacks {
        if text.contains(part) {
            faults.push(format!("it has {part:?}: {short}"));
        }
    }
    recorded(expect, record, &mut faults);
    if expect.tries.is_some_and(|tries| tries != sent.len()) {
        faults.push(format!("there were {} tries, not {:?}", sent.len(), expect.tries));
    }
    if expect.no_upstream && !sent.is_empty() {
        faults.push(format!("{} requests went upstream", sent.len()));
    }
    for part in &expect.upstream_contains {
        if !sent.iter().any(|seen| String::from_utf8_lossy(&seen.body).contains(part)) {
            faults.push(format!("no request upstream has {part:?}"));
        }
    }
    let message = error["message"].as_str().unwrap_or_default();
    let kind = error["type"].as_str().unwrap_or_default();
    let told = format!(
        "{} {ended} {kind} {message:?} in {} ms, {} bytes; {record:?}",
        came.status,
        came.took.as_millis(),
        came.body.len()
    );
    Judged { faults, told }
}

fn answer(way: &Way, expect: &Expect, came: &Came, ended: &str, error: &Value, faults: &mut Vec<String>) {
    if let Some(status) = expect.status.as_ref().filter(|status| !came.left && !status.has(&came.status)) {
        faults.push(format!("the status is {}, not {:?}: {error}", came.status, status.list()));
    }
    let wanted = expect.end.as_deref().unwrap_or("error");
    if ended != wanted {
        faults.push(format!("it ended with {ended}, not {wanted}: {error}"));
    }
    if ended == "error" {
        let types: Vec<&str> =
            expect.kind.iter().flat_map(|kinds| kinds.list()).map(|kind| way.door.type_name(kind)).collect();
        // An error event of Responses has no type of its own.
        let found = error["type"].as_str().unwrap_or_default();
        let event = way.stream && came.status == 200 && way.door == Door::Responses;
        if !types.is_empty() && !types.contains(&found) && !event {
            faults.push(format!("the error is a {found:?}, not {types:?}: {error}"));
        }
        if error["message"].as_str().is_none_or(str::is_empty) {
            faults.push(format!("the error has no message: {error}"));
        }
    }
    let took = u64::try_from(came.took.as_millis()).unwrap();
    if expect.max_ms.is_some_and(|most| took > most) || expect.min_ms.is_some_and(|least| took < least) {
        faults.push(format!("it took {took} ms, not {:?} to {:?}", expect.min_ms, expect.max_ms));
    }
    if expect.max_bytes.is_some_and(|most| came.body.len() > most) {
        faults.push(format!("it is {} bytes long", came.body.len()));
    }
    if let Some((least, most)) = expect.retry_after_s {
        let after = came.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if !after.is_some_and(|after| (least..=most).contains(&after)) {
            faults.push(format!("Retry-After is {after:?}, not {least} to {most}"));
        }
    }
    if came.status != 0 && !expect.no_record && !came.headers.contains_key("x-cofferdam-call") && came.status < 400 {
        faults.push("there is no x-cofferdam-call".to_owned());
    }
}

fn recorded(expect: &Expect, record: Option<&Recorded>, faults: &mut Vec<String>) {
    let Some(record) = record else {
        if !expect.no_record && expect.ending.is_some() {
            faults.push("there is no record".to_owned());
        }
        return;
    };
    if record.calls != 1 {
        faults.push(format!("there are {} records", record.calls));
    }
    if let Some(ending) = expect.ending.as_ref().filter(|ending| !ending.has(&record.ending)) {
        faults.push(format!("the record's ending is {:?}, not {:?}", record.ending, ending.list()));
    }
    if expect.tokens.is_some_and(|tokens| tokens != (record.input, record.output)) {
        faults.push(format!("the tokens are {} and {}, not {:?}", record.input, record.output, expect.tokens));
    }
    if expect.no_tokens && record.input + record.output > 0 {
        faults.push(format!("{} and {} tokens were counted", record.input, record.output));
    }
    if expect.some_tokens && record.output == 0 {
        faults.push("no tokens were counted".to_owned());
    }
}
