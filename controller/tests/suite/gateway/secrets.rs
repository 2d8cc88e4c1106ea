//! Secrets through the gateway: inserted into requests and scrubbed from answers, for their hosts only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cofferdam_gateway::Admitted;
use futures_util::stream;
use http::Request;
use serde_json::{Value, json};

use super::rig::{Names, Rig, Server};

const VALUE: &str = "sk-live-0123456789/abc+def==";

fn grants(servers: &[&Server]) -> Value {
    let hosts: Vec<_> = servers.iter().map(|server| json!({"host": server.host()})).collect();
    json!({"http": hosts, "secrets": [{"name": "key", "env": "KEY"}]})
}

async fn rig(server: &Server) -> Rig {
    let rig = Rig::new().await;
    rig.secret("key", VALUE, &[&server.host()]).await;
    rig
}

#[tokio::test]
async fn a_placeholder_becomes_the_value_and_the_value_a_placeholder() {
    let server = Server::echo().await;
    let rig = rig(&server).await;
    let token = rig.admit(grants(&[&server]));
    let placeholder = token.env["KEY"].clone();
    let basic = BASE64_STANDARD.encode(format!("user:{placeholder}"));
    let request = rig
        .request(&token, "POST", &server.url(&format!("/p/{placeholder}?k={placeholder}")))
        .header("authorization", format!("Bearer {placeholder}"))
        .header("x-basic", "untouched")
        .header("x-login", format!("Basic {basic}"))
        .header("accept-encoding", "gzip");
    let body = format!(r#"{{"key":"{placeholder}","again":"{placeholder}"}}"#);
    let answer = rig.ask(request.body(Body::from(body)).unwrap()).await.good();
    let seen = server.seen().remove(0);
    let encoded = "sk-live-0123456789%2Fabc%2Bdef%3D%3D";
    let login = BASE64_STANDARD.encode(format!("user:{VALUE}"));
    let sent = format!(r#"{{"key":"{VALUE}","again":"{VALUE}"}}"#);
    for part in [
        &format!("POST /p/{encoded}?k={encoded}\n"),
        &format!("authorization: Bearer {VALUE}\n"),
        &format!("x-login: Basic {login}\n"),
        &format!("content-length: {}\n", sent.len()),
        "accept-encoding: identity\n",
        &format!("\n\n{sent}"),
    ] {
        assert!(seen.contains(part), "{part:?} in {seen}");
    }
    assert!(!seen.contains("cofferdam-secret"), "{seen}");
    // The echo holds it plain, percent-encoded, and in base64 behind a user name.
    let text = answer.text();
    assert!(!text.contains(VALUE) && !text.contains(encoded) && !text.contains(&login[12..]), "{text}");
    assert!(text.contains(&format!("authorization: Bearer {placeholder}\n")), "{text}");
    assert!(text.ends_with(&format!(r#"{{"key":"{placeholder}","again":"{placeholder}"}}"#)), "{text}");
}

#[tokio::test]
async fn a_placeholder_for_another_host_is_refused_and_nothing_is_sent() {
    let (server, other) = (Server::echo().await, Server::echo().await);
    let rig = rig(&server).await;
    let token = rig.admit(grants(&[&server, &other]));
    let placeholder = token.env["KEY"].clone();
    let request = || rig.request(&token, "POST", &other.url("/"));
    let pieces = |text: String| {
        let pieces: Vec<_> =
            text.into_bytes().chunks(5).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
        Body::from_stream(stream::iter(pieces))
    };
    let basic = BASE64_STANDARD.encode(format!("{placeholder}:"));
    for request in [
        request().header("x", &placeholder).body(Body::empty()),
        request().header("authorization", format!("basic {basic}")).body(Body::empty()),
        rig.request(&token, "GET", &other.url(&format!("/?a={placeholder}"))).body(Body::empty()),
        rig.request(&token, "GET", &other.url(&format!("/{placeholder}"))).body(Body::empty()),
        request().body(Body::from(format!("a {placeholder}"))),
        request().body(pieces(format!("{}{placeholder}", "x".repeat(1_000)))),
    ] {
        let problem = rig.ask(request.unwrap()).await.refusal("policy", "is not bound to");
        assert!(problem.detail.contains(&server.host()) && !problem.detail.contains(VALUE), "{}", problem.detail);
    }
    assert!(other.seen().iter().all(|seen| !seen.contains(VALUE) && !seen.contains("cofferdam")), "{:?}", other.seen());
    // Bound to a host without a port, it goes to every port of it.
    rig.secret("key", VALUE, &["127.0.0.1"]).await;
    let wide = rig.admit(grants(&[&other]));
    let request = rig.request(&wide, "GET", &other.url("/")).header("x", &wide.env["KEY"]);
    rig.ask(request.body(Body::empty()).unwrap()).await.good();
    assert!(other.seen().last().unwrap().contains(VALUE));
    rig.secret("key", VALUE, &[&server.host()]).await;
    // A placeholder of another run is a text like others.
    let stranger = rig.admit(grants(&[&server]));
    let request = rig.request(&token, "POST", &server.url("/")).header("x", &stranger.env["KEY"]);
    rig.ask(request.body(Body::empty()).unwrap()).await.good();
    assert!(!server.seen()[0].contains(VALUE));
}

#[tokio::test]
async fn secrets_that_are_not_there_not_for_http_or_not_for_headers() {
    let server = Server::echo().await;
    let rig = rig(&server).await;
    rig.secret("lines", "first\r\nx-injected: 1", &[&server.host()]).await;
    let names = json!([{"name": "gone"}, {"name": "lines"}]);
    let token = rig.admit(json!({"http": [{"host": server.host()}], "secrets": names}));
    let send = |name: &str| {
        let request = rig.request(&token, "POST", &server.url("/")).header("x", &token.env[name]);
        request.body(Body::empty()).unwrap()
    };
    rig.ask(send("gone")).await.refusal("policy", "cofferdam secret set gone");
    let problem = rig.ask(send("lines")).await.refusal("policy", "no header can carry");
    assert!(!problem.detail.contains("injected"));
    let in_url = rig.http(&token, "GET", &server.url(&format!("/{}", token.env["lines"]))).await.good();
    assert!(server.seen()[0].starts_with("GET /first%0D%0Ax-injected%3A%201\n"), "{:?}", server.seen());
    assert!(!in_url.text().contains("injected"), "{}", in_url.text());
    let body = rig.request(&token, "POST", &server.url("/")).body(Body::from(token.env["lines"].clone())).unwrap();
    rig.ask(body).await.good();
    assert!(server.seen()[1].ends_with("first\r\nx-injected: 1"));
    // Without the operator's word no secret leaves over plain HTTP.
    let strict = "version: \"1.0\"\nnetwork:\n  private: [127.0.0.0/8]\n";
    let rig = Rig::with(strict, Arc::new(Names::default()), &[]).await;
    rig.secret("key", VALUE, &[&server.host()]).await;
    let token = rig.admit(grants(&[&server]));
    let request = rig.request(&token, "GET", &server.url("/")).header("x", &token.env["KEY"]);
    rig.ask(request.body(Body::empty()).unwrap()).await.refusal("policy", "https only");
}

/// Answers of a server that contain the value.
fn leaky() -> axum::Router {
    let split = || async {
        let text = format!("{} {VALUE} {} {VALUE}", "x".repeat(100), BASE64_STANDARD.encode(format!("ab{VALUE}c")));
        let pieces: Vec<_> = text.into_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
        let pieces = futures_util::StreamExt::then(stream::iter(pieces), |piece| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Infallible>(piece)
        });
        Body::from_stream(pieces)
    };
    let headers = || async { ([("x-key", VALUE), ("location", "/?k=sk-live-0123456789%2fabc%2bdef%3d%3d")], "") };
    let gzip = || async { ([("content-encoding", "gzip")], "not really").into_response() };
    let gzip_behind = || async {
        let mut answer = "not really".into_response();
        for line in ["identity", "gzip"] {
            answer.headers_mut().append("content-encoding", line.parse().unwrap());
        }
        answer
    };
    let named = || async { ([("x-sk-live-0123456789%2fabc%2bdef%3d%3d", "1"), ("x-ok", "1")], "") };
    // Python's json, Go's html/template and MIME in turn, in pieces of three bytes.
    let spelled = || async {
        let escaped: String = VALUE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        let html: String = VALUE.chars().map(|c| format!("&#{};", u32::from(c))).collect();
        let encoded = BASE64_STANDARD.encode(VALUE);
        let (head, tail) = encoded.split_at(5);
        let text = format!("{escaped} {html} {head}\r\n{tail}");
        let pieces: Vec<_> =
            text.into_bytes().chunks(3).map(|p| Ok::<_, Infallible>(Bytes::copy_from_slice(p))).collect();
        Body::from_stream(stream::iter(pieces))
    };
    let events = || async {
        let events = futures_util::StreamExt::chain(
            stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"data: 1\n\n"))]),
            stream::pending(),
        );
        Body::from_stream(events)
    };
    axum::Router::new()
        .route("/split", get(split))
        .route("/headers", get(headers))
        .route("/gzip", get(gzip))
        .route("/gzip-behind", get(gzip_behind))
        .route("/named", get(named))
        .route("/spelled", get(spelled))
        .route("/events", get(events))
        .route("/json", get(|| async { axum::Json(json!({"a\"b": VALUE})) }))
}

async fn get_path(rig: &Rig, token: &Admitted, server: &Server, path: &str) -> super::rig::Answer {
    rig.http(token, "GET", &server.url(path)).await
}

#[tokio::test]
async fn what_comes_back_holds_no_value() {
    let server = Server::routes(leaky()).await;
    let rig = rig(&server).await;
    let token = rig.admit(grants(&[&server]));
    let placeholder = token.env["KEY"].clone();
    let split = get_path(&rig, &token, &server, "/split").await.good().text();
    assert_eq!(split.matches(&placeholder).count(), 3, "{split}");
    assert!(!split.contains("0123456789") && !split.contains("MDEyMzQ1Njc4"), "{split}");
    let headers = get_path(&rig, &token, &server, "/headers").await.good().headers;
    assert_eq!(headers["x-key"], placeholder.as_str());
    assert_eq!(headers["location"], format!("/?k={placeholder}").as_str());
    let text = get_path(&rig, &token, &server, "/json").await.good().text();
    assert_eq!(text, format!(r#"{{"a\"b":"{placeholder}"}}"#));
    get_path(&rig, &token, &server, "/gzip").await.refusal("malformed", "compressed");
    get_path(&rig, &token, &server, "/gzip-behind").await.refusal("malformed", "compressed");
    let named = get_path(&rig, &token, &server, "/named").await.good().headers;
    assert!(named.contains_key("x-ok") && !named.keys().any(|name| name.as_str().contains("0123")), "{named:?}");
    let spelled = get_path(&rig, &token, &server, "/spelled").await.good().text();
    assert_eq!(spelled, format!("{placeholder} {placeholder} {placeholder}Q=="));
    // Bytes that cannot begin a value are not held back.
    let request = rig.request(&token, "GET", &server.url("/events")).body(Body::empty()).unwrap();
    let mut body = rig.uplink.clone().send_request(request).await.unwrap().into_body();
    let first = tokio::time::timeout(Duration::from_secs(2), http_body_util::BodyExt::frame(&mut body)).await;
    assert_eq!(first.unwrap().unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
}

#[tokio::test]
async fn a_long_body_has_its_placeholders_replaced_as_it_streams() {
    let server = Server::echo().await;
    let rig = rig(&server).await;
    let token = rig.admit(grants(&[&server]));
    let text = format!("{}{}{}", "x".repeat(300_000), token.env["KEY"], "y".repeat(300_000));
    for body in [
        Body::from(text.clone()),
        Body::from_stream(stream::iter(
            text.clone()
                .into_bytes()
                .chunks(1_001)
                .map(|p| Ok::<_, Infallible>(Bytes::copy_from_slice(p)))
                .collect::<Vec<_>>(),
        )),
    ] {
        let request: Request<Body> = rig.request(&token, "POST", &server.url("/")).body(body).unwrap();
        let answer = rig.ask(request).await.good();
        assert!(answer.text().ends_with(&text) && !answer.text().contains(VALUE));
    }
    for seen in server.seen() {
        assert!(seen.ends_with(&format!("xxx{VALUE}{}", "y".repeat(300_000))));
        assert!(seen.contains("transfer-encoding: chunked\n"));
    }
    // A body of nothing but placeholders does not become as large as it likes.
    rig.secret("key", &"v".repeat(16 << 10), &[&server.host()]).await;
    let token = rig.admit(grants(&[&server]));
    let request = rig.request(&token, "POST", &server.url("/")).body(Body::from(token.env["KEY"].repeat(1_000)));
    rig.ask(request.unwrap()).await.refusal("policy", "More is put");
}
