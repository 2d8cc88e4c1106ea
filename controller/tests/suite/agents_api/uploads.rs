//! Uploads in one piece: of any size, repeated, too large, invalid, with a failing registry, too many at once.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::rig::{Rig, answered};
use crate::support::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_uploaded_and_deployed() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let upload = rig.upload("hello").await;
    assert_eq!(
        (&upload["method"], &upload["state"], &upload["version"]),
        (&json!("PUT"), &json!("Starting"), &json!(1))
    );
    let link = upload["link"].as_str().unwrap().strip_prefix(&rig.test.base).unwrap();
    let answer = rig.put(link, "an archive").await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(
        (answer.headers["upload-offset"].as_bytes(), answer.headers["upload-complete"].as_bytes()),
        (&b"10"[..], &b"?1"[..])
    );
    let uploaded = answer.json();
    assert_eq!((&uploaded["received_bytes"], &uploaded["skipped"]), (&json!(10), &json!(1)));
    let image = uploaded["deployment"]["image"].as_str().unwrap();
    assert!(image.starts_with("registry.test:5000/agents/default/hello@sha256:"), "{image}");
    assert_eq!(rig.registry.arrived.lock().unwrap()[upload["deployment_id"].as_str().unwrap()], b"an archive");
    assert_eq!(uploaded["deployment"]["state"], "Pushing", "it runs when that is asked for");
    let noted = rig.test.call(ADMIN, "GET", "/v1/audit?action=agent.upload", None).await.json();
    let noted: Vec<_> =
        noted["entries"].as_array().unwrap().iter().filter(|one| one["action"] == "agent.upload").collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!((&noted[0]["target"], &noted[0]["detail"]["received_bytes"]), (&json!("hello"), &json!(10)));
    let deployed = rig.act(json!({"agent_id": "hello", "action": "deploy"})).await.json();
    assert_eq!((&deployed["state"], &deployed["version"]), (&json!("Starting"), &json!(1)));
    assert_eq!(deployed["deployment"]["state"], "Applying");
    assert_eq!(deployed["deployment"]["image"], image);
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_image_of_an_archive_is_named_at_the_upload() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let long = "x".repeat(513);
    for bad in ["", "a\nb", &long] {
        rig.act(json!({"agent_id": "hello", "action": "upload", "archive_image": bad}))
            .await
            .problem(422, "invalid-request");
    }
    let misplaced = rig.act(json!({"agent_id": "hello", "action": "deploy", "archive_image": "a:1"})).await;
    misplaced.problem(422, "invalid-request");
    // Deployed before the archive comes: a cloud's operator pushes it only then.
    for early in [false, true] {
        let upload = json!({"agent_id": "hello", "action": "upload", "archive_image": "team/agent:1"});
        let upload = rig.act(upload).await.json();
        let deploy = json!({"agent_id": "hello", "action": "deploy", "deployment_id": upload["deployment_id"]});
        if early {
            assert_eq!(rig.act(deploy).await.status, 200);
        }
        let link = upload["link"].as_str().unwrap().strip_prefix(&rig.test.base).unwrap();
        assert_eq!(rig.put(link, "an archive").await.status, 200);
        let wanted = rig.registry.wanted.lock().unwrap()[upload["deployment_id"].as_str().unwrap()].clone();
        assert_eq!(wanted.as_deref(), Some("team/agent:1"), "{early}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_may_be_asked_for_before_its_image_comes() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    let asked = rig.act(json!({"agent_id": "hello", "action": "deploy"})).await.json();
    assert_eq!((&asked["version"], &asked["deployment"]["state"]), (&json!(number), &json!("Uploading")));
    assert_eq!(rig.put(&link, "an archive").await.json()["deployment"]["state"], "Applying");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_any_size_with_or_without_a_length() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    // Far more than any other body may have; one piece at a time is in memory.
    let piece = Bytes::from(vec![7_u8; 1 << 20]);
    let chunked = Body::from_stream(stream::repeat(piece).take(200).map(Ok::<_, std::io::Error>));
    let (link, _) = rig.link("hello").await;
    let answer = rig.put(&link, chunked).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["received_bytes"], 200 << 20);
    let (link, _) = rig.link("hello").await;
    assert_eq!(rig.put(&link, vec![7_u8; 50 << 20]).await.json()["received_bytes"], 50 << 20);
    for type_of in ["application/gzip", "application/octet-stream", "application/x-www-form-urlencoded"] {
        let (link, _) = rig.link("hello").await;
        assert_eq!(rig.send("PUT", &link, &[("content-type", type_of)], "x").await.status, 200, "{type_of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_refused_and_the_link_stays_good() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, _) = rig.link("hello").await;
    // As `curl -F` sends it.
    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nan archive\r\n--x--\r\n";
    for type_of in ["multipart/form-data; boundary=x", "Multipart/Mixed"] {
        let answer = rig.send("PUT", &link, &[("content-type", type_of)], form).await;
        let detail = answer.problem(415, "unsupported-media-type")["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("bare archive") && detail.contains("-T FILE"), "{detail}");
    }
    assert_eq!(rig.put(&link, "an archive").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_archive_twice_is_fine_and_another_one_is_not() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    assert_eq!(rig.put(&link, "an archive").await.status, 200);
    // A client that has lost the answer sends it all again.
    let again = rig.put(&link, "an archive").await;
    assert_eq!(again.status, 200, "{}", String::from_utf8_lossy(&again.body));
    let image = rig.deployment("hello", number).await["image"].clone();
    rig.put(&link, "another one").await.problem(409, "conflict");
    assert_eq!(rig.deployment("hello", number).await["image"], image);
    let (link, second) = rig.link("hello").await;
    assert_eq!(rig.put(&link, "an archive").await.status, 200);
    assert_eq!(rig.deployment("hello", second).await["image"], image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_archive_is_answered_while_it_is_still_being_sent() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (good, first) = rig.link("hello").await;
    rig.put(&good, "an archive").await;
    rig.act(json!({"agent_id": "hello", "action": "deploy"})).await;
    let (link, number) = rig.link("hello").await;
    let start = Instant::now();
    let mut stream =
        rig.raw(&format!("PUT {link} HTTP/1.1\r\ncontent-length: 1000000000"), b"bad from the first byte").await;
    let answer = answered(&mut stream).await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(answer.contains("bad-image") && answer.contains("docker save"), "{answer}");
    let failed = rig.becomes("hello", number, "Failed").await;
    assert_eq!(failed["reason"], "bad_image");
    assert_eq!(rig.deployment("hello", first).await["state"], "Applying", "the version before is untouched");
    // Its link learns it again, whole or resumed.
    rig.put(&link, "good now").await.problem(422, "bad-image");
    assert_eq!(rig.send("HEAD", &link, &[], Body::empty()).await.status, 422);
    // A client that reads only after all is sent gets the answer, too.
    let (link, _) = rig.link("hello").await;
    let large = [b"bad".to_vec(), vec![0_u8; 20 << 20]].concat();
    rig.put(&link, large).await.problem(422, "bad-image");
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_in_trouble_is_its_own_fault_and_passing_trouble_passes() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    let problem = rig.put(&link, "down for a moment").await.problem(502, "bad-upstream");
    assert_eq!(problem["retryable"], true);
    assert!(problem["detail"].as_str().unwrap().contains("r.example"));
    assert_eq!(rig.offset(&link).await, 0, "it starts anew");
    assert_eq!(rig.put(&link, "an archive").await.status, 200, "the same link is good");
    rig.becomes("hello", number, "Pushing").await;
    let (link, number) = rig.link("hello").await;
    let problem = rig.put(&link, "full").await.problem(502, "bad-upstream");
    assert_eq!(problem["retryable"], false);
    assert_eq!(rig.becomes("hello", number, "Failed").await["reason"], "registry");
    rig.put(&link, "an archive").await.problem(502, "bad-upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_operator_allows_is_refused_with_the_number() {
    let rig = Rig::with(&[("COFFERDAM_MAX_IMAGE_BYTES", "1000")]).await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    assert_eq!(rig.send("HEAD", &link, &[], Body::empty()).await.headers["upload-limit"], "max-size=1000");
    let problem = rig.put(&link, vec![b'x'; 1001]).await.problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains("1000 bytes"), "{problem}");
    assert_eq!(rig.deployment("hello", number).await["state"], "Uploading", "nothing has begun");
    let mut waits =
        rig.raw(&format!("PUT {link} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5000000000"), b"").await;
    let answer = answered(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "no body was asked for: {answer}");
    let pieces = stream::repeat(Bytes::from(vec![b'x'; 100])).take(20).map(Ok::<_, std::io::Error>);
    rig.put(&link, Body::from_stream(pieces)).await.problem(413, "too-large");
    assert_eq!(rig.becomes("hello", number, "Failed").await["reason"], "bad_image");
    let (link, _) = rig.link("hello").await;
    assert_eq!(rig.put(&link, vec![b'x'; 1000]).await.status, 200);
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_once_are_bounded_for_an_organization_and_in_all() {
    let rig = Rig::with(&[("COFFERDAM_MAX_UPLOADS", "2"), ("COFFERDAM_MAX_UPLOADS_PER_ORGANIZATION", "1")]).await;
    rig.agent("hello").await;
    let (first, _) = rig.link("hello").await;
    let (second, _) = rig.link("hello").await;
    let slow = rig.raw(&format!("PUT {first} HTTP/1.1\r\ncontent-length: 100"), b"some").await;
    rig.reaches(&first, 4).await;
    let refused = rig.put(&second, "an archive").await;
    refused.problem(429, "overloaded");
    assert_eq!(refused.headers["retry-after"], "10");
    let stranger = rig.stranger().await;
    let call = |method, path, body| rig.test.call(&stranger, method, path, body);
    assert_eq!(call("POST", "/v1/agents", Some(json!({"id": "theirs"}))).await.status, 201);
    let upload =
        call("POST", "/api/deploy-agent", Some(json!({"agent_id": "theirs", "action": "upload"}))).await.json();
    let theirs = upload["link"].as_str().unwrap().strip_prefix(&rig.test.base).unwrap();
    assert_eq!(rig.put(theirs, "an archive").await.status, 200, "another organization has its own places");
    drop(slow);
    rig.reaches(&first, 4).await;
    let answer = rig.send("PATCH", &first, &[("upload-offset", "4")], vec![b'x'; 96]).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(rig.put(&second, "an archive").await.status, 200, "its place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_waits_while_the_registry_does() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let _ = rig.registry.gate.forget_permits(usize::MAX);
    let (link, _) = rig.link("hello").await;
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let made = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = std::sync::Arc::clone(&made);
    let pieces = stream::repeat(piece).take(64).map(move |piece| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, std::io::Error>(piece)
    });
    let sending = rig.put(&link, Body::from_stream(pieces));
    let mut sending = std::pin::pin!(sending);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut sending).await.is_err());
    let taken = made.load(std::sync::atomic::Ordering::SeqCst);
    assert!(taken < 40, "{taken} MiB were taken although the registry takes nothing");
    rig.registry.gate.add_permits(1 << 20);
    assert_eq!(sending.await.status, 200);
    assert_eq!(rig.test.call(ADMIN, "GET", "/health", None).await.status, 200);
}
