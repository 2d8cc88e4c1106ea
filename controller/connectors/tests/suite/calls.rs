//! Calls: sessions that are lost, servers that refuse, break, stall, or answer nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cofferdam_connectors::CallError;
use cofferdam_contract::work::{ConnectorAuth, ConnectorSpec, McpVersion, Sealed};
use cofferdam_testkit::mcp::{Asked, McpServer, Reply, Step, answer, json_answer, said};
use serde_json::json;

use crate::rig::{Rig, call, spec};

/// A server that does this for calls.
async fn on_call(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Rig, McpServer) {
    let server = McpServer::start(move |asked| (asked.rpc() == "tools/call").then(|| reply(asked))).await;
    let rig = Rig::new().await;
    rig.put(ConnectorSpec { idle_s: Some(1), timeout_s: Some(3), ..spec(&server.url()) }).await;
    (rig, server)
}

#[tokio::test]
async fn a_call_says_who_it_is_for_and_in_which_session() {
    let (rig, server) = on_call(|asked| said(asked, "hello")).await;
    let found = rig.call("a").await.unwrap();
    assert_eq!((found.text.as_str(), found.is_error), ("hello", false));
    let all = server.asked();
    let called = all.iter().find(|asked| asked.rpc() == "tools/call").unwrap();
    assert_eq!(called.header("mcp-session-id"), "session-0");
    assert_eq!(called.header("mcp-protocol-version"), McpVersion::NEWEST.as_str());
    assert!(
        called.header("accept").contains("text/event-stream") && called.header("accept").contains("application/json")
    );
    let order: Vec<&str> = all.iter().map(Asked::rpc).collect();
    assert_eq!(order, ["initialize", "notifications/initialized", "tools/list", "tools/call"]);
    rig.call("b").await.unwrap();
    assert_eq!(server.count("initialize"), 1, "the session is kept");
}

#[tokio::test]
async fn a_lost_session_is_begun_anew_once() {
    let lost = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&lost);
    let (rig, server) = on_call(move |asked| {
        let take = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if take { answer(404, &[], "session gone") } else { said(asked, "done") }
    })
    .await;
    rig.call("a").await.unwrap();
    assert_eq!((server.count("initialize"), server.count("tools/call")), (2, 2));
    lost.store(2, Ordering::Relaxed);
    assert!(matches!(rig.call("a").await, Err(CallError::Answered(_))), "not again and again");
    assert_eq!(server.count("tools/call"), 4);
}

#[tokio::test]
async fn a_call_that_may_have_had_an_effect_is_never_repeated() {
    type Case = (&'static str, fn(&Asked) -> Reply, fn(&CallError) -> bool);
    let unknown: fn(&CallError) -> bool = |error| matches!(error, CallError::Unknown(_));
    let answered: fn(&CallError) -> bool = |error| matches!(error, CallError::Answered(_));
    let cases: [Case; 19] = [
        ("no answer at all", |_| vec![Step::Cut], unknown),
        ("500", |_| answer(500, &[], "boom"), unknown),
        ("502", |_| answer(502, &[], ""), unknown),
        ("400", |_| answer(400, &[], "no"), answered),
        ("403", |_| answer(403, &[], "no"), answered),
        ("401", |_| answer(401, &[], "no"), answered),
        (
            "429",
            |_| answer(429, &[("retry-after", "7")], ""),
            |error| matches!(error, CallError::NotSent { retry_after: Some(wait), .. } if wait.as_secs() == 7),
        ),
        ("a page", |_| answer(200, &[("content-type", "text/html")], "<html>"), unknown),
        ("no JSON", |_| answer(200, &[("content-type", "application/json")], "{"), unknown),
        ("nothing", |_| answer(202, &[], ""), unknown),
        (
            "an error",
            |asked| {
                json_answer(
                    200,
                    &json!({ "jsonrpc": "2.0", "id": asked.json["id"], "error": { "code": -1, "message": "\u{1b}no" } }),
                )
            },
            |error| error.to_string() == "the server refuses (-1): no",
        ),
        ("another id", |_| json_answer(200, &json!({ "jsonrpc": "2.0", "id": 4_711, "result": {} })), unknown),
        (
            "the id as text",
            |asked| json_answer(200, &json!({ "jsonrpc": "2.0", "id": asked.json["id"].to_string(), "result": {} })),
            unknown,
        ),
        (
            "result and error",
            |asked| {
                json_answer(
                    200,
                    &json!({ "jsonrpc": "2.0", "id": asked.json["id"], "result": {}, "error": { "code": 1 } }),
                )
            },
            unknown,
        ),
        (
            "a result that is none",
            |asked| json_answer(200, &json!({ "jsonrpc": "2.0", "id": asked.json["id"], "result": [1] })),
            unknown,
        ),
        (
            "too short",
            |_| {
                vec![
                    Step::Bytes(
                        b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{".to_vec(),
                    ),
                    Step::Cut,
                ]
            },
            unknown,
        ),
        ("no HTTP", |_| vec![Step::Bytes(b"SSH-2.0-x\r\n\r\n".to_vec()), Step::Cut], unknown),
        (
            "a head without end",
            |_| vec![Step::Bytes([b"HTTP/1.1 200 X\r\nx: ".as_slice(), &[b'a'; 200 << 10]].concat()), Step::Cut],
            unknown,
        ),
        ("silence", |_| vec![Step::Wait(Duration::from_secs(30))], unknown),
    ];
    for (what, reply, expected) in cases {
        let (rig, server) = on_call(reply).await;
        let error = rig.call("a").await.unwrap_err();
        assert!(expected(&error), "{what}: {error:?}");
        assert_eq!(server.count("tools/call"), 1, "{what}");
        assert!(!error.to_string().chars().any(char::is_control), "{what}");
    }
}

#[tokio::test]
async fn huge_and_slow_answers_end() {
    let (rig, _server) = on_call(|_| {
        let mut reply = vec![Step::Bytes(
            b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\"".to_vec(),
        )];
        reply.extend((0..20).map(|_| Step::Bytes(vec![b'x'; 1 << 20])));
        reply
    })
    .await;
    let error = rig.call("a").await.unwrap_err();
    assert!(matches!(&error, CallError::Unknown(why) if why.contains("longer than")), "{error:?}");
    // A byte now and then is not silence, but the call has an end.
    let (rig, server) = on_call(|_| {
        let mut reply = vec![Step::Bytes(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n".to_vec())];
        reply.extend((0..200).flat_map(|_| [Step::Bytes(b" ".to_vec()), Step::Wait(Duration::from_millis(300))]));
        reply
    })
    .await;
    let begun = std::time::Instant::now();
    assert!(matches!(rig.call("a").await, Err(CallError::Unknown(_))));
    assert!(begun.elapsed() < Duration::from_secs(6));
    cofferdam_eventually(|| server.count("notifications/cancelled") == 1).await;
}

#[tokio::test]
async fn who_goes_away_cancels_the_call() {
    let (rig, server) = on_call(|_| vec![Step::Wait(Duration::from_millis(800))]).await;
    let waited = call(&rig.connectors, &rig.caller, None, "a", Duration::from_secs(20));
    assert!(tokio::time::timeout(Duration::from_millis(400), waited).await.is_err());
    cofferdam_eventually(|| server.count("notifications/cancelled") == 1).await;
    let all = server.asked();
    let called = all.iter().find(|asked| asked.rpc() == "tools/call").unwrap();
    let cancelled = all.iter().find(|asked| asked.rpc() == "notifications/cancelled").unwrap();
    assert_eq!(cancelled.json["params"]["requestId"], called.json["id"]);
    assert_eq!(cancelled.header("mcp-session-id"), "session-0");
}

#[tokio::test]
async fn a_server_that_fails_is_left_alone_for_a_while() {
    let (rig, server) = on_call(|_| answer(500, &[], "")).await;
    for _ in 0..5 {
        assert!(matches!(rig.call("a").await, Err(CallError::Unknown(_))));
    }
    assert!(matches!(rig.call("a").await, Err(CallError::NotSent { retry_after: Some(_), .. })));
    assert_eq!(server.count("tools/call"), 5);
}

#[tokio::test]
async fn old_and_unknown_versions_are_refused() {
    for (version, min, good) in [
        ("2025-03-26", None, true),
        ("2025-06-18", Some(McpVersion::V20250618), true),
        ("2025-03-26", Some(McpVersion::V20250618), false),
        ("2024-11-05", None, false),
        ("\u{1b}", None, false),
    ] {
        let server = McpServer::start(move |asked| {
            let hello = json!({ "protocolVersion": version, "capabilities": {}, "serverInfo": { "name": "s", "version": "1" } });
            (asked.rpc() == "initialize").then(|| cofferdam_testkit::mcp::result(asked, &hello))
        })
        .await;
        let rig = Rig::new().await;
        rig.put(ConnectorSpec { min_protocol: min, ..spec(&server.url()) }).await;
        let report = rig.connectors.test(&rig.caller, "x", None).await.unwrap();
        assert_eq!(report.ok, good, "{version} {min:?} {report:?}");
        assert!(report.problem.is_none_or(|why| !why.contains('\u{1b}')));
    }
}

#[tokio::test]
async fn credentials_are_sent_and_taken_out_of_answers() {
    let server =
        McpServer::start(|asked| (asked.rpc() == "tools/call").then(|| said(asked, &format!("{:?}", asked.headers))))
            .await;
    let rig = Rig::new().await;
    let auth = ConnectorAuth::Bearer { token: Sealed::new("canary-token-1") };
    let headers = [("x-team".to_owned(), Sealed::new("canary-header-2"))].into();
    rig.put(ConnectorSpec { auth, headers, ..spec(&server.url()) }).await;
    let found = rig.call("a").await.unwrap();
    assert!(!found.text.contains("canary") && found.text.contains("[key]"), "{}", found.text);
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.header("authorization") == "Bearer canary-token-1"));
    assert!(asked.iter().all(|asked| asked.header("x-team") == "canary-header-2"));
}

async fn cofferdam_eventually(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not become true");
}
