//! The routes of existing clients, called as their published programs call them.

use cofferdam_controller::World;
use cofferdam_environments::Environment;
use cofferdam_store::DeploymentRow;
use cofferdam_uploads::Error;
use cofferdam_uploads::Presign;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::rig::Rig;
use crate::support::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn the_published_way_of_deploying_works() {
    let rig = Rig::new().await;
    rig.agent("3f2504e0-4f89-11d3-9a0c-0305e82c3301").await;
    let base = "/agent-containers/3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    let upload = rig.test.call(ADMIN, "GET", &format!("{base}/generate_upload_link"), None).await.json();
    let link = upload["link"].as_str().unwrap().to_owned();
    let link = link.strip_prefix(&rig.test.base).unwrap();
    let headers = [("content-type", "application/gzip"), ("x-api-key", ADMIN)];
    assert_eq!(rig.send("PUT", link, &headers, "an archive").await.status, 200);
    let deployed = rig.test.call(ADMIN, "POST", &format!("{base}/deploy"), Some(json!({}))).await;
    assert_eq!((deployed.status.as_u16(), &deployed.json()["state"]), (200, &json!("Starting")));
    // Without a body, too.
    assert_eq!(rig.test.call(ADMIN, "POST", &format!("{base}/deploy"), None).await.json()["version"], 1);
    let started = rig.test.call(ADMIN, "POST", &format!("{base}/start"), None).await.json();
    assert_eq!((&started["state"], &started["version"]), (&json!("Starting"), &json!(2)));
    let stopped = rig.test.call(ADMIN, "DELETE", &format!("{base}/stop"), None).await;
    assert_eq!((stopped.status.as_u16(), &stopped.json()["state"]), (200, &json!("Stopped")));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_stay_the_texts_that_they_are() {
    let rig = Rig::new().await;
    let path = "/default/registry/secrets_sync";
    let sync = |body| rig.test.call(ADMIN, "PATCH", path, Some(body));
    let answer = sync(json!({"PIN": "007", "FLAG": "true", "EMPTY": ""})).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"names": ["EMPTY", "FLAG", "PIN"]})));
    for wrong in [json!({"PIN": 7001}), json!({"PIN": true}), json!({"PIN": {"a": "hush"}}), json!({"PIN": ["hush"]})] {
        let problem = sync(wrong).await.problem(400, "malformed-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("PIN") && !detail.contains("hush") && !detail.contains("7001"), "{detail}");
    }
    sync(json!({"NOT OK": "x"})).await.problem(422, "invalid-request");
    assert_eq!(sync(json!({"FLAG": null})).await.json(), json!({"names": ["EMPTY", "PIN"]}));
    // Another organization's path does not exist, whoever asks.
    let foreign = rig.test.call(ADMIN, "PATCH", "/stranger/registry/secrets_sync", Some(json!({}))).await;
    foreign.problem(404, "not-found");
    let deploy = rig.test.key(&["deploy"]).await;
    rig.test.call(&deploy, "PATCH", path, Some(json!({}))).await.problem(403, "forbidden");
}

struct Bucket;

impl Presign for Bucket {
    fn presign<'a>(
        &'a self,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<String, Error>> {
        let link = format!("https://bucket.example/{}/{}?X-Amz-Expires={expires_at}", environment.name, deployment.id);
        async move { Ok(link) }.boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_environment_answers_the_same() {
    let world = World { presign: Some(std::sync::Arc::new(Bucket)), ..World::default() };
    let rig = Rig::within(world, &[]).await;
    rig.agent("near").await;
    let cloud = json!({"kind": "cloud", "images": "1.dkr.ecr.eu-west-1.amazonaws.com/x", "bucket": "images",
        "region": "eu-west-1", "ecr": true});
    let made = rig.test.call(ADMIN, "PUT", "/v1/environments/aws", Some(cloud)).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let far = json!({"id": "far", "environment": "aws"});
    assert_eq!(rig.test.call(ADMIN, "POST", "/v1/agents", Some(far)).await.status, 201);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (near, far) = (rig.upload("near").await, rig.upload("far").await);
    assert_eq!(keys(&near), keys(&far), "a caller cannot tell them apart");
    assert!(far["link"].as_str().unwrap().starts_with("https://bucket.example/aws/dep_"));
    assert_eq!((&near["method"], &near["state"]), (&far["method"], &far["state"]));
    for action in ["deploy", "status", "stop", "logs"] {
        let [near, far] = ["near", "far"].map(|id| rig.act(json!({"agent_id": id, "action": action})));
        let (near, far) = (near.await, far.await);
        assert_eq!((near.status, keys(&near.json())), (far.status, keys(&far.json())), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_callers_does_not_exist() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let stranger = rig.stranger().await;
    for id in ["hello", "unknown", "NOT-AN-ID", "..%2fhello", &"x".repeat(100)] {
        for (method, path) in [
            ("GET", format!("/v1/agents/{id}")),
            ("DELETE", format!("/v1/agents/{id}")),
            ("GET", format!("/v1/agents/{id}/deployments")),
            ("GET", format!("/v1/agents/{id}/deployments/1")),
            ("GET", format!("/v1/agents/{id}/deployments/1/events")),
            ("GET", format!("/agent-containers/{id}/generate_upload_link")),
            ("POST", format!("/agent-containers/{id}/deploy")),
            ("POST", format!("/agent-containers/{id}/start")),
            ("DELETE", format!("/agent-containers/{id}/stop")),
        ] {
            rig.test.call(&stranger, method, &path, None).await.problem(404, "not-found");
        }
    }
    for action in ["upload", "deploy", "start", "stop", "restart", "rollback", "delete", "status", "logs"] {
        let body = json!({"agent_id": "hello", "action": action});
        rig.test.call(&stranger, "POST", "/api/deploy-agent", Some(body)).await.problem(404, "not-found");
    }
    assert_eq!(rig.test.call(&stranger, "GET", "/v1/agents", None).await.json(), json!({"agents": []}));
}
