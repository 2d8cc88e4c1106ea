//! Plays `tests/attack/models`: upstreams and callers that misbehave, at every door, with an upstream of the same protocol and
//! one of another, with a stream and without. The README there has the fields.
//!
//! After each case: no answer had the upstream's key, every error was one of its door's protocol, the upstream has no call
//! under way, the budget's use is the sum of the records, and nothing of it is held.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future, stream};
use serde::Deserialize;
use serde_json::Value;

use super::judge::{Judged, judge};
use super::rig::{ANTHROPIC, Door, Gateway, OPENAI, collect};

/// Cases that are played at once.
const CASES_AT_ONCE: usize = 3;
/// The most time that an answer may take if the case does not say more.
const MAX_MS: u64 = 8_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(rename = "about")]
    _about: String,
    pub model: String,
    doors: Option<Vec<String>>,
    streams: Option<Vec<bool>>,
    /// Further lines of each upstream's settings.
    #[serde(default)]
    upstream: String,
    #[serde(default)]
    pub caller: Caller,
    #[serde(default)]
    expect: toml::Table,
    #[serde(default)]
    differs: Vec<Differs>,
}

/// The way in which the caller misbehaves.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Caller {
    pub leave_after_ms: Option<u64>,
    pub leave_after_bytes: Option<usize>,
    pub body_bytes: Option<usize>,
    pub body: Option<String>,
    /// Written in front of the other fields.
    pub before: String,
    pub fields: Option<toml::Table>,
    /// `own` (one key), `both`, `none`, `wrong`, `dead-run-token`, `changed-run-token`.
    pub keys: Option<String>,
}

#[derive(Deserialize)]
struct Differs {
    doors: Option<Vec<String>>,
    native: Option<bool>,
    stream: Option<bool>,
    #[serde(flatten)]
    expect: toml::Table,
}

/// One value or a list of accepted ones.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(super) enum OneOf<T> {
    One(T),
    Several(Vec<T>),
}

impl<T: PartialEq> OneOf<T> {
    pub(super) fn has(&self, value: &T) -> bool {
        match self {
            Self::One(one) => one == value,
            Self::Several(several) => several.contains(value),
        }
    }

    pub(super) fn list(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    pub status: Option<OneOf<u16>>,
    pub kind: Option<OneOf<String>>,
    /// `whole`, `error` or `left`; `error` if the status is none of success.
    pub end: Option<String>,
    pub ending: Option<OneOf<String>>,
    /// Requests that the upstream got.
    pub tries: Option<usize>,
    pub tokens: Option<(u64, u64)>,
    pub no_tokens: bool,
    /// Something was counted, if only by an estimate.
    pub some_tokens: bool,
    pub retry_after_s: Option<(u64, u64)>,
    pub min_ms: Option<u64>,
    pub max_ms: Option<u64>,
    pub max_bytes: Option<usize>,
    pub contains: Vec<String>,
    pub lacks: Vec<String>,
    pub upstream_contains: Vec<String>,
    pub no_upstream: bool,
    pub no_record: bool,
}

/// One way through the gateway.
#[derive(Clone)]
pub(super) struct Way {
    pub name: String,
    pub door: Door,
    pub upstream: &'static str,
    pub stream: bool,
}

impl Way {
    pub(super) fn native(&self) -> bool {
        self.door.provider() == self.upstream
    }
}

/// The caller's answer.
pub(super) struct Came {
    pub key_id: String,
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
    /// The body came to its regular end.
    pub whole: bool,
    pub left: bool,
    pub took: Duration,
}

impl Case {
    fn ways(&self) -> Vec<Way> {
        let mut ways = Vec::new();
        for door in Door::ALL {
            if self.doors.as_ref().is_some_and(|doors| !doors.iter().any(|name| name == door.name())) {
                continue;
            }
            for upstream in [OPENAI, ANTHROPIC] {
                for &stream in self.streams.as_deref().unwrap_or(&[false, true]) {
                    let kind = if stream { "stream" } else { "whole" };
                    ways.push(Way { name: format!("{}-{upstream}-{kind}", door.name()), door, upstream, stream });
                }
            }
        }
        ways
    }

    pub(super) fn expected(&self, way: &Way) -> Expect {
        let mut table = self.expect.clone();
        for differs in &self.differs {
            let door = differs.doors.as_ref().is_none_or(|doors| doors.iter().any(|name| name == way.door.name()));
            let native = differs.native.is_none_or(|native| native == way.native());
            let stream = differs.stream.is_none_or(|stream| stream == way.stream);
            if door && native && stream {
                table.extend(differs.expect.clone());
            }
        }
        let mut expect: Expect = toml::Value::Table(table).try_into().unwrap();
        expect.max_ms.get_or_insert(MAX_MS);
        expect
    }

    fn request(&self, way: &Way) -> (String, String) {
        let model = match self.model.strip_prefix('!') {
            Some(model) => model.to_owned(),
            None => format!("{}/{}", way.name, self.model.replace("${path}", &way.name)),
        };
        let fields = self.caller.fields.as_ref().map(|fields| serde_json::to_value(fields).unwrap());
        let mut body = way.door.body(&model, way.stream, &self.caller.before, &fields.unwrap_or(Value::Null));
        if let Some(own) = &self.caller.body {
            body.clone_from(own);
        }
        if let Some(bytes) = self.caller.body_bytes {
            body = format!("{}{}{}", &body[..1], " ".repeat(bytes - body.len()), &body[1..]);
        }
        (model, body)
    }
}

async fn keys(gateway: &Gateway, case: &Case, way: &Way) -> (String, Vec<(&'static str, String)>) {
    let (key, id) = gateway.key(&way.name).await;
    // The header of the door's own clients.
    let own = match way.door {
        Door::Messages => ("x-api-key", key.clone()),
        _ => ("authorization", format!("Bearer {key}")),
    };
    let headers = match case.caller.keys.as_deref().unwrap_or("own") {
        "own" => vec![own],
        "none" => vec![],
        "wrong" => vec![("authorization", "Bearer cf_0123456789abcdef0123456789abcdef".to_owned())],
        "both" => {
            let other = gateway.key("another").await.0;
            vec![("authorization", format!("Bearer {key}")), ("x-api-key", other)]
        }
        "dead-run-token" => vec![("authorization", format!("Bearer {}", gateway.run_token(&key, true).await))],
        "changed-run-token" => {
            let mut token = gateway.run_token(&key, false).await;
            let last = token.pop().unwrap();
            token.push(if last == 'a' { 'b' } else { 'a' });
            vec![("authorization", format!("Bearer {token}"))]
        }
        other => panic!("keys = {other:?}"),
    };
    (id, headers)
}

async fn call(gateway: &Gateway, case: &Case, way: &Way) -> Came {
    let (key_id, mut headers) = keys(gateway, case, way).await;
    if way.door == Door::Messages {
        headers.push(("anthropic-version", "2023-06-01".to_owned()));
    }
    let (_, body) = case.request(way);
    let began = Instant::now();
    let gone = |left| Came {
        key_id: key_id.clone(),
        status: 0,
        headers: http::HeaderMap::new(),
        body: Vec::new(),
        whole: false,
        left,
        took: began.elapsed(),
    };
    let sent = gateway.send(way.door.path(), &headers, body);
    let sent = match case.caller.leave_after_ms {
        Some(time) => match tokio::time::timeout(Duration::from_millis(time), sent).await {
            Ok(sent) => sent,
            Err(_) => return gone(true),
        },
        None => tokio::time::timeout(Duration::from_secs(40), sent).await.expect("an answer at all"),
    };
    let Ok(response) = sent else { return gone(false) };
    let (head, mut incoming) = response.into_parts();
    let mut came = Came { status: head.status.as_u16(), headers: head.headers, ..gone(false) };
    if let Some(most) = case.caller.leave_after_bytes {
        use http_body_util::BodyExt;
        while came.body.len() < most {
            let Some(Ok(frame)) = incoming.frame().await else { return came };
            came.body.extend_from_slice(frame.data_ref().unwrap());
        }
        came.left = true;
    } else {
        let read = tokio::time::timeout(Duration::from_secs(40), collect(incoming)).await;
        (came.body, came.whole) = read.expect("the answer ends");
    }
    came.took = began.elapsed();
    came
}

/// Plays a case; the faults, each with its way, and how it ended for the report.
async fn play(name: &str, case: &Case) -> (Vec<String>, Vec<String>) {
    let ways = case.ways();
    let upstreams: Vec<_> = ways.iter().map(|way| (way.name.clone(), way.upstream)).collect();
    let gateway = Arc::new(Gateway::with(&upstreams, &case.upstream, "").await);
    let came = future::join_all(ways.iter().map(|way| call(&gateway, case, way))).await;
    let recorded = ways.iter().filter(|way| !case.expected(way).no_record).count();
    let records = gateway.records(recorded).await;
    let mut faults = Vec::new();
    let mut told = Vec::new();
    let seen = gateway.fake.take_seen();
    for (way, came) in ways.iter().zip(&came) {
        let expect = case.expected(way);
        let record = records.get(&came.key_id);
        let sent: Vec<_> = seen.iter().filter(|seen| seen.path.starts_with(&format!("/as/{}/", way.name))).collect();
        let Judged { faults: found, told: line } = judge(way, &expect, came, record, &sent);
        faults.extend(found.into_iter().map(|fault| format!("{name} {}: {fault}", way.name)));
        told.push(format!("{name} {}: {line}", way.name));
    }
    after(name, &gateway, &records, &mut faults).await;
    (faults, told)
}

async fn after(
    name: &str,
    gateway: &Gateway,
    records: &std::collections::BTreeMap<String, super::rig::Recorded>,
    faults: &mut Vec<String>,
) {
    let fake = &gateway.fake;
    let mut open = fake.open();
    for _ in 0..40 {
        if open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        open = fake.open();
    }
    if open > 0 {
        faults.push(format!("{name}: {open} calls are still under way upstream"));
    }
    let used: u64 = records.values().map(|record| record.input + record.output).sum();
    let mut budget = gateway.budget().await;
    for _ in 0..40 {
        if budget == (used, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        budget = gateway.budget().await;
    }
    if budget != (used, 0) {
        faults.push(format!("{name}: the budget has {} used and {} held; the records have {used}", budget.0, budget.1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_and_callers_that_misbehave_cost_nobody_anything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/attack/models");
    let wanted = std::env::var("COFFERDAM_CASE").unwrap_or_default();
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "toml") && name.contains(&wanted) {
            let text = std::fs::read_to_string(&path).unwrap();
            cases.push((name.clone(), toml::from_str::<Case>(&text).unwrap_or_else(|e| panic!("{name}: {e}"))));
        }
    }
    cases.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!cases.is_empty());
    let played = stream::iter(&cases).map(|(name, case)| play(name, case)).buffered(CASES_AT_ONCE);
    let (faults, told): (Vec<_>, Vec<_>) = played.collect::<Vec<_>>().await.into_iter().unzip();
    if std::env::var_os("COFFERDAM_CASE").is_some() {
        told.iter().flatten().for_each(|line| eprintln!("{line}"));
    }
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
