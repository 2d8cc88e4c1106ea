//! Environments over HTTP: accepted, shown and refused settings.

use serde_json::json;

use super::rig::Rig;
use crate::support::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_made_shown_and_deleted_without_its_secrets() {
    let rig = Rig::new().await;
    let call = |method: &'static str, path: &'static str, body| rig.test.call(ADMIN, method, path, body);
    let list = call("GET", "/v1/environments", None).await.json();
    assert_eq!(
        (&list["environments"][0]["name"], &list["environments"][0]["built_in"]),
        (&json!("local"), &json!(true))
    );
    let settings = json!({"images": "registry.example/team", "username": "me", "password": "hushhush",
        "env": {"TOKEN": "hushhush"}, "architecture": "arm64"});
    let made = call("PUT", "/v1/environments/prod", Some(settings)).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    for answer in [made, call("GET", "/v1/environments/prod", None).await, call("GET", "/v1/environments", None).await]
    {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("registry.example/team") && !text.contains("hushhush"), "{text}");
    }
    let shown = call("GET", "/v1/environments/prod", None).await.json();
    assert_eq!(
        (&shown["has_password"], &shown["env"], &shown["architecture"]),
        (&json!(true), &json!(["TOKEN"]), &json!("arm64"))
    );
    assert_eq!(call("PUT", "/v1/environments/prod", Some(json!({"images": "registry.example/x"}))).await.status, 200);
    assert_eq!(call("GET", "/v1/environments/prod", None).await.json()["has_password"], false, "all of it is replaced");
    let agent = json!({"id": "there", "environment": "prod"});
    assert_eq!(call("POST", "/v1/agents", Some(agent)).await.status, 201);
    call("DELETE", "/v1/environments/prod", None).await.problem(409, "conflict");
    assert_eq!(call("PUT", "/v1/environments/other", Some(json!({}))).await.status, 201);
    assert_eq!(call("DELETE", "/v1/environments/other", None).await.status, 204);
    call("GET", "/v1/environments/other", None).await.problem(404, "not-found");
    call("PUT", "/v1/environments/local", Some(json!({}))).await.problem(409, "conflict");
    let bad = json!({"kubeconfig": "bm90IGEga3ViZWNvbmZpZw==", "password": "hushhush"});
    let answer = call("PUT", "/v1/environments/bad", Some(bad)).await;
    assert!(matches!(answer.status.as_u16(), 400 | 422), "{}", answer.status);
    assert!(!String::from_utf8_lossy(&answer.body).contains("hushhush"));
    call("PUT", "/v1/environments/bad", Some(json!({"nonsense": 1}))).await.problem(400, "malformed-request");
}
