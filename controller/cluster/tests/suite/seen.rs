//! Judgements of workloads: each file of `recorded/` has a Job with its pods, events and logs as an API server returned
//! them, and the expected judgement.

use std::path::Path;

use cofferdam_cluster::{Seen, workload_name};
use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Answer, Api, NAMESPACE, core_path, id, job_path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    about: String,
    /// Merged into a Job as we create it. `None`: there is no Job.
    job: Option<String>,
    /// Each is merged into a pod as the Job creates it.
    #[serde(default)]
    pods: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
    log: Option<String>,
    previous: Option<String>,
    #[serde(default)]
    answers: Vec<Answer>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    seen: String,
    reason: Option<String>,
    exit_code: Option<i32>,
    restarts: Option<u32>,
    /// For `starting`: the party that holds it up, `itself` or `cluster`.
    held_by: Option<String>,
    /// For a crash: the state since then, `ready` or `starting`.
    now: Option<String>,
    /// Ready for at least this long, and less than ten seconds longer.
    for_s: Option<u64>,
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
    lines: Option<Vec<String>>,
}

/// `{ago 40}` is the time forty seconds ago.
fn timed(text: &str) -> String {
    let mut parts = text.split("{ago ");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (seconds, rest) = part.split_once('}').unwrap();
        let time = Timestamp::now() - SignedDuration::from_secs(seconds.parse().unwrap());
        whole += &time.to_string();
        whole += rest;
    }
    whole
}

pub(crate) fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(&timed(text)).unwrap_or_else(|e| panic!("{e} in {text}"))
}

async fn play(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let recorded: Recorded = toml::from_str(&text).map_err(|e| e.to_string())?;
    let name = workload_name(&id());
    let marks =
        json!({"cofferdam.dev/organization": "default", "cofferdam.dev/agent": "hello", "cofferdam.dev/version": "3"});
    let api = Api::start().await;
    if let Some(over) = &recorded.job {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": "uid-of-job", "annotations": marks},
            "spec": {"template": {"spec": {"containers": []}}},
        });
        lay_over(&mut job, parsed(over));
        api.put(&job_path(), job);
    }
    for (number, over) in recorded.pods.iter().enumerate() {
        let pod_name = format!("{name}-{number}abcd");
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod_name, "namespace": NAMESPACE, "uid": format!("uid-of-pod-{number}"), "annotations": marks,
                "labels": {"cofferdam.dev/workload": name},
                "creationTimestamp": timed("{ago 60}"),
            },
            "spec": {
                "nodeName": "node-1", "nodeSelector": {"kubernetes.io/arch": "amd64"},
                "containers": [{"name": "agent", "image": "x", "resources": {"limits": {"memory": "64Mi"}}}],
            },
            "status": {"phase": "Running"},
        });
        lay_over(&mut pod, parsed(over));
        api.put(&format!("{}/{pod_name}", core_path("pods")), pod);
    }
    for (number, over) in recorded.events.iter().enumerate() {
        let mut event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("event-{number}"), "namespace": NAMESPACE},
            "involvedObject": {}, "type": "Warning", "lastTimestamp": timed("{ago 5}"),
        });
        lay_over(&mut event, parsed(over));
        api.put(&format!("{}/{number}", core_path("events")), event);
    }
    let mut answers = recorded.answers;
    let mut log = |path: &str, text: &Option<String>| {
        let (status, body) = match text {
            Some(text) => (200, text.clone()),
            None => (400, super::api::status(400, "BadRequest", "no log").to_string()),
        };
        answers.push(Answer { method: "GET".to_owned(), path: path.to_owned(), status, body, ..Answer::default() });
    };
    log("previous=true", &recorded.previous);
    log("/log?", &recorded.log);
    api.play(answers);

    let cluster = api.cluster();
    let seen = cluster.see(&id()).await.map_err(|e| format!("{}: {e}", recorded.about))?;
    if let Some(changed) = api.asked().iter().find(|asked| asked.method != Method::GET) {
        return Err(format!("looking changed something: {changed:?}"));
    }
    // A survey says the same, or nothing.
    let survey = cluster.survey().await.map_err(|e| format!("{}: {e}", recorded.about))?;
    let surveyed = survey.iter().find(|(of, _)| *of == id()).map(|(_, seen)| seen);
    let agrees = match (surveyed, &seen) {
        (None, _) | (Some(Seen::Ready { .. }), Seen::Ready { .. }) => true,
        (Some(Seen::Crashed { failure: one, now }), Seen::Crashed { failure: other, .. }) => {
            one.end == other.end && matches!(**now, Seen::Ready { .. })
        }
        (Some(_), _) => false,
    };
    if !agrees {
        return Err(format!("{}: the survey says {surveyed:?}, and a look {seen:?}", recorded.about));
    }
    let settled = ["ready.toml", "crash-long-ago.toml"].iter().any(|name| file.ends_with(name));
    if settled && surveyed.is_none() {
        return Err(format!("{}: the survey says nothing of it", recorded.about));
    }
    judge(&seen, &recorded.expect).map_err(|why| format!("{}\n  {why}\n  seen: {seen:?}", recorded.about))
}

fn judge(seen: &Seen, expect: &Expect) -> Result<(), String> {
    let (kind, said) = match seen {
        Seen::Gone => ("gone", String::new()),
        Seen::Starting { waits_for, held_by } => {
            if expect.held_by.as_deref().is_some_and(|by| by != format!("{held_by:?}").to_lowercase()) {
                return Err(format!("held by {held_by:?}"));
            }
            ("starting", waits_for.shown(str::to_owned))
        }
        Seen::Ready { pod, for_s, restarts } => {
            let long = expect.for_s.is_none_or(|least| (least..least + 10).contains(for_s));
            if !long || expect.restarts.is_some_and(|number| number != *restarts) {
                return Err(format!("ready for {for_s} s with {restarts} restarts"));
            }
            ("ready", pod.clone())
        }
        Seen::Failed(failure) | Seen::Crashed { failure, .. } => {
            if let (Seen::Crashed { now, .. }, Some(wanted)) = (seen, &expect.now) {
                let now = if matches!(**now, Seen::Ready { .. }) { "ready" } else { "starting" };
                if now != wanted {
                    return Err(format!("it is {now} now"));
                }
            }
            let crashed = matches!(seen, Seen::Crashed { .. });
            if crashed && failure.end.is_empty() {
                return Err("a crash that cannot be told from another".to_owned());
            }
            let reason = serde_json::to_value(failure.reason).unwrap();
            if expect.reason.as_deref() != reason.as_str() {
                return Err(format!("the reason is {reason}"));
            }
            if expect.exit_code != failure.exit_code || expect.restarts.is_some_and(|n| n != failure.restarts) {
                return Err(format!("exit code {:?}, {} restarts", failure.exit_code, failure.restarts));
            }
            if expect.lines.as_ref().is_some_and(|lines| lines != &failure.last_lines) {
                return Err(format!("lines {:?}", failure.last_lines));
            }
            (if crashed { "crashed" } else { "failed" }, failure.detail.shown(str::to_owned))
        }
    };
    if kind != expect.seen {
        return Err(format!("it is {kind}"));
    }
    if said.contains('\n') || said.len() > 2_000 {
        return Err(format!("{} bytes in {} lines", said.len(), said.lines().count()));
    }
    let missing = expect.says.iter().find(|text| !said.contains(text.as_str()));
    let there = expect.never.iter().find(|text| said.contains(text.as_str()));
    match (missing, there) {
        (Some(text), _) => Err(format!("does not say {text:?}")),
        (_, Some(text)) => Err(format!("says {text:?}")),
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clusters_show_is_recognised() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/recorded");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40, "{} recordings in {}", files.len(), folder.display());
    let mut wrong = Vec::new();
    for file in &files {
        if let Err(why) = play(file).await {
            wrong.push(format!("{}: {why}", file.file_name().unwrap().to_string_lossy()));
        }
    }
    println!("{} recordings", files.len());
    assert!(wrong.is_empty(), "{} of {} are wrong\n{}", wrong.len(), files.len(), wrong.join("\n"));
}
