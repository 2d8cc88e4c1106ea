//! Grants and their limits: hosts, methods, paths, redirects, addresses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::response::Redirect;
use axum::routing::get;
use serde_json::json;

use super::rig::{LOOPBACK, Names, Rig, Server};

#[tokio::test]
async fn a_granted_request_goes_out_and_its_answer_comes_back() {
    let (rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    let request = rig
        .request(&token, "PUT", &server.url("/a/../b?q={\"x\"}"))
        .header("x-own", "1")
        .header("host", "evil.example")
        .header("cofferdam-secretly", "x")
        .header("content-type", "text/plain");
    let answer = rig.ask(request.body(Body::from("the body")).unwrap()).await.good();
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.starts_with("PUT /b?q=%7B%22x%22%7D\n"), "{text}");
    assert!(text.contains(&format!("host: {}\n", server.host())) && text.contains("x-own: 1\n"), "{text}");
    assert!(text.contains("content-length: 8\n") && text.ends_with("\n\nthe body"), "{text}");
    assert!(!text.contains("cofferdam") && !text.contains("evil"), "{text}");
    assert_eq!(answer.headers["content-length"], text.len().to_string().as_str());
    let head = rig.http(&token, "HEAD", &server.url("/")).await.good();
    assert_eq!(head.text(), "");
    assert_eq!(head.headers["cofferdam-content-length"], server.seen()[1].len().to_string().as_str());
}

#[tokio::test]
async fn what_no_grant_covers_is_refused_and_nothing_is_sent() {
    let (rig, server, other) = (Rig::new().await, Server::echo().await, Server::echo().await);
    let token = rig.admit(json!({"http": [{"host": server.host(), "methods": ["GET"], "path_prefix": "/v1"}]}));
    for (method, url, part) in [
        ("GET", other.url("/v1"), "No grant covers GET http://127.0.0.1"),
        ("POST", server.url("/v1"), "grants.http has GET 127.0.0.1"),
        ("GET", server.url("/v10"), "No grant covers"),
        ("GET", server.url("/v1/%2e%2e/admin"), "No grant covers"),
        ("GET", server.url("/v1/..%2fadmin"), "No grant covers"),
        ("GET", format!("http://localhost:{}/v1", server.address.port()), "No grant covers"),
        ("GET", format!("https://{}/v1x", server.host()), "No grant covers"),
        ("CONNECT", server.url("/v1"), "never let out"),
        ("TRACE", server.url("/v1"), "never let out"),
    ] {
        let problem = rig.http(&token, method, &url).await.refusal("policy", part);
        assert_eq!((problem.status, problem.kind()), (403, "denied-by-policy"), "{method} {url}");
    }
    for url in ["", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1\\@x/", "/v1", "http://127.0.0.1/#x"]
    {
        rig.http(&token, "GET", url).await.refusal("malformed", "The URL is refused");
    }
    rig.http(&token, "G E T", &server.url("/v1")).await.refusal("malformed", "method");
    let number = u32::from(match server.address.ip() {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => unreachable!("the server listens on IPv4"),
    });
    let odd = format!("http://{number}:{}/v1", server.address.port());
    rig.http(&token, "GET", &odd).await.good();
    assert_eq!((server.seen().len(), other.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_its_target_is_checked_anew() {
    let (rig, other) = (Rig::new().await, Server::echo().await);
    let target = other.url("/secret");
    let router = axum::Router::new().route("/", get(move || async move { Redirect::temporary(&target) }));
    let server = Server::routes(router).await;
    let token = rig.admit(server.grants());
    let answer = rig.http(&token, "GET", &server.url("/")).await.good();
    assert_eq!(answer.status, 307);
    let location = answer.headers["location"].to_str().unwrap();
    rig.http(&token, "GET", location).await.refusal("policy", "No grant covers");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let policy = "version: \"1.0\"\n";
    let rig = Rig::with(policy, Arc::new(Names::default()), &[]).await;
    let server = Server::echo().await;
    let port = server.address.port();
    let hosts = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254", "10.0.0.1", "0.0.0.0"];
    let grants: Vec<_> = hosts.iter().map(|host| json!({"host": format!("{host}:{port}")})).collect();
    let token = rig.admit(json!({ "http": grants }));
    for host in hosts.iter().chain(&["0x7f.1", "2130706433", "127.1", "0"]) {
        let answer = rig.http(&token, "GET", &format!("http://{host}:{port}/")).await;
        let problem = answer.refusal("private-address", "network.private");
        assert_eq!(problem.status, 403, "{host}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_dialled() {
    let names = Arc::new(Names::default());
    let rig = Rig::with(LOOPBACK, Arc::clone(&names), &[]).await;
    let server = Server::echo().await;
    let port = server.address.port();
    let get = |host: &str| format!("http://{host}:{port}/");
    let grants: Vec<_> = ["good.example", "rebind.example", "mixed.example", "none.example", "inside.example"]
        .iter()
        .map(|host| json!({"host": format!("{host}:{port}"), "timeout_ms": 1_000}))
        .collect();
    let token = rig.admit(json!({ "http": grants }));
    // Were the name looked up once more for the connection, it would be another address.
    names.set("good.example", &[&["127.0.0.1"], &["10.0.0.1"]]);
    let answer = rig.http(&token, "GET", &get("good.example")).await.good();
    assert!(answer.text().contains(&format!("host: good.example:{port}\n")), "{}", answer.text());
    rig.http(&token, "GET", &get("good.example")).await.refusal("private-address", "good.example");
    assert_eq!(names.asked.load(Ordering::SeqCst), 2, "one look-up for each request");
    // A public address first, then one inside: the second request is checked separately.
    names.set("rebind.example", &[&["198.20.0.1"], &["192.168.0.1"], &["169.254.169.254"]]);
    let outside = rig.http(&token, "GET", &get("rebind.example")).await;
    assert!(matches!(outside.refused(), Some("connect" | "timeout")), "{}", outside.text());
    for _ in 0..2 {
        rig.http(&token, "GET", &get("rebind.example")).await.refusal("private-address", "rebind.example");
    }
    // Of several only those that may be are dialled.
    names.set("mixed.example", &[&["10.0.0.1", "::1", "169.254.169.254", "127.0.0.1"]]);
    rig.http(&token, "GET", &get("mixed.example")).await.good();
    names.set("none.example", &[&[]]);
    rig.http(&token, "GET", &get("none.example")).await.refusal("dns", "no address");
    names.set("inside.example", &[&["::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254"]]);
    rig.http(&token, "GET", &get("inside.example")).await.refusal("private-address", "inside.example");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_ban_of_the_operator_holds_by_name_and_by_address() {
    let policy = LOOPBACK.replace("network:\n", "network:\n  deny: [{host: bad.example}, {host: 127.0.0.1}]\n");
    let names = Arc::new(Names::default());
    let rig = Rig::with(&policy, Arc::clone(&names), &[]).await;
    let server = Server::echo().await;
    let port = server.address.port();
    names.set("bad.example", &[&["127.0.0.2"]]);
    names.set("other.example", &[&["127.0.0.1"]]);
    let hosts = [format!("bad.example:{port}"), format!("other.example:{port}"), server.host()];
    let grants: Vec<_> = hosts.iter().map(|host| json!({ "host": host })).collect();
    let token = rig.admit(json!({ "http": grants }));
    rig.http(&token, "GET", &format!("http://{}/", hosts[0])).await.refusal("policy", "operator");
    rig.http(&token, "GET", &format!("http://{}/", hosts[1])).await.refusal("private-address", "operator");
    rig.http(&token, "GET", &format!("http://{}/", hosts[2])).await.refusal("policy", "operator");
    assert!(server.seen().is_empty());
}
