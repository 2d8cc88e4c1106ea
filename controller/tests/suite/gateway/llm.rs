//! Models through the gateway: a guest's requests become calls of the AI gateway, with keys that no sandbox sees, and within the
//! grant.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cofferdam_gateway::Admitted;
use cofferdam_testkit::models::{FakeModels, SeenRequest};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::rig::{ADMIN, Answer, Names, Rig, Server};

const KEY: &str = "sk-hush/canary+0123456789";
const OTHER_KEY: &str = "sk-ant-hush/canary+9876543210";
/// The policy allows neither private addresses nor plain HTTP, and the operator's own upstreams are still reached.
const POLICY: &str = "version: \"1.0\"\nllm:\n  allow: [small, medium]\n  max_tokens: 1000\n";
const BASE: &str = "http://llm.cofferdam.internal";
const CHAT: &str = "http://llm.cofferdam.internal/v1/chat/completions";

/// A rig whose operator has an upstream of OpenAI's protocol.
async fn rig(base: &str) -> Rig {
    Rig::with(POLICY, Arc::new(Names::default()), &[("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", KEY)]).await
}

/// A rig whose operator has one of Anthropic's protocol, too.
async fn both(models: &FakeModels) -> Rig {
    let (openai, anthropic) = (format!("{}/v1", models.base()), models.base());
    let env = [
        ("OPENAI_BASE_URL", openai.as_str()),
        ("OPENAI_API_KEY", KEY),
        ("ANTHROPIC_BASE_URL", anthropic.as_str()),
        ("ANTHROPIC_API_KEY", OTHER_KEY),
    ];
    Rig::with(POLICY, Arc::new(Names::default()), &env).await
}

fn grants_of(models: &[&str]) -> Value {
    json!({"llm": {"models": models, "max_tokens": 100, "max_requests": 50}})
}

fn grants() -> Value {
    grants_of(&["small"])
}

async fn send(rig: &Rig, token: &Admitted, url: &str, body: impl Into<Body>) -> Answer {
    rig.ask(rig.request(token, "POST", url).body(body.into()).unwrap()).await
}

async fn chat(rig: &Rig, token: &Admitted, body: impl Into<Body>) -> Answer {
    send(rig, token, CHAT, body).await
}

fn asking(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

/// Asserts that the AI gateway refused, in the client's own protocol.
fn said(answer: &Answer, status: u16, part: &str) {
    assert_eq!((answer.refused(), answer.status.as_u16()), (None, status), "{}", answer.text());
    let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(part), "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
}

fn one(models: &FakeModels) -> SeenRequest {
    let mut seen = models.take_seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

#[tokio::test]
async fn a_request_goes_out_with_the_key_and_nothing_of_the_guests_head() {
    let models = FakeModels::start().await;
    let rig = rig(&format!("{}/api/v1", models.base())).await;
    let token = rig.admit(grants());
    assert_eq!(token.env["OPENAI_BASE_URL"], "http://llm.cofferdam.internal/v1");
    assert_eq!(token.env["ANTHROPIC_BASE_URL"], BASE);
    assert_eq!((&*token.env["OPENAI_API_KEY"], &*token.env["ANTHROPIC_API_KEY"]), ("cofferdam", "cofferdam"));
    let request = rig
        .request(&token, "POST", CHAT)
        .header("authorization", "Bearer guess")
        .header("openai-organization", "another")
        .header("cookie", "a=b")
        .header("x-api-key", "guess")
        .header("user-agent", "guess")
        .header("x-stainless-lang", "guess")
        .header("content-type", "text/plain")
        .header("accept-encoding", "gzip");
    let body = r#"{"model":"small", "messages":[{"role":"user","content":"hi"}],"stream":false,"z":[1.50]}"#;
    models.trouble(cofferdam_testkit::models::Trouble::KeyInStream);
    let answer = rig.ask(request.body(Body::from(body)).unwrap()).await.good();
    let seen = one(&models);
    assert_eq!(seen.path, "/api/v1/chat/completions");
    // A compatible server may know no newer name of this limit.
    let sent = String::from_utf8(seen.body.to_vec()).unwrap();
    let limited = ["\"max_tokens\":100,", "\"max_completion_tokens\":100,"].map(|limit| sent.replacen(limit, "", 1));
    assert!(limited.contains(&body.to_owned()) && sent != body, "{sent}");
    for (name, value) in [
        ("authorization", format!("Bearer {KEY}")),
        ("host", models.address().to_string()),
        ("content-type", "application/json".to_owned()),
        ("accept-encoding", "identity".to_owned()),
        ("content-length", sent.len().to_string()),
    ] {
        assert_eq!(seen.headers[name], value, "{name}");
    }
    let head = format!("{:?}", seen.headers);
    for word in ["guess", "another", "cookie", "\"cofferdam-", "llm.cofferdam"] {
        assert!(!head.contains(word), "{word} in {head}");
    }
    // The answer has the key in it.
    assert!(answer.text().contains("your key is [key]") && !answer.text().contains("hush"), "{}", answer.text());
    assert_eq!(answer.headers["x-cofferdam-model"], "openai/small");
    assert!(answer.headers["x-cofferdam-call"].to_str().unwrap().starts_with("call_"));
}

/// An upstream that tells its key, stays silent, or misbehaves, as the request's user says.
fn upstream() -> axum::Router {
    let chunk = |text: &str| {
        let choice = json!({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null});
        let chunk =
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "small", "choices": [choice]});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let leak = || {
        let text = format!("{KEY} {} sk-hush%2Fcanary%2B0123456789", BASE64_STANDARD.encode(format!("x{KEY}")));
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
        let whole =
            json!({"id": "x", "object": "chat.completion", "created": 1, "model": "small", "choices": [choice]});
        let pieces = whole.to_string().into_bytes();
        let pieces: Vec<_> = pieces.chunks(5).map(|p| Ok::<_, Infallible>(Bytes::copy_from_slice(p))).collect();
        let headers = [
            ("content-type", "application/json"),
            ("x-request-id", KEY),
            ("set-cookie", "session=1"),
            ("openai-organization", "ours"),
            ("cofferdam-refused", "policy"),
            ("x-cofferdam-model", "forged"),
            ("location", "http://127.0.0.1/"),
            ("x-ratelimit-remaining-requests", "7"),
        ];
        (headers, Body::from_stream(stream::iter(pieces))).into_response()
    };
    let events = [("content-type", "text/event-stream")];
    let chat = move |body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).unwrap();
        match body["user"].as_str().unwrap() {
            "events" => {
                let first = stream::iter([Ok::<_, Infallible>(chunk("one"))]);
                (events, Body::from_stream(first.chain(stream::pending()))).into_response()
            }
            "endless" => {
                let piece = chunk(&"x".repeat(1 << 20));
                let pieces = stream::repeat_with(move || Ok::<_, Infallible>(piece.clone()));
                (events, Body::from_stream(pieces)).into_response()
            }
            "leak" => leak(),
            "refuse" => (http::StatusCode::UNAUTHORIZED, format!("no key {}", &KEY[..12])).into_response(),
            "redirect" => axum::response::Redirect::temporary("http://127.0.0.1:1/").into_response(),
            "gzip" => ([("content-encoding", "gzip")], "x").into_response(),
            other => panic!("{other}"),
        }
    };
    axum::Router::new().route("/api/v1/chat/completions", post(chat))
}

fn wanting(user: &str, stream: bool) -> String {
    json!({"model": "small", "user": user, "messages": [], "stream": stream}).to_string()
}

#[tokio::test]
async fn what_comes_back_streams_and_does_not_tell_the_key() {
    let server = Server::routes(upstream()).await;
    let base = server.url("/api/v1");
    let rig_of_all = rig(&base).await;
    let token = rig_of_all.admit(grants());
    let request = rig_of_all.request(&token, "POST", CHAT).body(Body::from(wanting("events", true))).unwrap();
    let response = rig_of_all.uplink.clone().send_request(request).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let mut body = response.into_body();
    let first = tokio::time::timeout(Duration::from_secs(2), body.frame()).await.unwrap();
    let first = first.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"data: ") && first.ends_with(b"\n\n"), "{first:?}");
    drop(body);

    let leak = chat(&rig_of_all, &token, wanting("leak", false)).await.good();
    assert_eq!(leak.status, 200);
    assert!(!leak.text().contains("canary") && leak.text().matches("[key]").count() == 3, "{}", leak.text());
    assert_eq!(leak.headers["x-ratelimit-remaining-requests"], "7");
    assert_eq!(leak.headers["x-cofferdam-model"], "openai/small");
    for name in ["x-request-id", "set-cookie", "openai-organization", "location"] {
        assert!(leak.headers.get(name).is_none(), "{name}: {:?}", leak.headers);
    }
    let endless = chat(&rig_of_all, &token, wanting("endless", true)).await;
    assert_eq!((endless.broken.as_deref(), endless.body.len() <= 64 << 20), (Some("too-large"), true));

    for (user, part) in [("refuse", "refuses its key (401)"), ("redirect", "redirect (307)"), ("gzip", "compresses")] {
        // A new one each time: an upstream that behaves like this is not asked again for a while.
        let rig = rig(&base).await;
        let refused = chat(&rig, &rig.admit(grants()), wanting(user, false)).await;
        said(&refused, 500, part);
        assert!(!refused.text().contains("sk-") && refused.headers.get("location").is_none(), "{}", refused.text());
    }
}

#[tokio::test]
async fn all_protocols_of_both_providers_are_served() {
    let models = FakeModels::start().await;
    let rig = both(&models).await;
    let token = rig.admit(grants_of(&["openai/gpt-small", "claude-small", "absent"]));
    let mut asked = asking("claude-small");
    asked["max_tokens"] = json!(50);
    let text = asked.to_string();
    for (path, seen_at) in [("/v1/messages", "/v1/messages"), ("/v1/messages?beta=true", "/v1/messages")] {
        let request = rig
            .request(&token, "POST", &format!("{BASE}{path}"))
            .header("anthropic-version", "2023-06-01")
            .header("anthropic-beta", "some-beta-2025-01-01")
            .header("anthropic-dangerous-direct-browser-access", "true")
            .header("x-api-key", "cofferdam");
        let answer = rig.ask(request.body(Body::from(text.clone())).unwrap()).await.good();
        assert_eq!((answer.status.as_u16(), &answer.json()["type"]), (200, &json!("message")), "{}", answer.text());
        let seen = one(&models);
        assert!(seen.path.starts_with(seen_at), "{}", seen.path);
        assert_eq!(seen.body, text, "byte for byte");
        assert_eq!(seen.headers["x-api-key"], OTHER_KEY);
        assert_eq!(seen.headers["anthropic-version"], "2023-06-01");
        assert_eq!(seen.headers["anthropic-beta"], "some-beta-2025-01-01");
        assert!(!seen.headers.contains_key("anthropic-dangerous-direct-browser-access"), "{:?}", seen.headers);
    }
    let count =
        send(&rig, &token, &format!("{BASE}/v1/messages/count_tokens"), asking("claude-small").to_string()).await;
    assert!(count.good().json()["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(one(&models).path, "/v1/messages/count_tokens");

    let input = json!({"model": "openai/gpt-small", "input": "hi"});
    let response = send(&rig, &token, &format!("{BASE}/v1/responses"), input.to_string()).await.good();
    assert_eq!(
        (response.status.as_u16(), &response.json()["object"]),
        (200, &json!("response")),
        "{}",
        response.text()
    );
    let seen = one(&models);
    assert_eq!(
        (seen.path.as_str(), seen.headers["authorization"].to_str().unwrap()),
        ("/v1/chat/completions", &*format!("Bearer {KEY}"))
    );
    assert_eq!(seen.json()["model"], "gpt-small");
    // The grant's limit goes along, in whatever protocol.
    let limit = |body: &Value| body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64());
    assert_eq!(limit(&seen.json()), Some(100));

    let mut events = asking("openai/gpt-small");
    events["stream"] = json!(true);
    let events = send(&rig, &token, &format!("{BASE}/v1/messages"), events.to_string()).await.good();
    for event in ["event: message_start", "event: content_block_delta", "event: message_stop"] {
        assert!(events.text().contains(event), "{event} in {}", events.text());
    }
    assert_eq!(limit(&one(&models).json()), Some(100));
    let embed = send(
        &rig,
        &token,
        "https://llm.cofferdam.internal/v1/embeddings",
        r#"{"model":"openai/gpt-small","input":"x"}"#,
    );
    assert_eq!(embed.await.good().status, 200);
    models.take_seen();

    // The list has what is granted and can be served: `absent` may be served, by upstreams that do not say what they have.
    let list = rig.http(&token, "GET", &format!("{BASE}/v1/models")).await.good().json();
    let ids = |list: &Value| -> Vec<String> {
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (&list["object"], ids(&list)),
        (&json!("list"), vec!["absent".into(), "claude-small".into(), "openai/gpt-small".to_owned()])
    );
    assert_eq!(
        list["data"][1],
        json!({"id": "claude-small", "object": "model", "created": 0, "owned_by": "anthropic"})
    );
    let request = rig.request(&token, "GET", &format!("{BASE}/v1/models")).header("anthropic-version", "2023-06-01");
    let list = rig.ask(request.body(Body::empty()).unwrap()).await.good().json();
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["data"][0]["type"]),
        (&json!(false), &json!("absent"), &json!("model"))
    );
    assert_eq!(ids(&list).len(), 3);
    // An upstream without a list of its own is asked for one, and for nothing else.
    assert!(models.take_seen().iter().all(|seen| seen.method == http::Method::GET));
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_nothing_is_sent() {
    let server = Server::echo().await;
    let rig = rig(&server.url("/v1")).await;
    rig.secret("other", "a-secret-of-another-host", &["other.example"]).await;
    let mut asked = grants();
    asked["secrets"] = json!([{"name": "other"}]);
    let token = rig.admit(asked);
    for (body, status, part) in [
        (r#"{"model":"large"}"#, 403, "grants.llm allows [small]"),
        (r#"{"model":"Small"}"#, 403, "grants.llm"),
        (r#"{"model":"small "}"#, 403, "grants.llm"),
        (r#"{"model":"openai/small"}"#, 403, "grants.llm"),
        (r#"{"model":"*"}"#, 403, "grants.llm"),
        (r#"{"messages":[]}"#, 400, "missing"),
        (r#"{"model":["small"]}"#, 400, "text"),
        (r#"{"model":"small","Model":"large"}"#, 400, "another field"),
        (r#"{"model":"small","model":"large"}"#, 400, "twice"),
        (r#"{"model":"small","m\u006fdel":"large"}"#, 400, "twice"),
        (r#"{"model":"small","max_tokens":101}"#, 403, "grants.llm allows 100"),
        (r#"{"model":"small","max_tokens":51,"n":2}"#, 403, "grants.llm allows 100"),
        (r#"{"model":"small","n":18446744073709551615,"max_tokens":2}"#, 403, "grants.llm"),
        (r#"{"model":"small","n":101}"#, 403, "grants.llm"),
        (r#"{"model":"small"} {"model":"large"}"#, 400, "JSON"),
        ("no json", 400, "JSON"),
    ] {
        said(&chat(&rig, &token, body).await, status, part);
    }
    // A grant has no patterns.
    said(&chat(&rig, &rig.admit(grants_of(&["sm*", "small*"])), r#"{"model":"small"}"#).await, 403, "grants.llm");
    let messages = send(&rig, &token, &format!("{BASE}/v1/messages"), r#"{"model":"large","max_tokens":1}"#).await;
    said(&messages, 403, "grants.llm");
    assert_eq!(messages.json()["error"]["type"], "permission_error");
    let responses =
        send(&rig, &token, &format!("{BASE}/v1/responses"), r#"{"model":"small","max_output_tokens":101}"#).await;
    said(&responses, 403, "grants.llm allows 100");
    for (body, by, part) in [
        (format!(r#"{{"model":"small","user":"{}"}}"#, token.env["other"]), "policy", "is not bound to"),
        (format!(r#"{{"model":"small","user":"{}"}}"#, "x".repeat(8 << 20)), "too-large", "8388608"),
    ] {
        chat(&rig, &token, body).await.refusal(by, part);
    }
    for (method, url) in [
        ("GET", CHAT.to_owned()),
        ("POST", CHAT.replace("chat/completions", "files")),
        ("POST", CHAT.replace("chat/completions", "messages/batches")),
        ("GET", CHAT.replace("chat/completions", "responses/resp_1")),
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
}

#[tokio::test]
async fn requests_and_tokens_of_a_grant_are_counted() {
    let models = FakeModels::start().await;
    let rig = rig(&format!("{}/v1", models.base())).await;
    let token = rig.admit(json!({"llm": {"models": ["*"], "max_tokens": 10, "max_requests": 3}}));
    // A refused one counts.
    said(&chat(&rig, &token, "no json").await, 400, "JSON");
    for _ in 0..2 {
        assert_eq!(chat(&rig, &token, asking("anything").to_string()).await.good().status, 200);
    }
    chat(&rig, &token, asking("anything").to_string()).await.refusal("policy", "max_requests");
    assert_eq!(models.take_seen().len(), 2);
    // The lower of two limits that a compatible server may read is not the only one that counts.
    let token = rig.admit(grants());
    let body = r#"{"model":"small","max_completion_tokens":1,"max_tokens":9999,"messages":[]}"#;
    said(&chat(&rig, &token, body).await, 403, "9999");
    assert_eq!(models.take_seen().len(), 0);
}

#[tokio::test]
async fn a_budget_of_the_organization_counts_the_calls_of_guests() {
    let models = FakeModels::start().await;
    let rig = rig(&format!("{}/v1", models.base())).await;
    let budget = json!({"per": "organization", "unit": "requests", "limit": 2, "window": "month"});
    let put = rig.api(ADMIN, "PUT", "/v1/budgets/two-calls", Some(budget)).await;
    assert!(put.status.is_success(), "{} {}", put.status, put.text());
    let token = rig.admit(grants());
    for _ in 0..2 {
        assert_eq!(chat(&rig, &token, asking("small").to_string()).await.good().status, 200);
    }
    let refused = chat(&rig, &token, asking("small").to_string()).await;
    said(&refused, 429, "two-calls");
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    assert_eq!(models.take_seen().len(), 2);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let models = FakeModels::start().await;
    let rig = rig(&format!("{}/v1", models.base())).await;
    let slow = || {
        let mut body = asking("words.1000.50");
        body["stream"] = json!(true);
        Body::from(body.to_string())
    };
    let token = rig.admit(grants_of(&["words.1000.50"]));
    let request = rig.request(&token, "POST", CHAT).body(slow()).unwrap();
    let asked = rig.ask(request);
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(token);
    };
    let (answer, ()) =
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(asked, revoke) }).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.broken.as_deref()), (200, Some("token")), "{}", answer.text());

    let mut pass = rig.pass(grants_of(&["words.1000.50"]));
    pass.deadline = std::time::Instant::now() + Duration::from_millis(700);
    let token = rig.app.gateway.admit(pass).unwrap();
    let asked = chat(&rig, &token, slow());
    let answer = tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.broken.as_deref()), (200, Some("timeout")), "{}", answer.text());
    // The upstream is not left to write for nobody.
    for _ in 0..50 {
        if models.cancelled() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} streams were cancelled", models.cancelled());
}

#[tokio::test]
async fn upstreams_that_are_not_there() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig_of = |base: String| async move { rig(&base).await };
    let rig = rig_of(format!("http://{closed}/v1")).await;
    let refused = chat(&rig, &rig.admit(grants()), asking("small").to_string()).await;
    said(&refused, 500, "cannot be reached");
    assert!(!refused.text().contains(&closed.port().to_string()), "{}", refused.text());
    let rig = rig_of("http://no-such-host.invalid/v1".to_owned()).await;
    let refused = chat(&rig, &rig.admit(grants()), asking("small").to_string()).await;
    said(&refused, 500, "does not resolve");
    assert!(!refused.text().contains("no-such-host"), "{}", refused.text());
    let silent = Server::raw(vec![], Duration::from_secs(60)).await;
    let rig = rig_of(silent.url("/v1")).await;
    let mut pass = rig.pass(grants());
    pass.deadline = std::time::Instant::now() + Duration::from_millis(300);
    let token = rig.app.gateway.admit(pass).unwrap();
    let answer = chat(&rig, &token, asking("small").to_string()).await;
    assert!(matches!(answer.refused(), Some("timeout" | "token")), "{} {}", answer.status, answer.text());
    // Without an upstream a grant stands, because one can come at any time; a call says how.
    let rig = Rig::with(POLICY, Arc::new(Names::default()), &[]).await;
    let token = rig.admit(grants());
    let refused = chat(&rig, &token, asking("small").to_string()).await;
    said(&refused, 404, "OPENAI_API_KEY");
    let list = rig.http(&token, "GET", &format!("{BASE}/v1/models")).await.good();
    assert_eq!(list.json(), json!({"object": "list", "data": []}));
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
        let (base, names) = (server.url("/v1"), Arc::new(Names::default()));
        let rig = Rig::with(policy, names, &[("OPENAI_BASE_URL", &base), ("OPENAI_API_KEY", KEY)]).await;
        let answer = rig.api(ADMIN, "POST", "/v1/runs", Some(run(json!({"llm": {"models": models}})))).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let rig = Rig::with(POLICY, Arc::new(Names::default()), &[]).await;
    for (bad, part) in [
        (json!({"llm": {"models": []}}), "llm.models"),
        (json!({"llm": {"models": ["a b"]}}), "llm.models"),
        (json!({"llm": {"models": ["a"], "max_tokens": 0}}), "llm.max_tokens"),
        (json!({"llm": {"models": ["a"], "max_requests": 0}}), "llm.max_requests"),
        (json!({"llm": {"models": ["a"], "key": "x"}}), "key"),
        (json!({"llm": {}}), "models"),
    ] {
        let answer = rig.api(ADMIN, "POST", "/v1/runs", Some(run(bad))).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422) && answer.text().contains(part), "{}", answer.text());
    }
}
