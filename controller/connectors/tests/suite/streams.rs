//! Streams of events: progress, the server's own requests, cuts and resumption.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_connectors::{CallError, CallOptions};
use cofferdam_contract::work::ConnectorSpec;
use cofferdam_testkit::mcp::{Asked, McpServer, Reply, Step, chunk, end, event, stream};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::rig::{Rig, spec};

fn done(id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": "done" }] } })
}

async fn rig(server: &McpServer) -> Rig {
    let rig = Rig::new().await;
    rig.put(ConnectorSpec { idle_s: Some(1), timeout_s: Some(8), ..spec(&server.url()) }).await;
    rig
}

#[tokio::test]
async fn progress_and_requests_of_the_server_are_handled_on_the_way() {
    let server = McpServer::start(|asked| {
        (asked.rpc() == "tools/call").then(|| {
            let token = &asked.json["params"]["_meta"]["progressToken"];
            let progress = |token: &Value, n: u32| {
                let params = json!({ "progressToken": token, "progress": n, "total": 3, "message": "\u{1b}[1mgoing" });
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
            };
            let mut reply = stream();
            reply.push(chunk(": a comment\n\n"));
            reply.push(event("", &progress(token, 1)));
            reply.push(event("", &progress(&json!("somebody else's"), 2)));
            reply.push(event("", &json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" })));
            reply.push(event(
                "",
                &json!({ "jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": {} }),
            ));
            // Answers to requests that were never made.
            reply.push(event("", &done(&json!(4_711))));
            reply.push(event("", &done(&json!("x"))));
            reply.push(event("", &done(&asked.json["id"])));
            // The same answer again says nothing.
            reply.push(event("", &done(&asked.json["id"])));
            reply.push(end());
            reply
        })
    })
    .await;
    let rig = rig(&server).await;
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let options = CallOptions {
        deadline: Instant::now() + Duration::from_secs(10),
        idempotency_key: "k".to_owned(),
        progress: Some(Arc::new(move |progress| {
            hears.lock().push(format!("{} {:?}", progress.progress, progress.message))
        })),
    };
    let organization = &rig.caller.organization;
    let found = rig.connectors.call(organization, "x", None, "a", &Map::new(), options).await.unwrap();
    assert_eq!(found.text, "done");
    assert_eq!(*heard.lock(), [r#"1 Some("[1mgoing")"#]);
    for _ in 0..200 {
        if server.asked().iter().filter(|asked| asked.json["method"].is_null() && !asked.json["id"].is_null()).count()
            == 2
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let all = server.asked();
    assert!(all.iter().any(|asked| asked.json["id"] == "p" && asked.json["result"] == json!({})));
    assert!(all.iter().any(|asked| asked.json["id"] == 9 && asked.json["error"]["code"] == -32601));
}

/// Streams that are cut: the first one after an event with an id, each next one by `next`.
async fn cut(first: &'static str, next: fn(usize, &Value, &Asked) -> Reply) -> McpServer {
    let calls: Arc<Mutex<(Value, usize)>> = Arc::default();
    McpServer::start(move |asked| {
        if asked.rpc() == "tools/call" {
            calls.lock().0 = asked.json["id"].clone();
            let mut reply = stream();
            reply.extend([chunk(first), Step::Cut]);
            return Some(reply);
        }
        let mut calls = calls.lock();
        (asked.method == "GET").then(|| {
            calls.1 += 1;
            next(calls.1, &calls.0.clone(), asked)
        })
    })
    .await
}

#[tokio::test]
async fn a_stream_that_was_cut_is_taken_up_where_it_was_left() {
    let server = cut(
        "id: e1\nretry: 10\ndata:\n\nid: e2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\ndata: {\"cut",
        |n, id, asked| {
            let mut reply = stream();
            match n {
                1 => {
                    assert_eq!(asked.header("last-event-id"), "e2");
                    reply.extend([chunk("id: e3\ndata:\n\n"), end()]);
                }
                2 => return cofferdam_testkit::mcp::answer(503, &[], ""),
                _ => {
                    assert_eq!(asked.header("last-event-id"), "e3");
                    reply.extend([event("e4", &done(id)), end()]);
                }
            }
            reply
        },
    )
    .await;
    let rig = rig(&server).await;
    assert_eq!(rig.call("a").await.unwrap().text, "done");
    assert_eq!(server.count("tools/call"), 1);
    let resumed = server.asked().into_iter().find(|asked| asked.method == "GET").unwrap();
    assert_eq!(resumed.header("mcp-session-id"), "session-0");
}

#[tokio::test]
async fn a_stream_without_ids_or_that_is_not_given_again_is_unknown() {
    let server = cut("data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n", |_, _, _| panic!("there is no id")).await;
    assert!(matches!(rig(&server).await.call("a").await, Err(CallError::Unknown(_))));
    assert!(!server.asked().iter().any(|asked| asked.method == "GET"));
    let server = cut("id: 1\ndata:\n\n", |_, _, _| cofferdam_testkit::mcp::answer(405, &[], "")).await;
    assert!(matches!(rig(&server).await.call("a").await, Err(CallError::Unknown(_))));
    // A server that always closes does not hold a call for ever.
    let server = cut("id: 1\nretry: 1\ndata:\n\n", |_, _, _| {
        let mut reply = stream();
        reply.push(end());
        reply
    })
    .await;
    assert!(matches!(rig(&server).await.call("a").await, Err(CallError::Unknown(_))));
    assert_eq!(server.count("tools/call"), 1);
}

#[tokio::test]
async fn a_server_that_asks_without_end_holds_few_connections() {
    let server = McpServer::start(|asked| {
        if asked.rpc() == "tools/call" {
            let mut reply = stream();
            for n in 0..32 {
                reply.push(event("", &json!({ "jsonrpc": "2.0", "id": n, "method": "ping" })));
            }
            reply.extend([event("", &done(&asked.json["id"])), end()]);
            return Some(reply);
        }
        // It never answers what it asked for.
        let answers = asked.json["method"].is_null() && !asked.json["id"].is_null();
        answers.then(|| vec![Step::Wait(Duration::from_secs(60))])
    })
    .await;
    let rig = rig(&server).await;
    for _ in 0..4 {
        rig.call("a").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = server.asked().iter().filter(|asked| asked.json["result"] == json!({})).count();
    assert!((1..=8).contains(&held), "{held} connections wait for a server that asked for them");
}
