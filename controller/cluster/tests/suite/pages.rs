//! Long lists: read page by page, begun again when they expire, and bounded.

use cofferdam_cluster::{ClusterError, Seen, workload_name};
use serde_json::{Value, json};

use super::api::{Answer, Api, NAMESPACE, id, job_path, status};

fn page(path: &str, items: &[Value], next: Option<&str>) -> Answer {
    let body = json!({"kind": "List", "metadata": {"continue": next}, "items": items}).to_string();
    Answer { method: "GET".into(), path: path.into(), status: 200, body, ..Answer::default() }
}

fn marks(agent: &str) -> Value {
    json!({"cofferdam.dev/organization": "default", "cofferdam.dev/agent": agent, "cofferdam.dev/version": "3"})
}

fn job(agent: &str) -> Value {
    let mut id = id();
    id.agent = cofferdam_contract::AgentId::parse(agent).unwrap();
    json!({"metadata": {"name": workload_name(&id), "annotations": marks(agent)}})
}

fn expired(path: &str, times: usize) -> Answer {
    let body = status(410, "Expired", "The provided continue parameter is too old").to_string();
    Answer { method: "GET".into(), path: path.into(), status: 410, body, times: Some(times), ..Answer::default() }
}

#[tokio::test]
async fn a_list_that_expires_is_begun_again_and_no_workload_is_listed_twice() {
    let api = Api::start().await;
    let pages = || vec![page("continue=two", &[job("b")], None), page("/jobs?", &[job("a")], Some("two"))];
    api.play([vec![expired("continue=two", 1)], pages()].concat());
    let agents: Vec<String> = api.cluster().list().await.unwrap().iter().map(|id| id.agent.to_string()).collect();
    assert_eq!(agents, ["a", "b"]);
    let asked: Vec<bool> = api.asked().iter().map(|asked| asked.path.contains("continue=two")).collect();
    assert_eq!(asked, [false, true, false, true]);
    assert!(api.asked().iter().all(|asked| asked.path.contains("limit=250")));

    // One that expires each time ends, and may pass.
    api.play([vec![expired("continue=two", 100)], pages()].concat());
    api.forget();
    let error = api.cluster().list().await.unwrap_err();
    assert!(matches!(error, ClusterError::Unreachable(_)) && error.to_string().contains("410"), "{error}");
    assert_eq!(api.asked().len(), 6);
}

#[tokio::test]
async fn the_runtimes_of_all_nodes_are_listed_once() {
    let api = Api::start().await;
    let node = |runtime: Value| json!({"metadata": {"name": "n"}, "status": {"nodeInfo": {"containerRuntimeVersion": runtime}}});
    let (new, old) = (node("containerd://2.1.9".into()), node("cri-o://1.19.0".into()));
    api.play(vec![
        page("continue=two", &[old, json!({"status": null}), node(Value::Null)], None),
        page("/api/v1/nodes?", &[new.clone(), new], Some("two")),
    ]);
    assert_eq!(api.cluster().runtimes().await.unwrap(), ["", "containerd://2.1.9", "cri-o://1.19.0"]);
    let body = status(403, "Forbidden", "nodes is forbidden").to_string();
    api.play(vec![Answer { method: "GET".into(), path: "/nodes".into(), status: 403, body, ..Answer::default() }]);
    assert!(matches!(api.cluster().runtimes().await, Err(ClusterError::Refused(_))));
}

/// A drained node leaves ended pods behind, for months.
#[tokio::test]
async fn the_pod_that_runs_is_found_behind_many_that_have_ended() {
    let api = Api::start().await;
    let name = workload_name(&id());
    let pod = |number: usize, status: Value| {
        json!({"metadata": {"name": format!("{name}-{number}"), "uid": number.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {}, "status": status})
    };
    let ended: Vec<Value> = (0..50).map(|number| pod(number, json!({"phase": "Failed"}))).collect();
    let since = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let status = json!({"name": "agent", "ready": true, "restartCount": 0, "state": since});
    let mut runs = pod(99, json!({"phase": "Running", "containerStatuses": [status]}));
    runs["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    api.put(&job_path(), json!({"metadata": {"name": name, "namespace": NAMESPACE, "annotations": marks("hello")}}));
    api.play(vec![
        page("continue=three", &[runs], None),
        page("continue=two", &ended, Some("three")),
        page("/pods?", &ended, Some("two")),
    ]);
    let seen = api.cluster().see(&id()).await.unwrap();
    assert!(matches!(&seen, Seen::Ready { pod, .. } if pod.ends_with("-99")), "{seen:?}");
    assert_eq!(api.cluster().pods(&id()).await.unwrap().len(), 101);
}
