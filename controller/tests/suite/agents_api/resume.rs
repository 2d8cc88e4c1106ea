//! Broken connections: uploads are continued, restarted, taken over, or given up.

use std::time::Duration;

use axum::body::Body;
use serde_json::json;

use super::rig::{Rig, answered};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_the_connection_broke() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    assert_eq!(rig.offset(&link).await, 0);
    let stream = rig.raw(&format!("PUT {link} HTTP/1.1\r\ncontent-length: 10"), b"an a").await;
    rig.reaches(&link, 4).await;
    drop(stream);
    let head = rig.send("HEAD", &link, &[], Body::empty()).await;
    assert_eq!(&head.headers["upload-complete"], "?0");
    assert_eq!(&head.headers["upload-length"], "10");
    assert_eq!(head.headers["cache-control"], "no-store");
    // At another place, or of another length, it is refused with the place.
    for wrong in ["0", "3", "5", "10", "18446744073709551615"] {
        let answer = rig.send("PATCH", &link, &[("upload-offset", wrong)], "rchive").await;
        answer.problem(409, "conflict");
        assert_eq!(answer.headers["upload-offset"], "4", "{wrong}");
    }
    for (offset, rest) in [("4", "rchive and more"), ("4", "rc")] {
        let answer = rig.send("PATCH", &link, &[("upload-offset", offset)], rest).await;
        answer.problem(400, "malformed-request");
        assert_eq!(answer.headers["upload-offset"], "4");
    }
    rig.send("PATCH", &link, &[], "rchive").await.problem(400, "malformed-request");
    let part = rig.send("PATCH", &link, &[("upload-offset", "4"), ("upload-complete", "?0")], "rc").await;
    assert_eq!((part.status.as_u16(), &part.json()["complete"]), (200, &json!(false)));
    let answer = rig.send("PUT", &link, &[("content-range", "bytes 6-9/10")], "hive").await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["received_bytes"], 10);
    assert_eq!(*rig.registry.began.lock().unwrap(), 1, "one pipeline all the time");
    assert_eq!(rig.registry.arrived.lock().unwrap().values().next().unwrap(), b"an archive");
    // A client that has lost this answer asks, and asks again.
    let head = rig.send("HEAD", &link, &[], Body::empty()).await;
    assert_eq!(&head.headers["upload-complete"], "?1");
    assert_eq!(&head.headers["upload-offset"], "10");
    assert_eq!(rig.send("PATCH", &link, &[("upload-offset", "10")], Body::empty()).await.status, 200);
    rig.becomes("hello", number, "Pushing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_that_breaks_off_is_no_end() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    let stream = rig.raw(&format!("PUT {link} HTTP/1.1\r\ntransfer-encoding: chunked"), b"4\r\nan a\r\n").await;
    rig.reaches(&link, 4).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(rig.registry.arrived.lock().unwrap().is_empty());
    assert_eq!(rig.deployment("hello", number).await["image"], json!(null));
    assert_eq!(rig.send("PATCH", &link, &[("upload-offset", "4")], "rchive").await.status, 200);
    assert_eq!(rig.registry.arrived.lock().unwrap().values().next().unwrap(), b"an archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_starts_anew() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, _) = rig.link("hello").await;
    drop(rig.raw(&format!("PUT {link} HTTP/1.1\r\ncontent-length: 100"), b"the wrong one").await);
    rig.reaches(&link, 13).await;
    for _ in 0..50 {
        // The server may not have seen yet that the connection is gone.
        let answer = rig.put(&link, "an archive").await;
        if answer.status != 409 {
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            assert_eq!(rig.registry.arrived.lock().unwrap().values().next().unwrap(), b"an archive");
            rig.idle().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it was never free");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clients_one_wins() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let (link, _) = rig.link("hello").await;
    let mut first = rig.raw(&format!("PUT {link} HTTP/1.1\r\ncontent-length: 10"), b"an a").await;
    rig.reaches(&link, 4).await;
    for (method, headers) in [("PUT", &[][..]), ("PATCH", &[("upload-offset", "4")])] {
        let answer = rig.send(method, &link, headers, "rchive").await;
        assert_eq!(answer.problem(409, "conflict")["retryable"], true);
        assert_eq!(answer.headers["retry-after"], "3");
    }
    // One whose connection is dead without our knowing gives way after a few seconds of silence.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    let second = rig.send("PATCH", &link, &[("upload-offset", "4")], "rchive").await;
    assert_eq!(second.status, 200, "{}", String::from_utf8_lossy(&second.body));
    let answer = answered(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("Another client"), "{answer}");
    assert_eq!(rig.registry.arrived.lock().unwrap().values().next().unwrap(), b"an archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_told_and_one_that_is_gone_for_good_is_given_up() {
    let rig = Rig::with(&[("COFFERDAM_UPLOAD_IDLE_S", "1"), ("COFFERDAM_UPLOAD_WAIT_S", "2")]).await;
    rig.agent("hello").await;
    let (link, number) = rig.link("hello").await;
    let mut stream = rig.raw(&format!("PUT {link} HTTP/1.1\r\ncontent-length: 10"), b"an a").await;
    let answer = answered(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.to_lowercase().contains("upload-offset: 4"), "{answer}");
    rig.becomes("hello", number, "Pushing").await;
    let lost = rig.becomes("hello", number, "Failed").await;
    assert_eq!(lost["reason"], "upload_lost");
    assert!(lost["detail"].as_str().unwrap().contains("4 bytes"), "{lost}");
    rig.idle().await;
    let answer = rig.send("PATCH", &link, &[("upload-offset", "4")], "rchive").await;
    answer.problem(408, "slow-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_come_back_is_not_waited_for() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let (link, number) = rig.link("hello").await;
        let body: &[u8] = if head.starts_with("content") { b"an a" } else { b"4\r\nan a\r\n" };
        let stream = rig.raw(&format!("PUT {link} HTTP/1.1\r\nupload-resumable: ?0\r\n{head}"), body).await;
        rig.reaches(&link, 4).await;
        rig.becomes("hello", number, "Pushing").await;
        let closed = std::time::Instant::now();
        drop(stream);
        let lost = rig.becomes("hello", number, "Failed").await;
        assert!(closed.elapsed() < Duration::from_secs(5), "{:?}", closed.elapsed());
        assert_eq!(lost["reason"], "upload_lost");
        assert!(lost["detail"].as_str().unwrap().contains("after 4 bytes"), "{lost}");
        rig.idle().await;
    }
    assert!(rig.registry.arrived.lock().unwrap().is_empty());
    // One that comes to its end is no different.
    let (link, _) = rig.link("hello").await;
    let whole = rig.send("PUT", &link, &[("upload-resumable", "?0")], "an archive").await;
    assert_eq!(whole.status, 200, "{}", String::from_utf8_lossy(&whole.body));
    let (link, _) = rig.link("hello").await;
    rig.send("PUT", &link, &[("upload-resumable", "no")], "an archive").await.problem(400, "malformed-request");
}
