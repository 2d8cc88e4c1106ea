//! Models through the gateway: with the operator's key, which no sandbox sees, and within the grant.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cofferdam_gateway::Admitted;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::rig::{Answer, Names, Rig, Server};

const KEY: &str = "sk-hush/canary+0123456789";
/// The policy allows neither private addresses nor plain HTTP, and the operator's own upstream is still reached.
const POLICY: &str = "version: \"1.0\"\nllm:\n  allow: [small, medium]\n  max_tokens: 1000\n";
const CHAT: &str = "http://llm.cofferdam.internal/v1/chat/completions";

async fn rig(server: &Server) -> Rig {
    rig_with(POLICY, &format!("http://{}/api/v1", server.host()), KEY).await
}

async fn rig_with(policy: &str, base: &str, key: &str) -> Rig {
    Rig::with(policy, Arc::new(Names::default()), &[("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", key)]).await
}

fn grants() -> Value {
    json!({"llm": {"models": ["small"], "max_tokens": 100, "max_requests": 50}})
}

async fn chat(rig: &Rig, token: &Admitted, body: impl Into<Body>) -> Answer {
    rig.ask(rig.request(token, "POST", CHAT).body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_request_goes_out_with_the_key_and_nothing_of_the_guests_head() {
    let server = Server::echo().await;
    let rig = rig(&server).await;
    let token = rig.admit(grants());
    assert_eq!(token.env["OPENAI_BASE_URL"], "http://llm.cofferdam.internal/v1");
    assert!(token.env.values().all(|value| !value.contains("hush")), "{:?}", token.env);
    let request = rig
        .request(&token, "POST", CHAT)
        .header("authorization", "Bearer guess")
        .header("openai-organization", "another")
        .header("cookie", "a=b")
        .header("x-api-key", "guess")
        .header("content-type", "text/plain")
        .header("accept-encoding", "gzip");
    let body = r#"{"model":"small","messages":[{"role":"user","content":"hi"}],"stream":false}"#;
    let answer = rig.ask(request.body(Body::from(body)).unwrap()).await.good();
    let seen = server.seen().remove(0);
    let sent = r#"{"model":"small","max_tokens":100,"messages":[{"role":"user","content":"hi"}],"stream":false}"#;
    assert!(seen.starts_with("POST /api/v1/chat/completions\n") && seen.ends_with(&format!("\n\n{sent}")), "{seen}");
    for part in [
        format!("authorization: Bearer {KEY}\n"),
        format!("host: {}\n", server.host()),
        "content-type: application/json\n".to_owned(),
        "accept-encoding: identity\n".to_owned(),
        format!("content-length: {}\n", sent.len()),
    ] {
        assert!(seen.contains(&part), "{part:?} in {seen}");
    }
    for word in ["guess", "another", "cookie", "cofferdam-"] {
        assert!(!seen.contains(word), "{word} in {seen}");
    }
    // The echo has the key in it.
    assert!(answer.text().contains("Bearer [the operator's key]"), "{}", answer.text());
    assert!(!answer.text().contains("hush"), "{}", answer.text());
}

/// Upstreams that echo their key, or stay silent.
fn upstream() -> axum::Router {
    let events = || async {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"data: {\"n\":1}\n\n"))]);
        ([("content-type", "text/event-stream")], Body::from_stream(first.chain(stream::pending()))).into_response()
    };
    let leak = || async {
        let text = format!("{KEY} {} sk-hush%2Fcanary%2B0123456789", BASE64_STANDARD.encode(format!("x{KEY}")));
        let pieces: Vec<_> =
            text.into_bytes().chunks(5).map(|p| Ok::<_, Infallible>(Bytes::copy_from_slice(p))).collect();
        let headers = [
            ("x-request-id", KEY),
            ("set-cookie", "session=1"),
            ("openai-organization", "ours"),
            ("location", "http://127.0.0.1/"),
            ("x-ratelimit-remaining-requests", "7"),
            ("retry-after", "2"),
        ];
        (http::StatusCode::TOO_MANY_REQUESTS, headers, Body::from_stream(stream::iter(pieces)))
    };
    let list = || async {
        let model = |id: &str| json!({"id": id, "object": "model", "owned_by": KEY});
        axum::Json(json!({"object": "list", "data": [model("large"), model("small"), {"id": 5}, model("medium")]}))
    };
    let chat = move |body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).unwrap();
        match body["user"].as_str().unwrap() {
            "events" => events().await,
            "leak" => leak().await.into_response(),
            "refuse" => (http::StatusCode::UNAUTHORIZED, format!("no key {}", &KEY[..12])).into_response(),
            "redirect" => axum::response::Redirect::temporary("http://127.0.0.1:1/").into_response(),
            "gzip" => ([("content-encoding", "gzip")], "x").into_response(),
            "endless" => {
                let pieces = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 20])));
                Body::from_stream(pieces).into_response()
            }
            other => panic!("{other}"),
        }
    };
    axum::Router::new()
        .route("/api/v1/models", get(list))
        .route("/api/v1/chat/completions", post(chat))
        .route("/api/v1/embeddings", post(|| async { axum::Json(json!({"data": []})) }))
}

fn asking(user: &str) -> String {
    json!({"model": "small", "user": user, "messages": []}).to_string()
}

#[tokio::test]
async fn what_comes_back_streams_and_does_not_tell_the_key() {
    let server = Server::routes(upstream()).await;
    let rig = rig(&server).await;
    let token = rig.admit(grants());
    let request = rig.request(&token, "POST", CHAT).body(Body::from(asking("events"))).unwrap();
    let response = rig.uplink.clone().send_request(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let first = tokio::time::timeout(Duration::from_secs(2), body.frame()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().into_data().unwrap(), "data: {\"n\":1}\n\n");
    drop(body);

    let leak = chat(&rig, &token, asking("leak")).await.good();
    assert_eq!(leak.status, 429);
    assert!(
        !leak.text().contains("canary") && leak.text().matches("[the operator's key]").count() == 3,
        "{}",
        leak.text()
    );
    assert_eq!(
        (&leak.headers["retry-after"], &leak.headers["x-ratelimit-remaining-requests"]),
        (&"2".parse().unwrap(), &"7".parse().unwrap())
    );
    for name in ["x-request-id", "set-cookie", "openai-organization", "location"] {
        assert!(leak.headers.get(name).is_none(), "{name}: {:?}", leak.headers);
    }
    let refused = chat(&rig, &token, asking("refuse")).await.refusal("malformed", "refuses the operator's key (401)");
    assert!(!refused.detail.contains("sk-"), "{}", refused.detail);
    let redirect = chat(&rig, &token, asking("redirect")).await.good();
    assert_eq!((redirect.status.as_u16(), redirect.headers.get("location")), (307, None));
    chat(&rig, &token, asking("gzip")).await.refusal("malformed", "compresses");
    let endless = chat(&rig, &token, asking("endless")).await;
    assert_eq!((endless.broken.as_deref(), endless.body.len() <= 64 << 20), (Some("too-large"), true));

    let list = rig.http(&token, "GET", "http://llm.cofferdam.internal/v1/models").await.good();
    let only = json!({"id": "small", "object": "model", "created": 0, "owned_by": "upstream"});
    assert_eq!(list.json(), json!({"object": "list", "data": [only]}));
    let embed = rig.request(&token, "POST", "https://llm.cofferdam.internal/v1/embeddings");
    rig.ask(embed.body(Body::from(r#"{"model":"small","input":"x"}"#)).unwrap()).await.good();
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_nothing_is_sent() {
    let server = Server::echo().await;
    let rig = rig(&server).await;
    rig.secret("other", "a-secret-of-another-host", &["other.example"]).await;
    let mut asked = grants();
    asked["secrets"] = json!([{"name": "other"}]);
    let token = rig.admit(asked);
    for (body, by, part) in [
        (r#"{"model":"large"}"#.to_owned(), "policy", "No grant covers the model"),
        (r#"{"model":"small","Model":"large"}"#.to_owned(), "malformed", "names have only a-z"),
        (r#"{"model":"small","model":"large"}"#.to_owned(), "malformed", "appears twice"),
        (r#"{"model":"small","max_tokens":101}"#.to_owned(), "policy", "grants.llm.max_tokens"),
        ("no json".to_owned(), "malformed", "is refused"),
        (format!(r#"{{"model":"small","user":"{}"}}"#, token.env["other"]), "policy", "is not bound to"),
        (format!(r#"{{"model":"small","user":"{}"}}"#, "x".repeat(8 << 20)), "too-large", "8388608"),
    ] {
        chat(&rig, &token, body.clone()).await.refusal(by, part);
    }
    for (method, url) in [
        ("GET", CHAT.to_owned()),
        ("POST", CHAT.replace("chat/completions", "files")),
        ("POST", CHAT.replace("internal", "internal:8080")),
        ("POST", format!("{CHAT}?x")),
        ("POST", CHAT.replace("/v1", "")),
    ] {
        rig.http(&token, method, &url).await.refusal("policy", "odels");
    }
    // An HTTP grant opens no way to it, and the other way round.
    let http = rig.admit(json!({"http": [{"host": "*.cofferdam.internal"}, {"host": "llm.cofferdam.internal"}]}));
    chat(&rig, &http, r#"{"model":"small"}"#).await.refusal("policy", "grants.llm");
    rig.http(&token, "GET", &server.url("/")).await.refusal("policy", "No grant covers");
    assert!(server.seen().is_empty(), "{:?}", server.seen());

    let token = rig.admit(json!({"llm": {"models": ["*"], "max_tokens": 10, "max_requests": 2}}));
    for _ in 0..2 {
        chat(&rig, &token, r#"{"model":"anything"}"#).await.good();
    }
    chat(&rig, &token, r#"{"model":"anything"}"#).await.refusal("policy", "max_requests");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn upstreams_that_are_not_there() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = rig_with(POLICY, &format!("http://{closed}/v1"), KEY).await;
    let refused = chat(&rig, &rig.admit(grants()), asking("x")).await.refusal("connect", "cannot be reached");
    assert!(!refused.detail.contains(&closed.port().to_string()), "{}", refused.detail);
    let rig = rig_with(POLICY, "http://no-such-host.invalid/v1", KEY).await;
    let refused = chat(&rig, &rig.admit(grants()), asking("x")).await.refusal("dns", "does not resolve");
    assert!(!refused.detail.contains("no-such-host"), "{}", refused.detail);
    let silent = Server::raw(vec![], Duration::from_secs(60)).await;
    let rig = rig_with(POLICY, &silent.url("/v1"), KEY).await;
    let mut pass = rig.pass(grants());
    pass.deadline = std::time::Instant::now() + Duration::from_millis(300);
    let token = rig.app.gateway.admit(pass).unwrap();
    let answer = chat(&rig, &token, asking("x")).await;
    assert!(matches!(answer.refused(), Some("timeout" | "token" | "connect")), "{}", answer.text());
    let rig = Rig::with(POLICY, Arc::new(Names::default()), &[]).await;
    chat(&rig, &rig.admit(grants()), asking("x")).await.refusal("policy", "OPENAI_BASE_URL");
}

#[tokio::test]
async fn the_operator_has_the_other_key() {
    let server = Server::echo().await;
    let run = |grants: Value| json!({"language": "python", "code": "1", "grants": grants});
    for (policy, models, part) in [
        ("version: \"1.0\"\n", json!(["small"]), "llm.allow"),
        ("version: \"1.0\"\nllm: {max_tokens: 5}\n", json!(["*"]), "llm.allow"),
        (POLICY, json!(["large"]), "large is not allowed"),
    ] {
        let rig = rig_with(policy, &server.url("/v1"), KEY).await;
        let answer =
            rig.api(super::rig::ADMIN, "POST", "/v1/runs", Some(run(json!({"llm": {"models": models}})))).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let rig = Rig::with(POLICY, Arc::new(Names::default()), &[]).await;
    let answer = rig.api(super::rig::ADMIN, "POST", "/v1/runs", Some(run(grants()))).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("OPENAI_API_KEY"), "{}", answer.text());
    for (bad, part) in [
        (json!({"llm": {"models": []}}), "llm.models"),
        (json!({"llm": {"models": ["a b"]}}), "llm.models"),
        (json!({"llm": {"models": ["a"], "max_tokens": 0}}), "llm.max_tokens"),
        (json!({"llm": {"models": ["a"], "max_requests": 0}}), "llm.max_requests"),
        (json!({"llm": {"models": ["a"], "key": "x"}}), "key"),
        (json!({"llm": {}}), "models"),
    ] {
        let answer = rig.api(super::rig::ADMIN, "POST", "/v1/runs", Some(run(bad))).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422) && answer.text().contains(part), "{}", answer.text());
    }
}
