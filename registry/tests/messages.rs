//! Mistakes on the way to a registry: each is named, soon and once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_registry::client::Client;
use cofferdam_registry::client::backoff::Patience;
use cofferdam_registry::client::error::Kind;
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::{Fault, Target, inspect};
use common::archive::{docker_save, layer};
use common::fake::Fake;
use common::quirks::Quirks;
use common::{push, stream, target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Set in the process that goes through a proxy, because variables are for a whole process.
const THROUGH: &str = "COFFERDAM_TEST_THROUGH_PROXY";

async fn failing(target: &Target) -> (Kind, Fault, String, Duration) {
    let started = Instant::now();
    match push(stream(docker_save(&[layer("small", b"x")])), target).await.unwrap_err() {
        PushError::Registry(error) => (error.kind, error.fault(), error.to_string(), started.elapsed()),
        other => panic!("{other}"),
    }
}

/// Speaks TLS, and answers plain HTTP with these bytes. Returns its port.
async fn tls_server(to_plain: &'static str) -> u16 {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut first = [0; 1];
                stream.peek(&mut first).await.unwrap();
                if first[0] == 0x16 {
                    let _ = acceptor.accept(stream).await;
                } else {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(to_plain.as_bytes()).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn plain_http_to_a_port_with_tls() {
    for to_plain in [
        "",
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 301 Moved\r\nlocation: https://localhost/v2/\r\ncontent-length: 0\r\n\r\n",
        "\x15\x03\x01\x00\x02\x02\x46",
    ] {
        let port = tls_server(to_plain).await;
        let (kind, fault, text, took) = failing(&target(&format!("localhost:{port}"), "team/agent:1")).await;
        assert_eq!((kind, fault), (Kind::Tls, Fault::Settings), "{to_plain:?}: {text}");
        assert!(text.contains("speaks TLS") && text.contains("--plain-http"), "{text}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test]
async fn tls_to_a_port_without_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    });
    let place = Target { plain_http: false, ..target(&format!("localhost:{port}"), "team/agent:1") };
    let (kind, fault, text, took) = failing(&place).await;
    assert_eq!((kind, fault), (Kind::Tls, Fault::Settings), "{text}");
    assert!(text.contains("does not speak TLS") && text.contains("--plain-http"), "{text}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_name_without_an_address() {
    let name = "no-such-host.invalid";
    let (kind, fault, text, took) = failing(&target(name, "team/agent:1")).await;
    assert_eq!((kind, fault), (Kind::Unresolved, Fault::Network), "{text}");
    assert!(text.contains(name) && text.contains("no address") && text.contains("DNS"), "{text}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// With the usual patience, 34 s went by: the API check and the request that it was for were each tried five times.
#[tokio::test]
async fn a_port_where_nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let place = target(&format!("localhost:{port}"), "team/agent:1");
    let place = Target { patience: Patience::default(), ..place };
    let started = Instant::now();
    let error = inspect::reference(&Client::new(&place).unwrap()).await.unwrap_err();
    let looked = (error.kind, error.fault(), error.to_string(), started.elapsed());
    for (kind, fault, text, took) in [looked, failing(&place).await] {
        assert_eq!((kind, fault), (Kind::Unreachable, Fault::Network), "{text}");
        assert!(text.contains("refused"), "{text}");
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    }
}

#[tokio::test]
async fn a_registry_s_own_sentence_is_shown() {
    for (status, body, shown) in [
        (400, "<html><title>Blocked by policy 7</title></html>", "Blocked by policy 7"),
        (403, r#"{"errors":[{"code":"DENIED","message":null,"detail":"quota of team is used up"}]}"#, "quota of team"),
        (405, "uploads are closed", "uploads are closed"),
    ] {
        let trouble = format!("when = \"POST\"\nstatus = {status}\nbody = '''{body}'''");
        let fake = Fake::like(Quirks::default(), vec![toml::from_str(&trouble).unwrap()]).await;
        let (_, _, text, _) = failing(&target(&fake.address, "team/agent:1")).await;
        assert!(text.contains(shown) && text.contains(&status.to_string()), "{text}");
    }
}

/// Runs itself again with the proxy in its environment.
#[tokio::test]
async fn a_proxy_that_refuses() {
    let test = "a_proxy_that_refuses";
    if std::env::var(THROUGH).is_ok() {
        let target = Target { plain_http: false, ..target("registry.test", "team/agent:1") };
        let (kind, fault, text, took) = failing(&target).await;
        println!("ANSWER {kind:?} {fault:?} {} {text}", took.as_millis());
        return;
    }
    for (answer, says) in [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "refuses"),
        ("HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n", "407"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "refuses"),
        ("", "refuses"),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let size = stream.read(&mut [0; 4096]).await.unwrap();
                count.fetch_add(usize::from(size > 0), Ordering::Relaxed);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(THROUGH, "1")
            .env("HTTPS_PROXY", format!("http://user:proxysecret@127.0.0.1:{port}"))
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(30), child).await.unwrap().unwrap();
        serving.abort();
        let all = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && all.contains("ANSWER Proxy Settings"), "{answer:?}: {all}");
        assert!(all.contains("registry.test") && all.contains("proxy") && all.contains(says), "{answer:?}: {all}");
        assert!(!all.contains("proxysecret"), "{all}");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{answer:?}: {all}");
    }
}

/// containers/skopeo#588, moby/moby#37946: runs itself again with a proxy in its environment that must not be asked.
#[tokio::test]
async fn no_proxy_means_what_it_means_to_docker() {
    let test = "no_proxy_means_what_it_means_to_docker";
    if std::env::var(THROUGH).is_ok() {
        let target = Target { plain_http: false, ..target("registry.test:5000", "team/agent:1") };
        let (kind, _, text, _) = failing(&target).await;
        println!("ANSWER {kind:?} {text}");
        return;
    }
    for (around, kind) in [
        ("*", "Unresolved"),
        ("registry.test:5000", "Unresolved"),
        ("*.test", "Unresolved"),
        (".test", "Unresolved"),
        ("registry.test:5001", "Proxy"),
    ] {
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(THROUGH, "1")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("NO_PROXY", around)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(30), child).await.unwrap().unwrap();
        let all = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(all.contains(&format!("ANSWER {kind}")), "{around}: {all}");
    }
}
