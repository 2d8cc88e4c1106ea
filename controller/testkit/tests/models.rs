//! The scripted server of models' providers, looked at from outside: its rate, and what each trouble leaves on the wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_testkit::models::{FakeModels, Trouble, run_if_asked};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

async fn connect(fake: &FakeModels) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(fake.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str, body: &str) -> Request<Full<Bytes>> {
    let builder = Request::post(path).header("host", "fake").header("authorization", "Bearer sk-the-key");
    builder.header("anthropic-version", "2023-06-01").body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

async fn ask(fake: &FakeModels, path: &str, model: &str, stream: bool) -> hyper::Result<Response<Incoming>> {
    let body = format!(
        r#"{{"model":"{model}","max_tokens":9,"stream":{stream},"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"x"}}],"input":"x"}}"#
    );
    connect(fake).await.send_request(request(path, &body)).await
}

async fn text(fake: &FakeModels, path: &str, model: &str, stream: bool) -> (u16, Vec<u8>, bool) {
    let response = ask(fake, path, model, stream).await.unwrap();
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(Duration::from_millis(500), async {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => return false,
            }
        }
        true
    });
    let whole = end.await == Ok(true);
    (status, bytes, whole)
}

/// Serves for ever, to try clients by hand: `COFFERDAM_FAKE_MODELS=1 PROGRAM --ignored --nocapture serve`.
#[test]
#[ignore = "no test: it serves until it is stopped, so that a person can try clients against it"]
fn serve() {
    run_if_asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_break_where_they_are_told_to() {
    let fake = FakeModels::start().await;
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        let (status, good, whole) = text(&fake, path, "fake-small", true).await;
        assert!(whole && status == 200, "{path}");
        for (model, ends) in [
            ("trouble.half", false),
            ("trouble.cut", true),
            ("trouble.stall", false),
            ("trouble.endless", false),
            ("trouble.drip.200", false),
        ] {
            let (status, bytes, whole) = text(&fake, path, model, true).await;
            assert_eq!((status, whole), (200, ends), "{path} {model}: {}", String::from_utf8_lossy(&bytes));
            assert!(!bytes.is_empty());
        }
        assert!(std::str::from_utf8(&good).is_ok());
        let (_, bytes, _) = text(&fake, path, "trouble.invalid-utf8", true).await;
        assert!(std::str::from_utf8(&bytes).is_err(), "{path}");
        let (_, bytes, _) = text(&fake, path, "trouble.key-in-stream", true).await;
        assert!(String::from_utf8_lossy(&bytes).contains("sk-the-key"), "{path}");
        let (_, bytes, _) = text(&fake, path, "trouble.two-zero", true).await;
        assert_eq!(String::from_utf8_lossy(&bytes).matches("look").count().min(1), 1, "{path}");
    }
    assert!(fake.cancelled() > 0 && fake.finished() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_break_where_they_are_told_to() {
    let fake = FakeModels::start().await;
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        for (model, status) in [
            ("trouble.too-many.3", 429),
            ("trouble.page", 500),
            ("trouble.redirect", 307),
            ("trouble.wrong-type", 200),
            ("trouble.garbage", 200),
            ("trouble.empty", 200),
            ("trouble.key-in-error", 400),
            ("trouble.fail.1.again", 500),
            ("trouble.fail.1.again", 200),
        ] {
            let own = if model.contains("fail") { path } else { "" };
            let (found, _, whole) = text(&fake, path, &format!("{model}{own}"), false).await;
            assert_eq!((found, whole), (status, true), "{path} {model}");
        }
        assert!(ask(&fake, path, "trouble.closed", false).await.is_err(), "{path}");
        for model in ["trouble.half", "trouble.endless", "trouble.stall"] {
            assert!(!text(&fake, path, model, false).await.2, "{path} {model}");
        }
        fake.trouble(Trouble::Page);
        assert_eq!(text(&fake, path, "fake-small", false).await.0, 500, "{path}");
        assert_eq!(text(&fake, path, "fake-small", false).await.0, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_at_once() {
    let fake = FakeModels::start().await;
    let body = r#"{"model":"fake-small","messages":[{"role":"user","content":"hello"}]}"#;
    let each = 2_000;
    let began = Instant::now();
    let clients = (0..8).map(|_| {
        let connected = connect(&fake);
        async move {
            let mut sender = connected.await;
            for _ in 0..each {
                sender.ready().await.unwrap();
                let response = sender.send_request(request("/v1/chat/completions", body)).await.unwrap();
                assert_eq!(response.status(), 200);
                response.into_body().collect().await.unwrap();
            }
        }
    });
    futures_util::future::join_all(clients).await;
    let rate = f64::from(8 * each) / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} calls a second, with their clients on the same cores");
    assert!(rate > 1_000.0, "{rate}");
}
