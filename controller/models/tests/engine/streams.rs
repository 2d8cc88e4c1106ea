//! Streams: their first word, their end, and errors before and after them.

use super::*;

#[tokio::test]
async fn a_stream_is_the_same_with_and_without_the_usage_that_the_caller_did_not_ask_for() {
    let rig = rig().await;
    let mut body = chat("one/m");
    body["stream"] = json!(true);
    let plain = text(rig.call(Service::Chat, &body).await).await;
    assert!(!plain.contains("prompt_tokens") && plain.ends_with("data: [DONE]\n\n"), "{plain}");
    assert_eq!(rig.fake.take_seen()[0].json()["stream_options"]["include_usage"], true);
    body["stream_options"] = json!({"include_usage": true});
    let asked = text(rig.call(Service::Chat, &body).await).await;
    assert!(asked.contains("\"prompt_tokens\""), "{asked}");
    let row = rig.record().await;
    assert_eq!((row.requests, row.input, row.output), (2, 2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS));
}

#[tokio::test]
async fn nothing_is_tried_again_after_the_first_byte() {
    let rig = rig().await;
    rig.fake.trouble(Trouble::Half);
    let mut body = chat("both");
    body["stream"] = json!(true);
    let reply = rig.call(Service::Chat, &body).await;
    assert_eq!(reply.status(), 200);
    let stream = text(reply).await;
    let last = stream.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "server_error", "{stream}");
    assert_eq!(rig.fake.calls(), 1);
    let row = rig.record().await;
    assert_eq!((row.group[2].as_deref(), row.errors), (Some("broken"), 1));
    assert!(row.input > 0 && row.output > 0, "{row:?}");
}

/// Answers each request on a connection of its own with the next of these texts.
async fn canned(answers: Vec<String>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 64 << 10];
            let mut length = 0;
            // All requests here are one JSON object that ends with `}`.
            while !seen[..length].ends_with(b"}") {
                length += stream.read(&mut seen[length..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    base
}

fn stream_of(events: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}")
}

#[tokio::test]
async fn an_error_before_a_word_is_tried_elsewhere_whatever_came_before_it() {
    let error = r#"data: {"error":{"message":"no","type":"server_error"}}"#;
    let role = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    let word = role.replace(r#""content":"""#, r#""content":"Hello""#);
    let stop = role.replace("null}", "\"stop\"}");
    let good = format!("{role}\n\n{word}\n\n{stop}\n\ndata: [DONE]\n\n");
    for bad in [
        format!(": hi\n\n{error}\n\n"),
        format!("{role}\n\n{error}\n\n"),
        format!(": ping\n\n{role}\n\n: ping\n\n{error}\n\n"),
        "data: [DONE]\n\n".to_owned(),
        String::new(),
    ] {
        let base = canned(vec![stream_of(&bad), stream_of(&good)]).await;
        let rig = rig_at(&base).await;
        let mut body = chat("both");
        body["stream"] = json!(true);
        let reply = rig.call(Service::Chat, &body).await;
        assert_eq!(reply.headers()["x-cofferdam-tries"], "2", "{bad}");
        let stream = text(reply).await;
        assert!(stream.contains("Hello") && !stream.contains("server_error"), "{bad}: {stream}");
        assert_eq!(rig.record().await.group[2].as_deref(), Some("ok"));
    }
}

#[tokio::test]
async fn a_word_that_lets_wait_does_not_hold_the_stream_back() {
    let role = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#;
    // The connection stays open, and nothing more comes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let first = stream_of(&format!("{role}\n\n"));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4_096];
        assert!(stream.read(&mut seen).await.unwrap() > 0);
        stream.write_all(first.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let rig = rig_at(&base).await;
    let mut body = chat("one/m");
    body["stream"] = json!(true);
    let mut reply = tokio::time::timeout(Duration::from_secs(10), rig.call(Service::Chat, &body)).await.unwrap();
    let frame = tokio::time::timeout(Duration::from_secs(5), reply.body_mut().frame()).await.unwrap();
    assert!(frame.unwrap().unwrap().into_data().unwrap().starts_with(b"data: {"));
}

#[tokio::test]
async fn what_comes_after_the_end_is_not_passed_on() {
    let chunk = |word: &str| {
        format!(
            r#"data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"{word}"}},"finish_reason":null}}]}}"#
        )
    };
    let events = format!("{}\n\ndata: [DONE]\n\n", chunk("Hello"));
    // In a piece of its own.
    let late = chunk("free").repeat(100);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4_096];
        assert!(stream.read(&mut seen).await.unwrap() > 0);
        stream.write_all(stream_of(&events).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(format!("{late}\n\n").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let rig = rig_at(&base).await;
    let mut body = chat("one/m");
    body["stream"] = json!(true);
    let reply = rig.call(Service::Chat, &body).await;
    let stream = tokio::time::timeout(Duration::from_secs(5), text(reply)).await.unwrap();
    assert!(stream.contains("Hello") && !stream.contains("free"), "{stream}");
}
