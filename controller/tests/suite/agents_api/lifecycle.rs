//! `POST /api/deploy-agent`: its actions, its fields, idempotency keys, scopes.

use axum::body::Body;
use serde_json::{Value, json};

use super::rig::Rig;
use crate::support::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn every_action_answers_the_agent() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let act = |action: &str| rig.act(json!({"agent_id": "hello", "action": action}));
    assert_eq!(act("status").await.json(), json!({"agent_id": "hello", "state": null}));
    for action in ["deploy", "start", "restart", "rollback"] {
        act(action).await.problem(409, "conflict");
    }
    let (link, _) = rig.link("hello").await;
    rig.put(&link, "an archive").await;
    assert_eq!(act("deploy").await.json()["version"], 1);
    assert_eq!(act("start").await.json()["version"], 1, "it is on its way already");
    assert_eq!(act("restart").await.json()["version"], 2);
    let status = act("status").await.json();
    assert_eq!((&status["version"], &status["state"]), (&json!(2), &json!("Starting")));
    assert_eq!(act("logs").await.json()["link"], format!("{}/agents/hello/logs", rig.test.base));
    assert_eq!(act("stop").await.json()["state"], "Stopped");
    let back = rig.act(json!({"agent_id": "hello", "action": "rollback", "version": 1})).await.json();
    assert_eq!((&back["version"], &back["deployment"]["source"]["number"]), (&json!(3), &json!(1)), "{back}");
    let list = rig.test.call(ADMIN, "GET", "/v1/agents/hello/deployments?limit=2", None).await.json();
    let numbers: Vec<_> = list["deployments"].as_array().unwrap().iter().map(|d| d["number"].clone()).collect();
    assert_eq!((numbers, &list["next"]), (vec![json!(3), json!(2)], &json!(2)));
    let rest = rig.test.call(ADMIN, "GET", "/v1/agents/hello/deployments?limit=2&before=2", None).await.json();
    assert_eq!((rest["deployments"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(rig.test.call(ADMIN, "GET", "/v1/agents", None).await.json()["agents"][0]["id"], "hello");
    assert_eq!(act("delete").await.json()["state"], "Stopping");
    act("upload").await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_cannot_be_is_said_by_field() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    for (body, status, part) in [
        (json!({"agent_id": "hello"}), 400, "action"),
        (json!({"action": "status"}), 400, "agent_id"),
        (json!({"agent_id": "hello", "action": "explode"}), 422, "explode"),
        (json!({"agent_id": "hello", "action": "Status"}), 422, "Status"),
        (json!({"agent_id": "../hello", "action": "status"}), 422, "agent id"),
        (json!({"agent_id": 7, "action": "status"}), 400, "invalid type"),
        (json!({"agent_id": "hello", "action": "status", "x": 1}), 400, "unknown field"),
        (json!({"agent_id": "hello", "action": "start", "image": "r.example/a:1"}), 422, "`image`"),
        (json!({"agent_id": "hello", "action": "deploy", "version": 1}), 422, "`version`"),
        (json!({"agent_id": "hello", "action": "deploy", "env": {"A=B": "x"}}), 422, "A=B"),
        (json!({"agent_id": "hello", "action": "deploy", "env": {"PIN": 7}}), 400, "invalid type"),
        (json!({"agent_id": "hello", "action": "deploy", "secrets": ["NONE"]}), 422, "NONE"),
        (json!({"agent_id": "hello", "action": "deploy", "resources": {"memory": "lots"}}), 422, "memory"),
        (json!({"agent_id": "hello", "action": "deploy", "image": "no-registry"}), 422, "image"),
        // An upload is judged like the deployment that it is for, before anything is sent.
        (json!({"agent_id": "hello", "action": "upload", "secrets": ["NONE"]}), 422, "NONE"),
        (json!({"agent_id": "hello", "action": "upload", "pod": {"replicas": 2}}), 403, "replicas"),
        (json!({"agent_id": "hello", "action": "upload", "pod": {"replica": 2}}), 400, "unknown field"),
        (json!({"agent_id": "hello", "action": "upload", "dry_run": true}), 422, "`dry_run`"),
        (json!({"agent_id": "hello", "action": "deploy", "deployment_id": "../x"}), 422, "id"),
        (json!({"agent_id": "hello", "action": "deploy", "deployment_id": "dep_00"}), 404, "dep_00"),
        (json!({"agent_id": "hello", "action": "rollback", "version": 9}), 404, "9"),
        (json!({"agent_id": "hello", "action": "status", "idempotency_key": ""}), 200, ""),
    ] {
        let answer = rig.act(body.clone()).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{body}: {text}");
        assert!(text.contains(part), "{body}: {text}");
    }
    for id in ["", "-x", "X", "a/b", &"x".repeat(65)] {
        let answer = rig.test.call(ADMIN, "POST", "/v1/agents", Some(json!({"id": id}))).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{id}: {}", answer.status);
    }
    rig.test.call(ADMIN, "POST", "/v1/agents", Some(json!({"id": "hello"}))).await.problem(409, "conflict");
    let lost = json!({"id": "lost", "environment": "nowhere"});
    rig.test.call(ADMIN, "POST", "/v1/agents", Some(lost)).await.problem(422, "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_does_nothing_new() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let send = |key: &'static str, body: Value| {
        let request = rig.test.request(ADMIN, "POST", "/api/deploy-agent").header("content-type", "application/json");
        rig.test.send(request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap())
    };
    let upload = json!({"agent_id": "hello", "action": "upload"});
    let (first, again) = (send("k1", upload.clone()).await.json(), send("k1", upload.clone()).await.json());
    assert_eq!(first["deployment_id"], again["deployment_id"]);
    assert_ne!(first["link"], again["link"], "each is good");
    let mut field = upload.clone();
    field["idempotency_key"] = json!("k1");
    assert_eq!(rig.act(field.clone()).await.json()["deployment_id"], first["deployment_id"], "the field is the same");
    send("k2", field).await.problem(422, "invalid-request");
    assert_eq!(send("k3", upload).await.json()["version"], 2);
    let link = again["link"].as_str().unwrap().strip_prefix(&rig.test.base).unwrap();
    assert_eq!(rig.put(link, "an archive").await.status, 200);
    let deploy = json!({"agent_id": "hello", "action": "deploy", "deployment_id": first["deployment_id"]});
    for _ in 0..3 {
        assert_eq!(send("k4", deploy.clone()).await.json()["version"], 1);
    }
    send("k4", json!({"agent_id": "hello", "action": "start"})).await.problem(409, "conflict");
    for _ in 0..2 {
        assert_eq!(send("k5", json!({"agent_id": "hello", "action": "restart"})).await.json()["version"], 3);
    }
    let create = |key: &'static str| {
        let request = rig.test.request(ADMIN, "POST", "/v1/agents").header("content-type", "application/json");
        rig.test.send(request.header("idempotency-key", key).body(Body::from(r#"{"name": "new"}"#)).unwrap())
    };
    let made = create("k6").await.json();
    assert_eq!(create("k6").await.json()["id"], made["id"]);
    assert_ne!(create("k7").await.json()["id"], made["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_needs_less_than_changing() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (read, deploy) = (rig.test.key(&["read"]).await, rig.test.key(&["deploy"]).await);
    for action in ["upload", "deploy", "start", "stop", "restart", "rollback", "delete", "status", "logs"] {
        let call = |key: String| {
            let body = json!({"agent_id": "hello", "action": action});
            let rig = &rig;
            async move { rig.test.call(&key, "POST", "/api/deploy-agent", Some(body)).await }
        };
        let looked = call(read.clone()).await;
        match action {
            "status" | "logs" => assert_eq!(looked.status, 200),
            _ => drop(looked.problem(403, "forbidden")),
        }
        if action != "delete" {
            assert_ne!(call(deploy.clone()).await.status, 403, "{action}");
        }
    }
}
