//! `/v1/secrets`: values are write-only.

use serde_json::json;

use super::rig::{ADMIN, Rig};

const VALUE: &str = "correct horse battery staple";

#[tokio::test]
async fn a_value_goes_in_and_does_not_come_out() {
    let rig = Rig::new().await;
    let body = json!({"value": VALUE, "hosts": ["API.example.com", "*.b.example:8443"]});
    let made = rig.api(ADMIN, "PUT", "/v1/secrets/api-key", Some(body.clone())).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["hosts"], json!(["api.example.com", "*.b.example:8443"]));
    let changed = rig.api(ADMIN, "PUT", "/v1/secrets/api-key", Some(body)).await;
    assert_eq!(changed.status, 200);
    let list = rig.api(ADMIN, "GET", "/v1/secrets", None).await;
    let one = rig.api(ADMIN, "GET", "/v1/secrets/api-key", None).await;
    assert_eq!(list.json(), json!({"secrets": [one.json()]}));
    assert_eq!(one.json()["name"], "api-key");
    for answer in [&made, &changed, &list, &one] {
        assert!(!answer.text().contains("horse") && !answer.text().contains("sealed"), "{}", answer.text());
    }
    let organization = cofferdam_contract::OrganizationId::default_organization();
    let row = rig.app.store.secret(&organization, "api-key").await.unwrap().unwrap();
    assert!(!row.sealed.contains("horse") && row.sealed.starts_with("v1."), "{}", row.sealed);
    // Moved, or bound to other hosts in the database, it does not open.
    let value = rig.app.secrets.open(&organization, "api-key").await.unwrap().unwrap();
    assert_eq!(value.value.as_str(), VALUE);
    let mut bent = row.clone();
    bent.hosts = "[\"evil.example\"]".into();
    rig.app.store.put_secret(&bent, 10).await.unwrap();
    assert!(rig.app.secrets.open(&organization, "api-key").await.is_err());
    let mut moved = row.clone();
    moved.name = "moved".into();
    rig.app.store.put_secret(&moved, 10).await.unwrap();
    assert!(rig.app.secrets.open(&organization, "moved").await.is_err());
    assert_eq!(rig.api(ADMIN, "DELETE", "/v1/secrets/api-key", None).await.status, 204);
    assert_eq!(rig.api(ADMIN, "DELETE", "/v1/secrets/api-key", None).await.status, 404);
    assert_eq!(rig.api(ADMIN, "GET", "/v1/secrets/api-key", None).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_never_repeated() {
    let rig = Rig::new().await;
    let long = "horse".repeat(4_000);
    for (name, body, status) in [
        ("a", json!({"value": VALUE}), 400),
        ("a", json!({"value": 1_234_567_890, "hosts": ["a.example"]}), 400),
        ("a", json!({"value": ["horse"], "hosts": ["a.example"]}), 400),
        ("a", json!({"value": VALUE, "hosts": ["a.example"], "more": 1}), 400),
        ("a", json!({"value": VALUE, "hosts": []}), 422),
        ("a", json!({"value": VALUE, "hosts": ["*"]}), 422),
        ("a", json!({"value": VALUE, "hosts": ["https://a.example"]}), 422),
        ("a", json!({"value": "abc", "hosts": ["a.example"]}), 422),
        ("a", json!({"value": "     ", "hosts": ["a.example"]}), 422),
        ("a", json!({"value": "horse\u{0}horse", "hosts": ["a.example"]}), 400),
        ("a", json!({"value": long, "hosts": ["a.example"]}), 422),
        ("a%20b", json!({"value": VALUE, "hosts": ["a.example"]}), 422),
        ("a%2Fb", json!({"value": VALUE, "hosts": ["a.example"]}), 422),
    ] {
        let answer = rig.api(ADMIN, "PUT", &format!("/v1/secrets/{name}"), Some(body.clone())).await;
        assert_eq!(answer.status, status, "{body} {}", answer.text());
        assert!(!answer.text().contains("horse") && !answer.text().contains("1234567890"), "{}", answer.text());
    }
    let key = rig.api(ADMIN, "POST", "/v1/keys", Some(json!({"name": "t", "scopes": ["run", "deploy"]}))).await.json();
    let key = key["key"].as_str().unwrap();
    for (method, path) in
        [("GET", "/v1/secrets"), ("PUT", "/v1/secrets/a"), ("GET", "/v1/secrets/a"), ("DELETE", "/v1/secrets/a")]
    {
        assert_eq!(rig.api(key, method, path, None).await.status, 403, "{method} {path}");
    }
}
