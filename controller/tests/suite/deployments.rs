//! Concurrent deployments: two of one tool, one and a deletion, one and a rollback. Nothing is half-deployed, numbers
//! are in order, and the list is correct at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp, eventually};
use cofferdam_testkit::tools::{FakeTools, component, digest, held};

async fn put(app: &TestApp, tool: &str, component: Vec<u8>) -> Answer {
    let request = app.request(ADMIN, "PUT", &format!("/v1/tools/{tool}")).header("content-type", "application/wasm");
    app.send(request.body(Body::from(component)).unwrap()).await
}

/// The current result of the tool's function `f`.
async fn answers(app: &TestApp, tool: &str, function: &str) -> Value {
    let path = format!("/v1/tools/{tool}/functions/{function}");
    app.call(ADMIN, "POST", &path, Some(json!({}))).await.json()["result"].clone()
}

async fn shown(app: &TestApp, tool: &str) -> Value {
    let answer = app.call(ADMIN, "GET", &format!("/v1/tools/{tool}"), None).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

fn numbers(shown: &Value) -> Vec<i64> {
    shown["versions"].as_array().unwrap().iter().map(|version| version["number"].as_i64().unwrap()).collect()
}

async fn app() -> (FakeTools, Arc<TestApp>) {
    let tools = FakeTools::start().await;
    let app = TestApp::with_tools(&tools, &[]).await;
    (tools, Arc::new(app))
}

/// Begins a deployment that waits in the middle until it is released.
async fn begin(
    tools: &FakeTools,
    app: &Arc<TestApp>,
    tool: &str,
    component: Vec<u8>,
) -> tokio::task::JoinHandle<Answer> {
    let before = tools.seen.waiting.load(Ordering::SeqCst);
    let (app, tool) = (Arc::clone(app), tool.to_owned());
    let begun = tokio::spawn(async move { put(&app, &tool, component).await });
    eventually(|| tools.seen.waiting.load(Ordering::SeqCst) > before).await;
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deployments_of_one_tool_come_one_after_another() {
    let (_tools, app) = app().await;
    let made = join_all((1..=8).map(|n| put(&app, "t", component(&["f", "g"], n)))).await;
    let mut numbered: Vec<(i64, String)> = made
        .iter()
        .map(|answer| {
            assert!(matches!(answer.status.as_u16(), 200 | 201), "{}", String::from_utf8_lossy(&answer.body));
            let made = answer.json();
            (made["number"].as_i64().unwrap(), made["version"].as_str().unwrap().to_owned())
        })
        .collect();
    numbered.sort();
    assert_eq!(numbered.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!(made.iter().filter(|answer| answer.status == 201).count(), 1, "one of them made it");
    let tool = shown(&app, "t").await;
    assert_eq!((&tool["number"], &tool["version"]), (&json!(8), &json!(numbered[7].1)));
    assert_eq!(numbers(&tool), (1..=8).rev().collect::<Vec<_>>());
    let current: Vec<&Value> =
        tool["versions"].as_array().unwrap().iter().filter(|version| version["current"] == true).collect();
    assert_eq!(current.len(), 1);
    for version in tool["versions"].as_array().unwrap() {
        let (_, digest) = numbered.iter().find(|(number, _)| version["number"] == *number).unwrap();
        assert_eq!(version["version"], json!(digest), "each has kept its own component");
    }
    let serves = (1..=8).find(|n| digest(&component(&["f", "g"], *n)) == numbered[7].1).unwrap();
    assert_eq!(answers(&app, "t", "f").await, json!(serves));
    let list = app.call(ADMIN, "GET", "/v1/tools", None).await.json();
    assert_eq!(list["tools"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_is_ready_last_serves() {
    let (tools, app) = app().await;
    put(&app, "t", component(&["f"], 1)).await;
    let slow = begin(&tools, &app, "t", held(&["f"], 2)).await;
    // The version before serves meanwhile, and a quicker one overtakes it.
    assert_eq!(answers(&app, "t", "f").await, json!(1));
    assert_eq!(put(&app, "t", component(&["f"], 3)).await.json()["number"], 2);
    assert_eq!(answers(&app, "t", "f").await, json!(3));
    tools.release();
    assert_eq!(slow.await.unwrap().json()["number"], 3);
    assert_eq!(answers(&app, "t", "f").await, json!(2));
    assert_eq!(numbers(&shown(&app, "t").await), [3, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_fails_leaves_what_others_have_done_meanwhile() {
    let (tools, app) = app().await;
    put(&app, "t", component(&["f"], 1)).await;
    let bad = json!({"functions": ["f"], "n": 2, "held": true, "traps": true}).to_string().into_bytes();
    let failing = begin(&tools, &app, "t", bad).await;
    put(&app, "t", component(&["f"], 3)).await;
    tools.release();
    failing.await.unwrap().problem(422, "bad-component");
    assert_eq!(answers(&app, "t", "f").await, json!(3));
    assert_eq!(numbers(&shown(&app, "t").await), [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_and_a_deletion() {
    let (tools, app) = app().await;
    put(&app, "t", component(&["f"], 1)).await;
    let slow = begin(&tools, &app, "t", held(&["f"], 2)).await;
    assert_eq!(app.call(ADMIN, "DELETE", "/v1/tools/t", None).await.status, 204);
    app.call(ADMIN, "GET", "/v1/tools/t", None).await.problem(404, "not-found");
    tools.release();
    // The deployment began with a tool that there is no more: it makes a new one.
    let made = slow.await.unwrap();
    assert_eq!((made.status.as_u16(), &made.json()["number"]), (201, &json!(1)));
    assert_eq!(answers(&app, "t", "f").await, json!(2));
    assert_eq!(numbers(&shown(&app, "t").await), [1]);
    // Both at once, again and again: whichever comes last, what is listed is what answers.
    for n in 10..30 {
        let (made, deleted) =
            tokio::join!(put(&app, "t", component(&["f"], n)), app.call(ADMIN, "DELETE", "/v1/tools/t", None));
        assert!(matches!(made.status.as_u16(), 200 | 201), "{}", String::from_utf8_lossy(&made.body));
        assert!(matches!(deleted.status.as_u16(), 204 | 404));
        let now = app.call(ADMIN, "GET", "/v1/tools/t", None).await;
        match now.status.as_u16() {
            200 => {
                assert_eq!(
                    now.json()["version"],
                    json!(digest(&component(&["f"], n))),
                    "no version of a tool that is gone"
                );
                assert_eq!(answers(&app, "t", "f").await, json!(n));
            }
            _ => drop(now.problem(404, "not-found")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_controller_has_made_anew_is_seen() {
    let (tools, one) = app().await;
    let two = one.beside(&tools).await;
    put(&one, "t", component(&["f"], 1)).await;
    assert_eq!(answers(&two, "t", "f").await, json!(1));
    assert_eq!(one.call(ADMIN, "DELETE", "/v1/tools/t", None).await.status, 204);
    put(&one, "t", component(&["f"], 2)).await;
    // It counts from 1 again. Within a second the other one knows.
    for _ in 0..30 {
        if answers(&two, "t", "f").await == json!(2) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the other controller still calls the tool that was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_during_a_deployment() {
    let (tools, app) = app().await;
    for n in 1..=2 {
        put(&app, "t", component(&["f"], n)).await;
    }
    let slow = begin(&tools, &app, "t", held(&["f"], 3)).await;
    let back = app.call(ADMIN, "POST", "/v1/tools/t/rollback", Some(json!({}))).await;
    assert_eq!((back.status.as_u16(), &back.json()["number"]), (200, &json!(1)));
    assert_eq!(answers(&app, "t", "f").await, json!(1));
    tools.release();
    assert_eq!(slow.await.unwrap().json()["number"], 3);
    assert_eq!(answers(&app, "t", "f").await, json!(3));
    for round in 0..10 {
        let back = app.call(ADMIN, "POST", "/v1/tools/t/rollback", Some(json!({"version": 1})));
        let (made, back) = tokio::join!(put(&app, "t", component(&["f"], 100 + round)), back);
        assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
        // The version to go back to may be the one that serves, or may just have been dropped.
        assert!(matches!(back.status.as_u16(), 200 | 404), "{}", String::from_utf8_lossy(&back.body));
        let tool = shown(&app, "t").await;
        let found = numbers(&tool);
        assert!(found.windows(2).all(|pair| pair[0] > pair[1]) && found[0] == 4 + round as i64, "{found:?}");
        let current: Vec<&Value> =
            tool["versions"].as_array().unwrap().iter().filter(|version| version["current"] == true).collect();
        assert_eq!((current.len(), &current[0]["version"]), (1, &tool["version"]));
        let expected = if tool["number"] == 1 { json!(1) } else { json!(100 + round) };
        assert_eq!(answers(&app, "t", "f").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tools_that_race_for_one_name() {
    let (_tools, app) = app().await;
    for round in 0..5 {
        let (a, ab) = (format!("r{round}"), format!("r{round}-x"));
        // `r0` with `x-y` and `r0-x` with `y` would both be `r0-x-y` for MCP clients.
        let one = put(&app, &a, component(&["x-y", "z"], 1));
        let two = put(&app, &ab, component(&["y", "z"], 2));
        let (one, two) = tokio::join!(one, two);
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{}", String::from_utf8_lossy(&two.body));
        let (winner, loser) = if one.status == 201 { (&a, &ab) } else { (&ab, &a) };
        shown(&app, winner).await;
        app.call(ADMIN, "GET", &format!("/v1/tools/{loser}"), None).await.problem(404, "not-found");
    }
}
