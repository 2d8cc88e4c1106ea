//! Tokens: their owners, their lifetime, and requests without one.

use std::time::{Duration, Instant};

use axum::body::Body;
use cofferdam_contract::uplink::{METHOD_HEADER, TOKEN_HEADER, URL_HEADER};
use http::Request;
use serde_json::json;

use super::rig::{Rig, Server};

#[tokio::test]
async fn without_a_good_token_there_is_nothing() {
    let (rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    let good = token.token.clone().unwrap();
    let (name, bits) = good.split_once('.').unwrap();
    assert_eq!((name, bits.len()), (rig.app.gateway.name(), 32));
    let other = if bits.starts_with('0') { "1" } else { "0" };
    let bad = [
        String::new(),
        bits.to_owned(),
        format!("{name}."),
        format!("{name}.{other}{}", &bits[1..]),
        format!("{name}.{}", bits.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")),
        format!("{name}.+{}", &bits[1..]),
        format!("{name}.{bits}0"),
        format!("0000000000000000.{bits}"),
        format!(" {good}"),
    ];
    for text in bad {
        let request = Request::post("http://gateway/http").header(METHOD_HEADER, "GET");
        let request = request.header(URL_HEADER, server.url("/")).header(TOKEN_HEADER, &text);
        rig.ask(request.body(Body::empty()).unwrap()).await.refusal("token", "not known");
    }
    for path in ["/http", "/tools", "/keyvalue", "/", "/v1/keys"] {
        let request = Request::post(format!("http://gateway{path}")).body(Body::empty()).unwrap();
        rig.ask(request).await.refusal("token", "not known");
    }
    for path in ["/", "/v1/keys", "/httpx", "/toolsx", "/tools/a", "/tools/a/functions"] {
        let request = Request::post(format!("http://gateway{path}")).header(TOKEN_HEADER, &good);
        let answer = rig.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 404, "{path} {}", answer.text());
    }
    let request = Request::get("http://gateway/http").header(TOKEN_HEADER, &good).body(Body::empty()).unwrap();
    rig.ask(request).await.refusal("malformed", "POST");
    rig.http(&token, "GET", &server.url("/")).await.good();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_token_is_good_until_it_is_dropped_or_its_time_is_over() {
    let (rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    let request = |token: &str| {
        let request = Request::post("http://gateway/http").header(METHOD_HEADER, "GET").header(TOKEN_HEADER, token);
        request.header(URL_HEADER, server.url("/")).body(Body::empty()).unwrap()
    };
    let text = token.token.clone().unwrap();
    rig.ask(request(&text)).await.good();
    drop(token);
    rig.ask(request(&text)).await.refusal("token", "ended");
    assert_eq!(rig.app.gateway.admitted(), 0);
    let mut pass = rig.pass(server.grants());
    pass.deadline = Instant::now() + Duration::from_millis(100);
    let short = rig.app.gateway.admit(pass).unwrap();
    let text = short.token.clone().unwrap();
    rig.ask(request(&text)).await.good();
    tokio::time::sleep(Duration::from_millis(120)).await;
    rig.ask(request(&text)).await.refusal("token", "ended");
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_token() {
    let rig = Rig::new().await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    let silent = Server::raw(vec![vec![]], Duration::from_secs(60)).await;
    let drip = Server::raw([vec![head], vec![b"x".to_vec(); 10_000]].concat(), Duration::from_millis(20)).await;
    for server in [&silent, &drip] {
        let token = rig.admit(server.grants());
        let request = rig.request(&token, "GET", &server.url("/")).body(Body::empty()).unwrap();
        let started = Instant::now();
        let (answer, ()) = tokio::join!(rig.ask(request), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(token);
        });
        assert!(started.elapsed() < Duration::from_secs(2));
        assert!(answer.refused() == Some("token") || answer.broken.is_some(), "{:?}", answer.broken);
    }
}

#[tokio::test]
async fn nothing_granted_costs_nothing_and_sessions_keep_their_placeholders() {
    let rig = Rig::new().await;
    let nothing = rig.admit(json!({"config": {"a": "b"}}));
    assert!(nothing.token.is_none() && nothing.env.is_empty() && rig.app.gateway.admitted() == 0);
    let grants =
        json!({"http": [{"host": "a.example"}], "secrets": [{"name": "key", "env": "API_KEY"}, {"name": "b"}]});
    let (first, second) = (rig.admit(grants.clone()), rig.admit(grants.clone()));
    assert_eq!(first.env.keys().collect::<Vec<_>>(), ["API_KEY", "b"]);
    assert_ne!(first.env["API_KEY"], second.env["API_KEY"]);
    assert_ne!(first.env["API_KEY"], first.env["b"]);
    let in_session = |id: &str| {
        let mut pass = rig.pass(grants.clone());
        pass.session = Some(cofferdam_contract::SessionId::parse(id).unwrap());
        rig.app.gateway.admit(pass).unwrap()
    };
    assert_eq!(in_session("ses_1").env, in_session("ses_1").env);
    assert_ne!(in_session("ses_1").env, in_session("ses_2").env);
    let started = Instant::now();
    let passes: Vec<_> = (0..1_000).map(|_| rig.pass(grants.clone())).collect();
    let made = started.elapsed();
    let admitted: Vec<_> = passes.into_iter().map(|pass| rig.app.gateway.admit(pass).unwrap()).collect();
    let each = (started.elapsed() - made) / 1_000;
    eprintln!("admit: {each:?}");
    assert!(each < Duration::from_micros(100), "{each:?}");
    drop(admitted);
    drop((first, second));
    assert_eq!(rig.app.gateway.admitted(), 0);
}

#[tokio::test]
async fn an_uplink_that_breaks_is_opened_again() {
    let (mut rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    for _ in 0..3 {
        // The old one is then unused, so its connection ends.
        rig.uplink = dangling().await;
        rig.uplink = tokio::time::timeout(Duration::from_secs(5), rig.more.recv()).await.unwrap().unwrap();
        rig.http(&token, "GET", &server.url("/")).await.good();
    }
}

/// A sender without a receiver.
async fn dangling() -> super::rig::Sender {
    let (near, _far) = tokio::io::duplex(1 << 10);
    let io = hyper_util::rt::TokioIo::new(near);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    drop(connection);
    sender
}
