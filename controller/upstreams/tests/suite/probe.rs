//! Reports of tests, and lists of models.

use cofferdam_core::Secret;
use cofferdam_upstreams::{Kind, Owner, Upstream, UpstreamSpec};

use crate::server::{KEY, Server, Step, answer, json, made, net, openai, spec};

#[tokio::test]
async fn a_report_says_what_is_wrong_and_what_to_do() {
    for (wire, ok, part) in [
        (
            json(200, "{\"data\":[{\"id\":\"a\"},{\"id\":\"models/b\"},{\"id\":7},{\"id\":\"c d\"}]}"),
            true,
            "It answers",
        ),
        (json(401, "{\"error\":{\"message\":\"wrong key sk-hush-0123456789-canary\"}}"), false, "wrong key [key]"),
        (json(403, "{}"), false, "may not"),
        (json(404, "{}"), false, "base_url"),
        (json(429, "{\"error\":{\"message\":\"quota\"}}"), false, "quota"),
        (answer(500, "content-type: text/html\r\n", "<html>secret"), false, "500"),
        (answer(200, "content-type: text/html\r\n", "<html>"), false, "login page"),
        (answer(302, "location: https://x.example\r\n", ""), false, "final address"),
    ] {
        let server = Server::always(wire).await;
        let report = openai(&server).test().await;
        assert_eq!(report.ok, ok, "{report:?}");
        assert!(report.detail.contains(part) && !report.detail.contains("hush"), "{report:?}");
        assert!(report.detail.ends_with('.') || report.status.is_some(), "{report:?}");
        if ok {
            assert_eq!(report.models.unwrap(), ["a", "b"]);
            assert_eq!(openai(&server).models().await.unwrap(), ["a", "b"]);
        }
        assert_eq!(server.seen()[0].line, "GET /v1/models HTTP/1.1");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let report = made(spec(Kind::Openai, url), &[KEY]).test().await;
    assert!(report.detail.contains("Nothing answers at 127.0.0.1:"), "{report:?}");
    let report = made(spec(Kind::Openai, "http://name.invalid/v1"), &[KEY]).test().await;
    assert!(report.detail.contains("name.invalid does not resolve"), "{report:?}");
    let owner = Owner::Organization(cofferdam_contract::OrganizationId::default_organization());
    let own = UpstreamSpec { connect_timeout_s: 2, ..spec(Kind::Openai, "https://localhost/v1") };
    let closed = cofferdam_upstreams::Net::new(Vec::new(), Vec::new());
    let report = Upstream::new("up", owner, own, vec![Secret::new(KEY)], &closed).unwrap().test().await;
    assert!(report.detail.contains("[models]"), "{report:?}");
}

#[tokio::test]
async fn every_key_is_asked_and_the_bad_one_is_named_by_its_number() {
    let server = Server::start(|seen| match seen.header("x-api-key") {
        Some("key-two-0123456789") => vec![Step::Write(json(401, "{}"))],
        _ => vec![Step::Write(json(200, "{\"data\":[]}"))],
    })
    .await;
    let keys = ["key-one-0123456789", "key-two-0123456789"];
    let upstream = made(spec(Kind::Anthropic, server.url("")), &keys);
    let report = upstream.test().await;
    assert!(!report.ok && report.detail.starts_with("Key 2 of 2:"), "{report:?}");
    assert_eq!(server.seen()[0].path(), "/v1/models?limit=1000");
    // A test says nothing about the calls of others.
    assert!(upstream.ready("m").is_ok());
    assert!(made(spec(Kind::Anthropic, server.url("")), &keys[..1]).test().await.ok);
}

#[tokio::test]
async fn keys_are_needed_where_there_is_no_server_of_ones_own() {
    let new = |spec, keys: Vec<Secret>| Upstream::new("up", Owner::Operator, spec, keys, &net()).map(|_| ());
    for (given, keys, good) in [
        (UpstreamSpec::new(Kind::Openai), 0, false),
        (UpstreamSpec::new(Kind::Openai), 1, true),
        (UpstreamSpec::new(Kind::Openai), 33, false),
        (spec(Kind::Openai, "http://127.0.0.1:1/v1"), 0, true),
        (spec(Kind::Compatible, "http://127.0.0.1:1/v1"), 0, true),
        (UpstreamSpec::new(Kind::Anthropic), 0, false),
    ] {
        let texts = (0..keys).map(|n| Secret::new(format!("sk-{n}-0123456789"))).collect();
        assert_eq!(new(given, texts).is_ok(), good);
    }
}
