//! A deployment's changes as they happen.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::rig::Rig;
use crate::support::ADMIN;

/// Events of a stream until it ends, or until `most` have come: id, name, data.
async fn events(rig: &Rig, path: &str, last: Option<&str>, most: usize) -> Vec<(String, String, Value)> {
    let mut request = rig.test.request(ADMIN, "GET", path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = rig.test.client.request(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut body, mut text, mut found) = (answer.into_body(), String::new(), Vec::new());
    while found.len() < most {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("an event");
        let Some(frame) = frame else { break };
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim_start_matches(':').trim().to_owned()).unwrap_or_default()
            };
            if !event.starts_with(':') {
                found.push((field("id"), field("event"), serde_json::from_str(&field("data")).unwrap()));
            }
            text = rest.to_owned();
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_as_they_happen_and_end_when_it_has_settled() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    let path = format!("/v1/agents/hello/deployments/{number}/events");
    let listening = events(&rig, &path, None, 100);
    let uploading = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.put(&link, "bad").await.problem(422, "bad-image");
    };
    let (seen, ()) = tokio::join!(listening, uploading);
    let states: Vec<_> = seen.iter().map(|(_, name, data)| (name.as_str(), data["state"].clone())).collect();
    let expected =
        [("state", json!("Uploading")), ("state", json!("Pushing")), ("state", json!("Failed")), ("end", Value::Null)];
    assert_eq!(states, expected);
    assert_eq!(seen[2].2["reason"], "bad_image");
    let ids: Vec<_> = seen[..3].iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    // Who comes back goes on where it was.
    let rest = events(&rig, &path, Some("2"), 100).await;
    assert_eq!(rest.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["3", ""]);
    let rest = events(&rig, &format!("{path}?after=3"), None, 100).await;
    assert_eq!(rest.len(), 1);
    rig.test.call(ADMIN, "GET", "/v1/agents/hello/deployments/9/events", None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_follows_sees_what_happens_later() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    rig.put(&link, "an archive").await;
    rig.act(json!({"agent_id": "hello", "action": "deploy"})).await;
    let path = format!("/v1/agents/hello/deployments/{number}/events?follow=true&after=2");
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.act(json!({"agent_id": "hello", "action": "stop"})).await;
    };
    let (seen, ()) = tokio::join!(events(&rig, &path, None, 3), stopping);
    let states: Vec<_> = seen.iter().map(|(_, _, data)| data["state"].as_str().unwrap()).collect();
    assert_eq!(states.last(), Some(&"Stopped"), "{states:?}");
}
