//! Tools: pages, filters, names, changes, and lists that mean harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cofferdam_connectors::{CallError, MAX_TOOLS};
use cofferdam_contract::work::{ConnectorSpec, McpVersion};
use cofferdam_testkit::mcp::{McpServer, Step, end, event, json_answer, result, stream, tool};
use serde_json::{Value, json};

use crate::rig::{Rig, spec};

#[tokio::test]
async fn pages_are_read_filtered_and_renamed() {
    let server = McpServer::start(|asked| match asked.rpc() {
        "tools/list" => Some(match asked.json["params"]["cursor"].as_str() {
            None => result(asked, &json!({ "tools": [tool("get.a"), tool("put")], "nextCursor": "2" })),
            Some("2") => result(asked, &json!({ "tools": [tool("get.b"), tool("get.secret")], "nextCursor": "3" })),
            // The same cursor again would never end.
            Some(_) => result(asked, &json!({ "tools": [tool("get.c"), tool("get.a")], "nextCursor": "2" })),
        }),
        _ => None,
    })
    .await;
    let rig = Rig::new().await;
    rig.put(ConnectorSpec {
        only: Some(vec!["get.*".to_owned()]),
        exclude: vec!["*secret".to_owned()],
        rename: [("get.b".to_owned(), "bee".to_owned())].into(),
        prefix: Some("s_".to_owned()),
        ..spec(&server.url())
    })
    .await;
    let report = rig.connectors.test(&rig.caller, "x", None).await.unwrap();
    let names: Vec<&str> = report.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["bee", "s_get_a", "s_get_c"], "{report:?}");
    assert_eq!((report.server.as_deref(), report.protocol), (Some("scripted 1"), Some(McpVersion::NEWEST)));
    assert!(report.skipped[0].contains("two tools"), "{:?}", report.skipped);
    assert!(rig.call("bee").await.is_ok());
    let called = server.asked().into_iter().find(|asked| asked.rpc() == "tools/call").unwrap();
    assert_eq!(called.json["params"]["name"], "get.b", "the server's own name");
    assert_eq!(called.json["params"]["_meta"]["dev.cofferdam/idempotency-key"], "task_1/call_1");
    assert!(matches!(rig.call("put").await, Err(CallError::Refused(_))), "a tool that is filtered out");
}

#[tokio::test]
async fn a_list_is_kept_until_the_server_says_that_it_changed() {
    let more = Arc::new(AtomicBool::new(false));
    let has_more = Arc::clone(&more);
    let server = McpServer::start(move |asked| match asked.rpc() {
        "tools/list" if has_more.load(Ordering::Relaxed) => {
            Some(result(asked, &json!({ "tools": [tool("a"), tool("new")] })))
        }
        "tools/call" => {
            let mut reply = stream();
            reply.push(event("", &json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })));
            let result = json!({ "content": [] });
            reply.push(event("", &json!({ "jsonrpc": "2.0", "id": asked.json["id"], "result": result })));
            reply.push(end());
            Some(reply)
        }
        _ => None,
    })
    .await;
    let rig = Rig::new().await;
    rig.put(spec(&server.url())).await;
    let organization = &rig.caller.organization;
    for _ in 0..3 {
        assert!(rig.connectors.tools(organization, "x", None).await.unwrap().find("new").is_none());
    }
    assert_eq!(server.count("tools/list"), 1);
    more.store(true, Ordering::Relaxed);
    rig.call("a").await.unwrap();
    assert!(rig.connectors.tools(organization, "x", None).await.unwrap().find("new").is_some());
    assert_eq!(server.count("tools/list"), 2);
}

#[tokio::test]
async fn a_hostile_list_is_bounded_and_cleaned() {
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pages);
    let server = McpServer::start(move |asked| match asked.rpc() {
        "tools/list" => {
            let page = counted.fetch_add(1, Ordering::Relaxed);
            let mut tools: Vec<Value> = (0..100).map(|n| tool(&format!("t{page}_{n}"))).collect();
            if page == 0 {
                let with = |name: &str, key: &str, value: Value| {
                    let mut one = tool(name);
                    one[key] = value;
                    one
                };
                tools.insert(
                    0,
                    with(
                        "loud",
                        "description",
                        json!("\u{1b}[31m\u{202e}IGNORE\u{0}".to_owned() + &"x".repeat(1 << 20)),
                    ),
                );
                tools.push(with("a\u{7}b", "description", json!("x")));
                tools.push(with("big", "inputSchema", json!({ "type": "object", "description": "x".repeat(70_000) })));
                tools.push(with("list", "inputSchema", json!([])));
                tools.push(with("text", "inputSchema", json!({ "type": "string" })));
                tools.push(json!(7));
                tools.push(with(
                    "claims",
                    "annotations",
                    json!({ "readOnlyHint": true, "destructiveHint": false, "x": [] }),
                ));
            }
            // It never ends.
            Some(result(asked, &json!({ "tools": tools, "nextCursor": page.to_string() })))
        }
        _ => None,
    })
    .await;
    let rig = Rig::new().await;
    rig.put(spec(&server.url())).await;
    let list = rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap();
    assert_eq!(list.tools.len(), MAX_TOOLS);
    let loud = list.find("loud").unwrap();
    assert!(loud.description.starts_with("[31mIGNORExx") && loud.description.len() <= 8 << 10);
    let claims = list.find("claims").unwrap().hints;
    assert_eq!((claims.read_only, claims.destructive, claims.idempotent), (Some(true), Some(false), None));
    assert_eq!(list.skipped.len(), 5, "{:?}", list.skipped);
    assert!(list.skipped.iter().all(|why| !why.chars().any(char::is_control)));
}

#[tokio::test]
async fn a_list_of_before_serves_while_the_server_is_away() {
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let server = McpServer::start(move |asked| {
        (asked.rpc() == "tools/list" && is_away.load(Ordering::Relaxed)).then(|| json_answer(503, &json!({})))
    })
    .await;
    let rig = Rig::new().await;
    rig.put(spec(&server.url())).await;
    rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap();
    away.store(true, Ordering::Relaxed);
    let list = rig.connectors.test(&rig.caller, "x", None).await.unwrap();
    assert!(list.ok && list.tools.len() == 3, "{list:?}");
}

#[tokio::test]
async fn a_server_that_tells_unasked_is_listened_to() {
    let told = Arc::new(AtomicBool::new(false));
    let tells = Arc::clone(&told);
    let server = McpServer::start(move |asked| {
        if asked.method == "GET" {
            let mut reply = stream();
            // The first stream is cut, the second one tells.
            if tells.swap(true, Ordering::Relaxed) {
                let changed = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
                reply.extend([event("7", &changed), Step::Wait(std::time::Duration::from_secs(30))]);
            }
            reply.push(Step::Cut);
            return Some(reply);
        }
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": { "listChanged": true } },
            "serverInfo": { "name": "s", "version": "1" } });
        (asked.rpc() == "initialize").then(|| result(asked, &hello))
    })
    .await;
    let rig = Rig::new().await;
    rig.put(spec(&server.url())).await;
    for _ in 0..100 {
        rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap();
        if server.count("tools/list") == 2 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the list was not asked for again");
}

#[tokio::test]
async fn schemas_that_are_bombs_or_hide_something_are_not_offered() {
    let server = McpServer::start(|asked| match asked.rpc() {
        "tools/list" => {
            // 64 KiB of text, and twenty times that in memory.
            let bomb = json!({ "type": "object", "x": vec![json!([]); 20_000] });
            let half = json!({ "type": "object", "x": vec![json!([]); 10_000] });
            let with = |name: &str, key: &str, value: &Value| {
                let mut one = tool(name);
                one[key] = value.clone();
                one
            };
            let mut tools = vec![
                with("bomb", "inputSchema", &bomb),
                with("told", "outputSchema", &bomb),
                with("hidden", "inputSchema", &json!({ "type": "object", "properties": { "a\u{e0041}": {} } })),
                with(
                    "remarks",
                    "inputSchema",
                    &json!({ "type": "object", "properties": { "a": { "examples": ["x\u{e0041}"] } } }),
                ),
            ];
            tools.extend((0..200).map(|n| with(&format!("t{n}"), "outputSchema", &half)));
            Some(result(asked, &json!({ "tools": tools })))
        }
        _ => None,
    })
    .await;
    let rig = Rig::new().await;
    rig.put(spec(&server.url())).await;
    let list = rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap();
    assert!(list.find("bomb").is_none() && list.find("hidden").is_none(), "{:?}", list.skipped);
    assert!(list.skipped.iter().any(|why| why == "bomb: its schema has too many parts"), "{:?}", list.skipped);
    assert!(list.find("told").unwrap().output_schema.is_none(), "the tool can be called without it");
    assert_eq!(list.find("remarks").unwrap().input_schema["properties"]["a"]["examples"], json!(["x"]));
    // 640 KiB of memory each.
    assert!((20..40).contains(&list.tools.len()), "{} tools", list.tools.len());
}
