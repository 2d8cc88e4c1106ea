//! Servers that repeat our credentials wherever a cluster says something, and servers of several environments that fill our
//! memory together.

use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cofferdam_cluster::{PodName, Seen, WorkloadFailure, workload_name};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::api::{Answer, Api, NAMESPACE, TOKEN, clusters, core_path, id, job_path, kubeconfig, settings};
use super::raw::{Raw, head, whole, write};

/// Set for the child of the test of memory.
const CHILD: &str = "COFFERDAM_TEST_HOSTILE_ENVIRONMENTS";
const ENVIRONMENTS: usize = 8;
/// The room for answers, and for each environment what is being read.
const MAX_PEAK_KIB: u64 = (128 + 24 * ENVIRONMENTS as u64) << 10;

/// All that a caller may be shown of a judgement, by one who knows none of our credentials.
fn shown(seen: &Seen) -> String {
    let failure = |failure: &WorkloadFailure| {
        format!("{} {} {}", failure.detail.shown(str::to_owned), failure.end, failure.last_lines.join("\n"))
    };
    match seen {
        Seen::Gone => String::new(),
        Seen::Starting { waits_for, .. } => waits_for.shown(str::to_owned),
        Seen::Ready { pod, .. } => pod.clone(),
        Seen::Crashed { failure: crash, now } => format!("{} {}", failure(crash), shown(now)),
        Seen::Failed(failed) => failure(failed),
    }
}

fn answers(path: &str, body: String) -> Answer {
    Answer { method: "GET".into(), path: path.into(), status: 200, body, ..Answer::default() }
}

/// The token in the forms in which a server may repeat it.
fn forms() -> [String; 4] {
    let escaped: String = TOKEN.chars().map(|c| format!("%{:02x}", u32::from(c))).collect();
    [TOKEN.to_owned(), BASE64_STANDARD.encode(TOKEN), hex::encode(TOKEN), escaped]
}

#[tokio::test]
async fn nothing_that_is_observed_shows_our_credentials() {
    for said in forms() {
        let api = Api::start().await;
        let name = workload_name(&id());
        let marks = json!({"cofferdam.dev/organization": "default", "cofferdam.dev/agent": "hello", "cofferdam.dev/version": "3"});
        let old = "2026-01-01T00:00:00Z";
        let pod = |spec: Value, status: Value| {
            json!({"metadata": {"name": format!("{name}-a"), "uid": "u1", "creationTimestamp": old,
                "labels": {"cofferdam.dev/workload": name}}, "spec": spec, "status": status})
        };
        let agent = |state: Value, restarts: i32| {
            json!({"phase": "Running", "containerStatuses":
                [{"name": "agent", "ready": false, "restartCount": restarts, "state": state, "lastState": state}]})
        };
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": format!("no: {said}")}});
        let ended = json!({"terminated": {"exitCode": 3, "reason": "Error", "message": format!("said {said}\n"),
            "finishedAt": old, "containerID": "c"}});
        let on = || json!({"nodeName": format!("node-{said}")});
        let event = json!({"reason": "FailedMount", "message": format!("volume {said}"), "lastTimestamp": old});
        let unscheduled = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": format!("0/3 nodes: {said}"), "lastTransitionTime": old}]});
        for (pod, log, words) in [
            (pod(json!({}), unscheduled), "", "0/3 nodes"),
            (pod(on(), agent(waiting("ImagePullBackOff"), 0)), "", "no: "),
            (pod(on(), agent(waiting("CreateContainerError"), 0)), "", "no: "),
            (pod(on(), agent(ended.clone(), 0)), "", "said "),
            (pod(on(), agent(ended, 1)), "printed ", "printed "),
            (pod(on(), agent(waiting("ContainerCreating"), 0)), "", ""),
            (pod(on(), json!({"phase": "Failed", "reason": "Evicted", "message": format!("evicted {said}")})), "", ""),
        ] {
            api.put(
                &job_path(),
                json!({"metadata": {"name": name, "uid": "u0", "namespace": NAMESPACE, "annotations": marks}}),
            );
            let list = |items: &[&Value]| json!({"metadata": {}, "items": items}).to_string();
            let log = if log.is_empty() { String::new() } else { format!("{log}{said}\n") };
            api.play(vec![
                answers("/log?", log),
                answers("/events?", list(&[&event])),
                answers("/pods?", list(&[&pod])),
            ]);
            let seen = api.cluster().see(&id()).await;
            let text = match &seen {
                Ok(seen) => format!("{} {seen:?}", shown(seen)),
                Err(error) => error.words().shown(str::to_owned),
            };
            assert!(text.contains(words) && !text.contains(&said), "{pod}: {text}");
        }
    }
}

#[tokio::test]
async fn no_log_line_shows_our_credentials() {
    for said in forms() {
        let api = Api::start().await;
        let status = json!({"name": "agent", "ready": true, "restartCount": 0});
        let pod = json!({"metadata": {"name": "a-pod"}, "status": {"containerStatuses": [status]}});
        api.put(&format!("{}/a-pod", core_path("pods")), pod);
        let log = format!("2026-11-22T01:00:00Z it is {said}!\n2026-11-22T01:00:01Z last\n");
        api.play(vec![answers("/log?", log)]);
        let of = PodName { workload: id(), pod: "a-pod".to_owned(), restarts: 0 };
        let lines = api.cluster().logs(&of, None).await.unwrap();
        let lines: Vec<String> = lines.map(|line| line.unwrap().text).collect().await;
        assert_eq!((lines.len(), lines[1].as_str()), (2, "last"));
        assert!(lines[0].starts_with("it is [redacted]") && lines[0].ends_with('!'), "{lines:?}");
        assert!(!lines[0].contains(&said), "{lines:?}");
    }
}

/// In a process of its own, because a process has one peak.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the_answers_of_all_environments_together_are_bounded runs it in a process of its own, to read the peak of its memory"]
async fn takes_the_answers_of_hostile_environments() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    // As long as a condition's message may be, and each page leads to another.
    let message = "x".repeat(30_000);
    let name = workload_name(&id());
    let conditions = vec![json!({"type": "Ready", "message": message}); 2];
    let pod = json!({"metadata": {"name": format!("{name}-a")}, "status": {"conditions": conditions}});
    let list = json!({"metadata": {"continue": "again"}, "items": vec![pod; 125]}).to_string();
    let answer = Arc::new(whole("200 OK", "", list.as_bytes()));
    let (shared, mut servers, mut asking) = (Arc::new(clusters()), Vec::new(), Vec::new());
    for _ in 0..ENVIRONMENTS {
        let answer = Arc::clone(&answer);
        let server = Raw::start(move |_, mut stream| {
            let answer = Arc::clone(&answer);
            async move { while write(&mut stream, &answer).await && head(&mut stream).await.is_some() {} }
        });
        let server = server.await;
        let cluster = settings(&kubeconfig(server.port, &server.authority)).connect(&shared).unwrap();
        asking.push(tokio::spawn(async move { cluster.pods(&id()).await.is_ok() }));
        servers.push(server);
    }
    for asking in asking {
        // Read to the end, or without room in time.
        println!("read: {}", asking.await.unwrap());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    println!("peak {}", line.split_whitespace().nth(1).unwrap());
}

#[test]
fn the_answers_of_all_environments_together_are_bounded() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = "echoed::takes_the_answers_of_hostile_environments";
    let output = child.args(["--exact", name, "--ignored", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let peak = text.split("peak ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    println!("{peak:?} KiB");
    assert!(peak.is_some_and(|peak| peak < MAX_PEAK_KIB), "{peak:?} KiB: {text}");
}
