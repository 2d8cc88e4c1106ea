//! Calls for platform engineers: tests of environments, variables, deletions by force, dry runs, and logs that
//! end with their agent.

use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::{AgentId, OrganizationId};
use http_body_util::BodyExt;
use serde_json::json;

use super::rig::Rig;
use crate::support::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_tested_by_admins_only() {
    let rig = Rig::new().await;
    let tested = rig.test.call(ADMIN, "POST", "/v1/environments/local/test", None).await;
    assert_eq!(tested.status, 200);
    let tested = tested.json();
    assert_eq!((&tested["environment"], &tested["ok"]), (&json!("local"), &json!(false)), "{tested}");
    let detail = tested["checks"][0]["detail"].as_str().unwrap();
    assert!(tested["checks"][0]["about"] == "cluster" && detail.contains("KUBECONFIG"), "{tested}");
    assert_eq!(tested["checks"][1]["outcome"], "bad", "no registry is there: {tested}");
    rig.test.call(ADMIN, "POST", "/v1/environments/none/test", None).await.problem(404, "not-found");
    let deploy = rig.test.key(&["deploy"]).await;
    rig.test.call(&deploy, "POST", "/v1/environments/local/test", None).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_listed_without_their_values() {
    let rig = Rig::new().await;
    let call = |method: &'static str, body| rig.test.call(ADMIN, method, "/v1/variables", body);
    assert_eq!(call("GET", None).await.json(), json!({"variables": []}));
    let set = call("PATCH", Some(json!({"PIN": "007", "HUSH": "hush-hush"}))).await.json();
    assert_eq!((&set["variables"][0]["name"], &set["variables"][1]["name"]), (&json!("HUSH"), &json!("PIN")));
    assert!(set["variables"][0]["updated_at"].is_i64() && !set.to_string().contains("hush-hush"), "{set}");
    call("PATCH", Some(json!({"PIN": null, "A=B": "x"}))).await.problem(422, "invalid-request");
    let left = call("PATCH", Some(json!({"HUSH": null}))).await.json();
    assert_eq!(left["variables"].as_array().unwrap().len(), 1, "all changes or none: {left}");
    let deploy = rig.test.key(&["deploy"]).await;
    rig.test.call(&deploy, "GET", "/v1/variables", None).await.problem(403, "forbidden");
    let stranger = rig.stranger().await;
    assert_eq!(rig.test.call(&stranger, "GET", "/v1/variables", None).await.json(), json!({"variables": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn force_belongs_to_a_deletion_and_its_answer_says_what_stays() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    rig.act(json!({"agent_id": "hello", "action": "stop", "force": true})).await.problem(422, "invalid-request");
    rig.test.call(ADMIN, "DELETE", "/v1/agents/hello?forced=true", None).await.problem(400, "malformed-request");
    let deleted = rig.test.call(ADMIN, "DELETE", "/v1/agents/hello?force=true", None).await;
    assert_eq!((deleted.status.as_u16(), deleted.json()), (202, json!({"agent_id": "hello"})), "nothing was placed");
    let again = rig.act(json!({"agent_id": "hello", "action": "delete", "force": true})).await.json();
    assert_eq!(again["state"], "Stopping", "{again}");
    let read = rig.test.key(&["read"]).await;
    rig.test.call(&read, "DELETE", "/v1/agents/hello?force=true", None).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_asks_for_its_pod_and_is_shown_before_it_is_made() {
    let rig = Rig::with(&[("COFFERDAM_AGENT_LABELS", "team")]).await;
    rig.agent("hello").await;
    let deploy =
        |pod| json!({"agent_id": "hello", "action": "deploy", "dry_run": true, "env": {"A": "hush-hush"}, "pod": pod});
    let shown = rig.act(deploy(json!({"labels": {"team": "search"}}))).await;
    assert_eq!(shown.status, 200, "{}", String::from_utf8_lossy(&shown.body));
    let shown = shown.json();
    let job = shown["manifests"].as_array().unwrap().iter().find(|object| object["kind"] == "Job").unwrap().clone();
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["team"], "search");
    assert!(!shown.to_string().contains("hush-hush"), "{shown}");
    for (pod, status, part) in [
        (json!({"labels": {"app": "payments"}}), 403, "pods.labels"),
        (json!({"labels": {"app.kubernetes.io/part-of": "cofferdam"}}), 422, "reserved"),
        (json!({"priority_class": "system-node-critical"}), 403, "pods.priority_classes"),
        (json!({"volumes": [{"name": "a", "mount_path": "/a", "host_path": "/"}]}), 400, "host_path"),
        (json!({"host_network": true}), 400, "host_network"),
    ] {
        let answer = rig.act(deploy(pod)).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == status && text.contains(part), "{} {text}", answer.status);
    }
    assert_eq!(rig.act(json!({"agent_id": "hello", "action": "status"})).await.json()["state"], json!(null));
    rig.act(json!({"agent_id": "hello", "action": "start", "dry_run": true})).await.problem(422, "invalid-request");
    let read = rig.test.key(&["read"]).await;
    let body = json!({"agent_id": "hello", "action": "deploy", "dry_run": true});
    rig.test.call(&read, "POST", "/api/deploy-agent", Some(body)).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_version_that_never_was_is_no_empty_log() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let ask = |version: u64| {
        let path = format!("/agents/hello/logs?follow=false&version={version}");
        let rig = &rig;
        async move { rig.test.call(ADMIN, "GET", &path, None).await }
    };
    ask(1).await.problem(404, "not-found");
    let (link, _) = rig.link("hello").await;
    rig.put(&link, "an archive").await;
    assert_eq!(ask(1).await.status, 200);
    let answer = ask(99).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 404 && text.contains("no version 99: it has version 1 only"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_when_its_agent_is_deleted() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let request = rig.test.request(ADMIN, "GET", "/agents/hello/logs?follow=true").body(Body::empty()).unwrap();
    let answer = rig.test.client.request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    // As the driver does at the end of a deletion.
    let (organization, id) = (OrganizationId::default_organization(), AgentId::parse("hello").unwrap());
    let change = rig.test.app.store.change_agent(&organization, &id, None).await.unwrap().unwrap();
    change.delete_agent().await.unwrap();
    let whole = tokio::time::timeout(Duration::from_secs(20), answer.into_body().collect());
    let whole = whole.await.expect("it ends").unwrap().to_bytes();
    let text = String::from_utf8_lossy(&whole);
    assert!(
        text.ends_with("event: end\ndata: {\"reason\":\"deleted\",\"detail\":\"The agent was deleted.\"}\n\n"),
        "{text}"
    );
}
