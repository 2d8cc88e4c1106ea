//! The client against a server of a few lines.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use futures_util::stream;

use super::*;

/// Answers one call with `answer` and returns what was asked.
fn serve(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4_096];
        let got = stream.read(&mut request).unwrap();
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&request[..got]).into_owned()
    });
    (url, asked)
}

#[test]
fn a_call_has_the_key_and_the_prefix() {
    let (url, asked) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}");
    let server = Server::at(&url, Some("secret\n")).unwrap();
    let answer: serde_json::Value = block_on(server.get("/v1/things")).unwrap();
    assert_eq!(answer["a"], 1);
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /prefix/v1/things HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-api-key: secret\r\n") && asked.contains("accept: application/json\r\n"), "{asked}");
}

#[test]
fn a_worker_is_called_over_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4_096];
        let got = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..got]).into_owned()
    });
    let headers = HeaderMap::from_iter([(HeaderName::from_static("a"), HeaderValue::from_static("b"))]);
    let server = Server::worker(&socket, headers).unwrap();
    block_on(server.delete("/sessions/x")).unwrap();
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("DELETE /sessions/x HTTP/1.1\r\n") && asked.contains("a: b\r\n"), "{asked}");
}

#[test]
fn a_refusal_is_the_servers_problem() {
    let (url, _asked) = serve(
        b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n{\"type\":\"https://cofferdam.dev/problems/not-found\",\
          \"title\":\"Not found\",\"status\":404,\"detail\":\"There is no x.\",\"fault\":\"caller\",\"retryable\":false}",
    );
    let server = Server::at(&url, None).unwrap();
    let error = block_on(server.delete("/v1/things/x")).unwrap_err();
    assert_eq!(error.to_string(), "Not found: There is no x.");
    let error = error.downcast_ref::<ClientError>().unwrap();
    assert!(error.is_not_found() && !error.is_lost());
}

#[test]
fn a_refusal_in_a_providers_protocol_is_told() {
    let openai = br#"{"error":{"message":"This key is not known.","type":"x","code":null}}"#;
    let error = refused(StatusCode::UNAUTHORIZED, openai);
    assert!(error.is_closed() && error.to_string() == "This key is not known. (401 Unauthorized)", "{error}");
    let anthropic = br#"{"type":"error","error":{"type":"not_found_error","message":"None."}}"#;
    assert!(refused(StatusCode::NOT_FOUND, anthropic).is_not_found());
    assert!(matches!(refused(StatusCode::FORBIDDEN, b"{}"), ClientError::Status(StatusCode::FORBIDDEN)));
    assert!(!refused(StatusCode::BAD_GATEWAY, openai).is_closed());
}

#[test]
fn events_of_a_stream_that_breaks_off_are_read_until_then() {
    let (url, asked) =
        serve(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n: hello\n\nid: 7\nevent: log\ndata: a\ndata: b\n\nid: 8");
    let server = Server::at(&url, None).unwrap();
    block_on(async {
        let mut events = server.events("/v1/logs").await?;
        let first = events.next().await?.unwrap();
        assert_eq!(
            first,
            Sse { id: Some("7".into()), event: Some("log".into()), data: Some("a\nb".into()), retry: None }
        );
        assert!(events.next().await.unwrap_err().is_lost());
        anyhow::Ok(())
    })
    .unwrap();
    let asked = asked.join().unwrap();
    assert!(asked.contains("accept: text/event-stream\r\n") && !asked.contains("json"), "{asked}");
}

#[test]
fn a_server_that_is_not_there_is_named_with_a_hint() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::at(&format!("http://{gone}"), None).unwrap();
    let error = block_on(server.get::<serde_json::Value>("/v1/things?secret=1")).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.starts_with("no server listens there") && text.contains(&format!("reaching {gone}: Connection refused"))
    );
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn only_http_urls_are_servers() {
    for url in ["ftp://a", "a:80", "http://", "nonsense"] {
        assert!(Server::at(url, None).is_err(), "{url}");
    }
    assert_eq!(segment("a b/ä"), "a%20b%2F%C3%A4");
    assert_eq!(segments("a b/c~.d"), "a%20b/c~.d");
}

#[tokio::test]
async fn an_event_without_end_is_given_up() {
    let pieces =
        |number: usize| stream::iter((0..number).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"data: x"))));
    let pending = Arc::new(AtomicUsize::new(0));
    let ended: Vec<_> = bounded(pieces(4), Arc::clone(&pending), 20).collect().await;
    assert_eq!(ended.iter().filter(|piece| piece.is_ok()).count(), 2);
    assert!(ended[2].as_ref().unwrap_err().to_string().contains("larger than 20 bytes"));
    pending.store(0, Ordering::Relaxed);
    assert!(bounded(pieces(2), pending, 20).all(|piece| std::future::ready(piece.is_ok())).await, "an event resets it");
}

#[test]
fn a_url_with_the_wrong_scheme_is_told() {
    for (scheme, answer, part) in [
        (
            "https",
            &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
            "does not speak TLS: try http://127.0.0.1:",
        ),
        ("http", b"\x15\x03\x01\x00\x02\x02\x46", "try https://127.0.0.1:"),
    ] {
        let (url, _asked) = serve(answer);
        let url = url.replacen("http", scheme, 1);
        let server = Server::at(&url, Some("secret")).unwrap();
        let error = block_on(server.get::<serde_json::Value>("/v1/things")).unwrap_err();
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
}

#[tokio::test]
async fn a_connection_that_is_silent_is_given_up() {
    let silence = Duration::from_secs(1);
    let piece = || Ok::<_, std::io::Error>(Bytes::from_static(b": still here\n\n"));
    let pieces = stream::iter([piece(), piece()]).chain(stream::pending());
    let passed: Vec<_> = within(pieces, silence).collect().await;
    assert_eq!(passed.iter().filter(|piece| piece.is_ok()).count(), 2);
    assert!(passed[2].as_ref().unwrap_err().to_string().contains("nothing came for 1 s"));
    assert_eq!((passed.len(), within(stream::iter([piece()]), silence).count().await), (3, 1));
}
