//! The doors of the AI gateway, and run tokens: who comes in, what is refused and in which protocol's words, and what ends a
//! call that is under way. What the engine does with a call is tested beside it and in `models`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_api::{ROUTES, Stranger};
use cofferdam_controller::{World, server};
use cofferdam_testkit::models::FakeModels;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{ADMIN, Answer, TestApp, eventually};

const UPSTREAM_KEY: &str = "sk-upstream-0123456789abcdef";
/// The time in which a call ends elsewhere, and some more for a busy machine.
const ENDED_WITHIN: Duration = Duration::from_secs(4);
const DOORS: [&str; 5] =
    ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/v1/messages/count_tokens"];

struct Rig {
    app: TestApp,
    fake: FakeModels,
}

impl Rig {
    async fn new() -> Self {
        let fake = FakeModels::start().await;
        let app = TestApp::within(World::default(), &settings(&fake)).await;
        Self { app, fake }
    }

    async fn token(&self, body: Value) -> (String, String) {
        let answer = self.app.call(ADMIN, "POST", "/v1/run-tokens", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let answer = answer.json();
        (answer["id"].as_str().unwrap().to_owned(), answer["token"].as_str().unwrap().to_owned())
    }
}

fn settings(fake: &FakeModels) -> [(&'static str, &'static str); 2] {
    // Lives as long as the tests do.
    let base: &'static str = Box::leak(format!("{}/v1", fake.base()).into_boxed_str());
    [("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", UPSTREAM_KEY)]
}

fn said(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "max_tokens": 5_000, "messages": [{"role": "user", "content": "Hi"}]})
}

/// A stream that goes on for a minute, after its first event.
async fn streaming(app: &TestApp, key: &str) -> Response<Incoming> {
    let request = app.request(key, "POST", DOORS[0]).body(Body::from(said("words.3000.20", true).to_string()));
    let mut response = app.client.request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    response
}

/// Reads to the end, which has to come soon.
async fn ends(mut response: Response<Incoming>) {
    let read = async { while let Some(Ok(_)) = response.body_mut().frame().await {} };
    tokio::time::timeout(ENDED_WITHIN, read).await.expect("the stream goes on");
}

/// The refusal's type and message, in the protocol of this address.
fn refusal(path: &str, answer: &Answer) -> (u16, String, String) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.headers["content-type"], "application/json", "{path}: {text}");
    assert!(answer.headers.contains_key("x-request-id"), "{path}");
    let body = answer.json();
    if path.starts_with("/v1/messages") {
        assert_eq!(body["type"], "error", "{path}: {text}");
    } else {
        assert!(body.get("type").is_none() && body["error"].get("code").is_some(), "{path}: {text}");
    }
    let word = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), word("type"), word("message"))
}

struct Refused<'a> {
    method: &'a str,
    /// After the door's own path.
    below: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Vec<u8>,
    /// Status, Anthropic's type, a part of the message.
    expected: (u16, &'a str, &'a str),
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_in_the_doors_protocol() {
    let rig = Rig::new().await;
    let (reader, runner) = (rig.app.key(&["read"]).await, rig.app.key(&["run"]).await);
    let other = format!("Bearer {reader}");
    let dead = format!("cfr_{}", "A".repeat(43));
    let post = |headers: &'static [(&'static str, &'static str)], body: &[u8], expected| {
        (Refused { method: "POST", below: "", headers, body: body.to_vec(), expected }, runner.as_str())
    };
    let with_key = |key, expected| (Refused { method: "POST", below: "", headers: &[], body: vec![], expected }, key);
    let other_header = [("authorization", other.as_str())];
    let plain =
        |method, below, expected| (Refused { method, below, headers: &[], body: vec![], expected }, runner.as_str());
    let cases = [
        with_key("", (401, "authentication_error", "Send an API key or a run token")),
        with_key("cof_unknown", (401, "authentication_error", "not known")),
        with_key(&dead, (401, "authentication_error", "POST /v1/run-tokens")),
        with_key("cfr_short", (401, "authentication_error", "POST /v1/run-tokens")),
        with_key(&reader, (403, "permission_error", "`run`")),
        (
            Refused {
                method: "POST",
                below: "",
                headers: &other_header,
                body: vec![],
                expected: (401, "authentication_error", "two different keys"),
            },
            runner.as_str(),
        ),
        post(&[("content-encoding", "gzip")], b"{}", (415, "invalid_request_error", "Content-Encoding")),
        post(&[], b"", (400, "invalid_request_error", "")),
        post(&[], b"[", (400, "invalid_request_error", "")),
        post(&[], b"\xff\xfe", (400, "invalid_request_error", "")),
        post(&[("content-type", "text/plain")], b"{}", (400, "invalid_request_error", "model")),
        plain("POST", "?beta=a%00b", (400, "invalid_request_error", "`beta`")),
        plain("GET", "", (405, "invalid_request_error", "POST")),
        plain("DELETE", "", (405, "invalid_request_error", "POST")),
        plain("GET", "/some_id", (404, "not_found_error", "There is no such address")),
        plain("DELETE", "/some_id/more", (404, "not_found_error", "There is no such address")),
        plain("POST", "/", (404, "not_found_error", "There is no such address")),
    ];
    for door in DOORS {
        for (case, key) in &cases {
            let Refused { method, below, headers, body, expected: (status, anthropic, part) } = case;
            let mut builder = rig.app.request(key, method, &format!("{door}{below}"));
            for (name, value) in *headers {
                builder = builder.header(*name, *value);
            }
            let answer = rig.app.send(builder.body(Body::from(body.clone())).unwrap()).await;
            let shown = format!("{method} {door}{below} {headers:?}");
            let (found, kind, message) = refusal(door, &answer);
            assert_eq!(found, *status, "{shown}: {message}");
            assert!(message.contains(part), "{shown}: {message}");
            let expected = if door.starts_with("/v1/messages") { *anthropic } else { "invalid_request_error" };
            assert_eq!(kind, expected, "{shown}: {message}");
            assert_eq!(answer.headers.contains_key("allow"), *status == 405, "{shown}");
        }
    }
    assert_eq!(rig.fake.calls(), 0, "nothing went out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_more_than_32_mib_is_refused_and_a_quiet_method_is_answered() {
    let rig = Rig::new().await;
    for door in ["/v1/chat/completions", "/v1/messages"] {
        let body = Body::from(vec![b' '; (32 << 20) + 1]);
        let answer = rig.app.send(rig.app.request(ADMIN, "POST", door).body(body).unwrap()).await;
        let (status, _, message) = refusal(door, &answer);
        assert!(status == 413 && message.contains("33554432"), "{status} {message}");
        let answer = rig.app.call("", "OPTIONS", door, None).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["allow"]), (204, &"OPTIONS, POST".parse().unwrap()));
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
        assert_eq!(rig.app.call(ADMIN, "HEAD", door, None).await.status, 405);
    }
    assert_eq!(rig.app.call(ADMIN, "HEAD", "/v1/models", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_header_carries_a_key_and_the_upstream_sees_none_of_them() {
    let rig = Rig::new().await;
    let bearer = format!("Bearer {ADMIN}");
    for headers in [
        &[("authorization", bearer.as_str())][..],
        &[("x-api-key", ADMIN)],
        &[("x-xpander-api-key", ADMIN)],
        &[("x-api-key", ADMIN), ("authorization", &bearer), ("x-xpander-api-key", ADMIN)],
    ] {
        let mut builder = rig.app.request("", "POST", DOORS[0]).header("cookie", "a=b");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let answer = rig.app.send(builder.body(Body::from(said("small", false).to_string())).unwrap()).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", String::from_utf8_lossy(&answer.body));
        assert!(answer.headers.contains_key("x-cofferdam-call") && answer.headers.contains_key("x-request-id"));
    }
    for seen in rig.fake.take_seen() {
        assert_eq!(seen.headers["authorization"], format!("Bearer {UPSTREAM_KEY}"));
        let shown = format!("{:?}", seen.headers);
        assert!(!shown.contains(ADMIN) && !seen.headers.contains_key("cookie"), "{shown}");
    }
    let metrics = rig.app.call("", "GET", "/metrics", None).await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("route=\"/v1/chat/completions\""));
    let labels = "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"compatible\"";
    assert!(metrics.contains(&format!("\ngen_ai_server_request_duration_seconds_count{{{labels}")), "{metrics}");
    assert!(metrics.contains("upstream=\"openai\"") && metrics.matches("# EOF").count() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_begin_as_run_tokens_do() {
    let fake = FakeModels::start().await;
    let key = "cfr_chosen-by-the-operator-0123456789";
    let env: Vec<(&str, &str)> = settings(&fake).into_iter().chain([("COFFERDAM_API_KEY", key)]).collect();
    let app = TestApp::within(World::default(), &env).await;
    for path in [DOORS[0], DOORS[3]] {
        assert_eq!(app.call(key, "POST", path, Some(said("small", false))).await.status, 200, "{path}");
    }
    assert_eq!(app.call("cfr_other", "POST", DOORS[0], Some(said("small", false))).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_calls_are_listed_and_their_texts_are_for_administrators() {
    let rig = Rig::new().await;
    let (reader, runner) = (rig.app.key(&["read"]).await, rig.app.key(&["run"]).await);
    let privacy = Some(json!({"store_contents": true}));
    assert_eq!(rig.app.call(ADMIN, "PUT", "/v1/model-privacy", privacy).await.status, 200);
    let mut asked = said("small", false);
    asked["messages"][0]["content"] = json!("Hi, my key is ghp_0123456789abcdefghijklmnopqrstuvwxyz");
    let answer = rig.app.call(ADMIN, "POST", DOORS[0], Some(asked)).await;
    let id = answer.headers["x-cofferdam-call"].to_str().unwrap().to_owned();
    let one = format!("/v1/usage/calls/{id}");
    rig.app.app.models.accounts().flush().await.unwrap();
    let shown = rig.app.call(ADMIN, "GET", &one, None).await.json();
    assert_eq!(
        (&shown["model"], &shown["upstream"], &shown["door"]),
        (&json!("small"), &json!("openai"), &json!("chat"))
    );
    let request = shown["content"]["request"].as_str().unwrap();
    assert!(request.contains("Hi, my key is") && !request.contains("ghp_0123456789abcdef"), "{request}");
    for key in [&reader, &runner] {
        let seen = rig.app.call(key, "GET", &one, None).await.json();
        assert!(seen["id"] == json!(id) && seen.get("content").is_none(), "{seen}");
    }
    rig.app.call(ADMIN, "GET", "/v1/usage/calls/call_none", None).await.problem(404, "not-found");
    let list = rig.app.call(&reader, "GET", "/v1/usage/calls?model=small&limit=1", None).await.json();
    assert!(list["calls"][0]["id"] == json!(id) && list["calls"][0].get("content").is_none(), "{list}");
    let none = rig.app.call(&reader, "GET", "/v1/usage/calls?task=t", None).await.json();
    assert_eq!(none, json!({"calls": []}));
    let csv = rig.app.call(&reader, "GET", "/v1/usage/calls?format=csv", None).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert!(String::from_utf8_lossy(&csv.body).contains(&id));
    for query in ["limit=0", "limit=1001", "after=x", "from=yesterday", "colour=red"] {
        let answer = rig.app.call(ADMIN, "GET", &format!("/v1/usage/calls?{query}"), None).await;
        assert!(answer.status.is_client_error(), "{query}: {}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_in_the_clients_own_shape() {
    let rig = Rig::new().await;
    let spec = json!({"kind": "compatible", "base_url": "https://models.example/v1", "models": ["org/tiny", "small"],
        "keys": ["sk-0123456789"]});
    let made = rig.app.call(ADMIN, "PUT", "/v1/upstreams/near", Some(spec)).await;
    assert!(made.status.is_success(), "{}", String::from_utf8_lossy(&made.body));
    let (_, token) = rig.token(json!({"agent": "a", "task": "t", "models": ["small"]})).await;
    let anthropic = async |key: &str, path: &str| {
        let request = rig.app.request(key, "GET", path).header("anthropic-version", "2023-06-01");
        rig.app.send(request.body(Body::empty()).unwrap()).await
    };
    let ids = |answer: &Answer| -> Vec<String> {
        let body = answer.json();
        let all = body["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned());
        // Without those that the operator's upstream lists.
        all.filter(|id| !id.contains("fake-")).collect()
    };
    let all = rig.app.call(ADMIN, "GET", "/v1/models", None).await;
    assert_eq!(ids(&all), ["near/org/tiny", "near/small", "org/tiny", "small"]);
    assert!(String::from_utf8_lossy(&all.body).contains("openai/fake-small"));
    assert_eq!((&all.json()["object"], &all.json()["data"][0]["object"]), (&json!("list"), &json!("model")));
    assert_eq!(ids(&rig.app.call(&token, "GET", "/v1/models", None).await), ["near/small", "small"]);
    let page = anthropic(ADMIN, "/v1/models?limit=1&after_id=near%2Forg%2Ftiny&beta=true").await.json();
    assert_eq!((&page["data"][0]["type"], &page["has_more"]), (&json!("model"), &json!(true)));
    assert_eq!((&page["first_id"], &page["last_id"]), (&json!("near/small"), &json!("near/small")));
    for path in ["/v1/models/near/org/tiny", "/v1/models/near%2Forg%2Ftiny"] {
        assert_eq!(rig.app.call(ADMIN, "GET", path, None).await.json()["id"], "near/org/tiny", "{path}");
        assert_eq!(anthropic(ADMIN, path).await.json()["display_name"], "near/org/tiny", "{path}");
    }
    for (path, key, status, kind) in [
        ("/v1/models", "", 401, "authentication_error"),
        ("/v1/models/none", ADMIN, 404, "not_found_error"),
        ("/v1/models/org/tiny", token.as_str(), 404, "not_found_error"),
        ("/v1/models/a%00b", ADMIN, 404, "not_found_error"),
        ("/v1/models/a%ffb", ADMIN, 404, "not_found_error"),
        ("/v1/models/", ADMIN, 404, "not_found_error"),
        ("/v1/models?limit=0", ADMIN, 400, "invalid_request_error"),
        ("/v1/models?after_id=none", ADMIN, 400, "invalid_request_error"),
    ] {
        let answer = anthropic(key, path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (status, &json!(kind)), "{path}");
        if !path.contains('?') {
            assert_eq!(refusal("", &rig.app.call(key, "GET", path, None).await).0, status, "{path}");
        }
    }
    let posted = rig.app.call(ADMIN, "POST", "/v1/models", None).await;
    assert_eq!((refusal("", &posted).0, &posted.headers["allow"]), (405, &"GET, HEAD, OPTIONS".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_token_opens_the_doors_of_its_models_and_nothing_else() {
    let rig = Rig::new().await;
    let wanted = json!({"agent": "writer", "task": "t1", "models": ["small"], "max_tokens": 9_000});
    let (id, token) = rig.token(wanted).await;
    assert!(token.starts_with("cfr_"));
    let listed = rig.app.call(ADMIN, "GET", "/v1/run-tokens?task=t1", None).await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(&token), "it is shown once");
    let listed = listed.json();
    assert_eq!((&listed["run_tokens"][0]["id"], listed.get("next")), (&json!(id), None));
    assert_eq!(rig.app.call(&token, "POST", DOORS[0], Some(said("small", false))).await.status, 200);
    let refused = rig.app.call(&token, "POST", DOORS[0], Some(said("large", false))).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    refusal(DOORS[0], &refused);

    let mut walked = 0;
    for (route, item) in rig.app.document["paths"].as_object().unwrap() {
        if ROUTES.iter().any(|known| known.path == route && known.stranger == Stranger::Open) {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let path = route.replace(['{', '}'], "");
            let answer = rig.app.call(&token, &method.to_uppercase(), &path, None).await;
            let detail = answer.problem(401, "unauthorized")["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("run token"), "{method} {path}: {detail}");
            walked += 1;
        }
    }
    assert!(walked > 50, "{walked}");
    rig.app.call(&token, "POST", "/mcp", Some(json!({}))).await.problem(401, "unauthorized");
    let spread = rig.app.request(&token, "POST", DOORS[0]).header("authorization", format!("Bearer {ADMIN}"));
    let both = rig.app.send(spread.body(Body::from(said("small", false).to_string())).unwrap()).await;
    assert_eq!(refusal(DOORS[0], &both).0, 401);

    for wrong in [
        json!({"agent": "a"}),
        json!({"agent": "a", "task": ""}),
        json!({"agent": "a", "task": "t", "ttl_s": 90_000}),
        json!({"agent": "a", "task": "t", "models": []}),
        json!({"agent": "a", "task": "t\u{0}"}),
        json!({"agent": "a", "task": "t", "scope": "admin"}),
    ] {
        let answer = rig.app.call(ADMIN, "POST", "/v1/run-tokens", Some(wrong.clone())).await;
        assert!(answer.status.is_client_error(), "{wrong}: {}", answer.status);
    }
    rig.app.call(ADMIN, "DELETE", "/v1/run-tokens/none", None).await.problem(404, "not-found");
    assert!(rig.app.call(ADMIN, "DELETE", "/v1/run-tokens", None).await.status.is_client_error(), "no task is named");
    assert_eq!(rig.app.call(&token, "GET", "/v1/models", None).await.status, 200, "it lives on");
    assert_eq!(rig.app.call(ADMIN, "DELETE", &format!("/v1/run-tokens/{id}"), None).await.status, 204);
    let answer = rig.app.call(&token, "POST", DOORS[3], Some(said("small", false))).await;
    assert_eq!(refusal(DOORS[3], &answer).0, 401);
    rig.app.call(ADMIN, "DELETE", &format!("/v1/run-tokens/{id}"), None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_right_here_and_in_another_process() {
    let rig = Rig::new().await;
    let other = rig.app.another(&settings(&rig.fake)).await;
    let let_go = async |streams: usize| eventually(|| rig.fake.cancelled() == streams).await;

    let (_, token) = rig.token(json!({"agent": "a", "task": "t1"})).await;
    let here = streaming(&rig.app, &token).await;
    let there = streaming(&other, &token).await;
    let done = rig.app.call(ADMIN, "DELETE", "/v1/run-tokens?task=t1", None).await;
    assert_eq!(done.json(), json!({"ended": 1}));
    ends(here).await;
    let_go(1).await;
    ends(there).await;
    let_go(2).await;
    assert_eq!(other.call(&token, "GET", "/v1/models", None).await.status, 401);

    let (_, token) = rig.token(json!({"agent": "a", "task": "t2", "ttl_s": 2})).await;
    ends(streaming(&other, &token).await).await;
    let_go(3).await;

    // The key that made a token, and a key itself.
    let made = rig.app.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "x", "scopes": ["run", "deploy"]}))).await;
    let (id, key) = (made.json()["id"].clone(), made.json()["key"].as_str().unwrap().to_owned());
    let made = rig.app.call(&key, "POST", "/v1/run-tokens", Some(json!({"agent": "a", "task": "t3"}))).await.json();
    let token = made["token"].as_str().unwrap();
    let streams = [
        streaming(&rig.app, token).await,
        streaming(&other, token).await,
        streaming(&rig.app, &key).await,
        streaming(&other, &key).await,
    ];
    let path = format!("/v1/keys/{}", id.as_str().unwrap());
    assert_eq!(rig.app.call(ADMIN, "DELETE", &path, None).await.status, 204);
    for stream in streams {
        ends(stream).await;
    }
    let_go(7).await;
    for app in [&rig.app, &other] {
        for key in [token, &key] {
            assert_eq!(app.call(key, "GET", "/v1/models", None).await.status, 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_ends_the_upstreams_work() {
    let rig = Rig::new().await;
    drop(streaming(&rig.app, ADMIN).await);
    eventually(|| rig.fake.cancelled() == 1).await;
    let request = rig.app.request(ADMIN, "POST", DOORS[0]);
    let request = request.body(Body::from(said("trouble.drip.5000", false).to_string())).unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(1), rig.app.client.request(request)).await;
    assert!(gone.is_err(), "the upstream is slow");
    eventually(|| rig.fake.cancelled() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_addresses_that_are_not_here_are_told_in_their_words() {
    let app = TestApp::new().await;
    let (all, many, lacks) = ("/v1/chat/completions", "one `/v1` too many", "lacks `/v1`");
    for (method, path, part) in [
        ("POST", "/v1/completions", "Use `POST /v1/chat/completions` instead"),
        ("POST", "/v1/complete", "Use `POST /v1/messages` instead"),
        ("GET", "/v1/batches", all),
        ("POST", "/v1/files/file_1/content", all),
        ("POST", "/v1/images/generations", all),
        ("POST", "/v1/audio/transcriptions", all),
        ("POST", "/v1/moderations", all),
        ("POST", "/v1/assistants", all),
        ("GET", "/v1/fine_tuning/jobs", all),
        ("DELETE", "/v1/vector_stores/vs_1", all),
        ("GET", "/v1/realtime?model=x", all),
        ("POST", "/v1/v1/chat/completions", many),
        ("POST", "/v1/v1/messages", many),
        ("GET", "/v1/v1", many),
        ("GET", "/v1/v1/models", many),
        ("POST", "/chat/completions", lacks),
        ("POST", "/responses", lacks),
        ("POST", "/messages", lacks),
        ("GET", "/models/gpt-5", lacks),
    ] {
        for client in ["openai", "anthropic"] {
            let mut builder = app.request("", method, path);
            if client == "anthropic" {
                builder = builder.header("anthropic-version", "2023-06-01");
            }
            let answer = app.send(builder.body(Body::empty()).unwrap()).await;
            let theirs = client == "anthropic" || path.ends_with("/messages") || path.ends_with("/complete");
            let door = if theirs { DOORS[3] } else { DOORS[0] };
            let (status, kind, message) = refusal(door, &answer);
            assert_eq!((status, theirs), (404, kind == "not_found_error"), "{path}: {kind}");
            assert!(message.contains(part) && message.contains("`/v1/messages`"), "{path}: {message}");
        }
    }
    for path in ["/v1/users", "/v1/projects", "/v1/nothing", "/v1x/v1"] {
        app.call("", "GET", path, None).await.problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ai_gateway_serves_models_and_nothing_else() {
    let rig = Rig::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let router = Arc::clone(&rig.app.app).models_only();
    let served = tokio::spawn(server::accept(listener, router, stop.clone(), Duration::from_secs(1)));
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let builder = Request::builder().method(method).uri(format!("{base}{path}")).header("x-api-key", ADMIN);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        rig.app.send(builder.body(body).unwrap()).await
    };
    assert_eq!(call("POST", DOORS[0], Some(said("small", false))).await.status, 200);
    for path in ["/health", "/ready", "/metrics", "/v1/models"] {
        let answer = call("GET", path, None).await;
        assert!(answer.status == 200 && answer.headers.contains_key("x-request-id"), "{path}: {}", answer.status);
    }
    for path in ["/v1/runs", "/v1/keys", "/v1/run-tokens", "/mcp", "/openapi.json"] {
        call("GET", path, None).await.problem(404, "not-found");
    }
    call("POST", "/health", None).await.problem(405, "method-not-allowed");
    assert_eq!(refusal(DOORS[3], &call("GET", DOORS[3], None).await).0, 405);
    stop.cancel();
    served.await.unwrap();
}
