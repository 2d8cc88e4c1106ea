//! Key-value operations over the uplink.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::uplink::TOKEN_HEADER;
use cofferdam_gateway::Admitted;
use http::Request;
use serde_json::{Value, json};

use super::rig::{Answer, Rig};

async fn ask(rig: &Rig, token: &Admitted, body: &Value) -> Answer {
    let request = Request::post("http://gateway/keyvalue").header(TOKEN_HEADER, token.token.as_deref().unwrap());
    rig.ask(request.body(Body::from(body.to_string())).unwrap()).await
}

fn b64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

#[tokio::test]
async fn a_namespace_holds_what_was_put_in_it() {
    let rig = Rig::new().await;
    let token = rig.admit(json!({"keyvalue": {}}));
    let put = json!({"op": "set", "bucket": "", "key": "ä/1", "value": b64("one")});
    assert_eq!(ask(&rig, &token, &put).await.good().json(), json!({}));
    let get = json!({"op": "get", "bucket": "", "key": "ä/1"});
    assert_eq!(ask(&rig, &token, &get).await.good().json(), json!({"value": b64("one")}));
    let elsewhere = json!({"op": "get", "bucket": "other", "key": "ä/1"});
    assert_eq!(ask(&rig, &token, &elsewhere).await.good().json(), json!({}));
    let exists = json!({"op": "exists", "bucket": "", "key": "ä/1"});
    assert_eq!(ask(&rig, &token, &exists).await.good().json(), json!({"exists": true}));
    let delete = json!({"op": "delete", "bucket": "", "key": "ä/1"});
    ask(&rig, &token, &delete).await.good();
    ask(&rig, &token, &delete).await.good();
    assert_eq!(ask(&rig, &token, &exists).await.good().json(), json!({"exists": false}));
    // Another tool, another organization's run and a snippet see nothing of it.
    ask(&rig, &token, &put).await.good();
    for change in [(|pass: &mut cofferdam_gateway::Pass| pass.tool = Some("another".into())) as fn(&mut _), |pass| {
        pass.tool = None
    }] {
        let mut pass = rig.pass(json!({"keyvalue": {}}));
        change(&mut pass);
        let other = rig.app.gateway.admit(pass).unwrap();
        assert_eq!(ask(&rig, &other, &exists).await.good().json(), json!({"exists": false}));
    }
}

#[tokio::test]
async fn keys_are_listed_a_page_at_a_time() {
    let rig = Rig::new().await;
    let token = rig.admit(json!({"keyvalue": {}}));
    let keys: Vec<String> = (0..300).map(|n| format!("k{n:03}")).collect();
    for key in &keys {
        ask(&rig, &token, &json!({"op": "set", "bucket": "b", "key": key, "value": ""})).await.good();
    }
    let first = ask(&rig, &token, &json!({"op": "list-keys", "bucket": "b"})).await.good().json();
    let cursor = first["cursor"].as_str().unwrap();
    let second = ask(&rig, &token, &json!({"op": "list-keys", "bucket": "b", "cursor": cursor})).await.good().json();
    let found: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["keys"].as_array().unwrap())
        .map(|key| key.as_str().unwrap())
        .collect();
    assert_eq!(found, keys);
    assert_eq!(second.get("cursor"), None);
}

#[tokio::test]
async fn races_lose_nothing() {
    let rig = Rig::new().await;
    let token = rig.admit(json!({"keyvalue": {}}));
    let add = json!({"op": "increment", "bucket": "b", "key": "n", "delta": 2});
    let sums = futures_util::future::join_all((0..40).map(|_| ask(&rig, &token, &add))).await;
    let mut sums: Vec<i64> = sums.iter().map(|answer| answer.json()["number"].as_i64().unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(sums, (1..=40).map(|n| n * 2).collect::<Vec<_>>());
    let get = json!({"op": "get", "bucket": "b", "key": "n"});
    assert_eq!(ask(&rig, &token, &get).await.good().json(), json!({"value": b64("80")}));
    let swap = |n: i32| {
        let body =
            json!({"op": "compare-and-swap", "bucket": "b", "key": "n", "old": b64("80"), "new": b64(&n.to_string())});
        let (rig, token) = (&rig, &token);
        async move { ask(rig, token, &body).await.good().json()["swapped"].as_bool().unwrap() }
    };
    let swapped = futures_util::future::join_all((0..10).map(swap)).await;
    assert_eq!(swapped.iter().filter(|swapped| **swapped).count(), 1, "{swapped:?}");
    let new = json!({"op": "compare-and-swap", "bucket": "b", "key": "new", "old": null, "new": b64("1")});
    assert_eq!(ask(&rig, &token, &new).await.good().json(), json!({"swapped": true}));
    assert_eq!(ask(&rig, &token, &new).await.good().json(), json!({"swapped": false, "value": b64("1")}));
}

#[tokio::test]
async fn quotas_and_wrong_requests_are_refused() {
    let rig = Rig::new().await;
    let token = rig.admit(json!({"keyvalue": {"max_bytes": 100, "max_keys": 2}}));
    let set = |key: &str, value: &str| json!({"op": "set", "bucket": "b", "key": key, "value": b64(value)});
    ask(&rig, &token, &set("a", &"x".repeat(60))).await.good();
    ask(&rig, &token, &set("b", &"x".repeat(50))).await.refusal("too-large", "100 are granted");
    ask(&rig, &token, &set("a", &"x".repeat(98))).await.good();
    ask(&rig, &token, &set("a", "short")).await.good();
    ask(&rig, &token, &set("b", "")).await.good();
    ask(&rig, &token, &set("c", "")).await.refusal("too-large", "2 keys");
    ask(&rig, &token, &json!({"op": "delete", "bucket": "b", "key": "b"})).await.good();
    ask(&rig, &token, &set("c", "12x")).await.good();
    for (body, part) in [
        (json!({"op": "increment", "bucket": "b", "key": "c", "delta": 1}), "no decimal number"),
        (json!({"op": "get", "bucket": "b", "key": ""}), "key: 1 to"),
        (json!({"op": "get", "bucket": "b", "key": "x".repeat(1_025)}), "key: 1 to"),
        (json!({"op": "get", "bucket": "b", "key": "a\u{0}"}), "no NUL"),
        (json!({"op": "get", "bucket": "x".repeat(257), "key": "a"}), "bucket"),
        (json!({"op": "set", "bucket": "b", "key": "a", "value": "!"}), "base64"),
        (json!({"op": "drop", "bucket": "b"}), "unknown variant"),
        (json!([]), "op"),
    ] {
        ask(&rig, &token, &body).await.refusal("malformed", part);
    }
    let wide = rig.admit(json!({"keyvalue": {}}));
    let long = "x".repeat((1 << 20) + 1);
    ask(&rig, &wide, &set("long", &long)).await.refusal("too-large", "1048576 bytes");
    ask(&rig, &wide, &set("long", &long.repeat(4))).await.refusal("too-large", "longer than");
    let edge = json!({"op": "set", "bucket": "b", "key": "e", "value": b64(&i64::MAX.to_string())});
    ask(&rig, &wide, &edge).await.good();
    let over = json!({"op": "increment", "bucket": "b", "key": "e", "delta": 1});
    ask(&rig, &wide, &over).await.refusal("malformed", "64 bits");
    let none = rig.admit(json!({"tools": ["x"]}));
    ask(&rig, &none, &set("a", "")).await.refusal("policy", "grants.keyvalue");
}
