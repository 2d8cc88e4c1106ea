//! Logs: lines as they are written, from a given time on, of the requested container.

use std::time::Duration;

use cofferdam_cluster::{ClusterError, PodName, RawLine};
use futures_util::StreamExt;
use serde_json::json;

use super::api::{Answer, Api, core_path, id};

fn pod(restarts: u32) -> PodName {
    PodName { workload: id(), pod: "a-pod".to_owned(), restarts }
}

fn played(path: &str, body: &str) -> Answer {
    Answer { method: "GET".to_owned(), path: path.to_owned(), status: 200, body: body.to_owned(), ..Answer::default() }
}

async fn read(api: &Api, pod: &PodName, since: Option<&str>) -> Vec<RawLine> {
    let lines = api.cluster().logs(pod, since).await.unwrap();
    lines.map(|line| line.unwrap()).collect().await
}

fn with_restarts(api: &Api, restarts: u32) {
    let name = format!("{}/a-pod", core_path("pods"));
    let status = json!({"name": "agent", "image": "x", "imageID": "", "ready": true, "restartCount": restarts});
    api.put(&name, json!({"metadata": {"name": "a-pod"}, "status": {"containerStatuses": [status]}}));
}

const LOG: &str = "2026-11-22T01:00:00.000000001Z one\n2026-11-22T01:00:00.500000000Z \n2026-11-22T01:00:00.500000001Z t\u{f6}\n\
                   no time\n2026-11-22T01:00:01Z last";

#[tokio::test]
async fn lines_come_with_their_times_and_from_a_moment_on() {
    let api = Api::start().await;
    with_restarts(&api, 0);
    api.play(vec![played("/log?", LOG)]);
    let all = read(&api, &pod(0), None).await;
    let texts: Vec<&str> = all.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "", "t\u{f6}", "last"]);
    assert_eq!(all[0].time, "2026-11-22T01:00:00.000000001Z");

    // The API knows whole seconds; the rest of it is ours.
    let since = read(&api, &pod(0), Some("2026-11-22T01:00:00.500000001Z")).await;
    assert_eq!(since, all[2..]);
    let asked = api.asked();
    let query = &asked.iter().rfind(|asked| asked.path.contains("/log?")).unwrap().path;
    assert!(query.contains("sinceTime=2026-11-22T01%3A00%3A00Z"), "{query}");
    for part in ["container=agent", "follow=true", "timestamps=true"] {
        assert!(query.contains(part), "{query}");
    }
    let error = api.cluster().logs(&pod(0), Some("yesterday")).await.err().unwrap();
    assert!(matches!(error, ClusterError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn each_restart_has_a_log_of_its_own() {
    let api = Api::start().await;
    with_restarts(&api, 3);
    api.play(vec![
        played("previous=true", "2026-11-22T01:00:00Z before\n"),
        played("follow=true", "2026-11-22T01:00:01Z now\n"),
    ]);
    assert_eq!(read(&api, &pod(3), None).await[0].text, "now");
    assert_eq!(read(&api, &pod(2), None).await[0].text, "before");
    assert_eq!(read(&api, &pod(1), None).await, []);
    let early = api.cluster().logs(&pod(4), None).await.err().unwrap();
    assert!(early.is_retryable(), "{early:?}");
    let mut names = api.cluster().pods(&id()).await.unwrap();
    names.sort_by_key(|name| name.restarts);
    assert_eq!(names, [pod(2), pod(3)]);
}

#[tokio::test]
async fn a_container_that_waits_to_be_restarted_gives_its_last_log_once() {
    let api = Api::start().await;
    let name = format!("{}/a-pod", core_path("pods"));
    let status = json!({"name": "agent", "image": "x", "imageID": "", "ready": false, "restartCount": 1, "containerID": "c1",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "containerID": "c1"}}});
    api.put(&name, json!({"metadata": {"name": "a-pod"}, "status": {"containerStatuses": [status]}}));
    // As a kubelet answers then: the same log, with and without `previous`.
    api.play(vec![played("/log?", "2026-11-22T01:00:01Z second run\n")]);
    assert_eq!(read(&api, &pod(1), None).await[0].text, "second run");
    assert_eq!(read(&api, &pod(0), None).await, [], "the first run's log is gone");
}

#[tokio::test]
async fn an_endless_line_is_cut_and_what_follows_it_is_there() {
    let api = Api::start().await;
    with_restarts(&api, 0);
    let long = Answer { repeat: Some(64), ..played("/log?", &"x".repeat(65_536)) };
    api.play(vec![long]);
    assert_eq!(read(&api, &pod(0), None).await, [], "no time, no line");
    api.play(vec![played(
        "/log?",
        &format!("2026-11-22T01:00:00Z {}\n2026-11-22T01:00:01Z next\n", "\u{e4}".repeat(100_000)),
    )]);
    let lines = read(&api, &pod(0), None).await;
    assert_eq!((lines.len(), lines[1].text.as_str()), (2, "next"));
    assert!(lines[0].text.len() <= 65_540 && lines[0].text.len() > 65_000, "{}", lines[0].text.len());
}

#[tokio::test]
async fn a_line_is_there_when_it_is_written_and_a_reader_that_leaves_is_gone() {
    let api = Api::start().await;
    with_restarts(&api, 0);
    // Endless, a piece whenever there is room: what is read comes from a stream that does not end.
    let endless = Answer { repeat: Some(u64::MAX), ..played("/log?", "2026-11-22T01:00:00Z tick\n") };
    api.play(vec![endless]);
    let mut lines = api.cluster().logs(&pod(0), None).await.unwrap();
    for _ in 0..10_000 {
        let line = tokio::time::timeout(Duration::from_secs(5), lines.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(line.text, "tick");
    }
}
