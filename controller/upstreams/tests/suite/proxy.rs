//! Proxies: the way through one, and what they refuse.

use std::sync::Arc;

use cofferdam_core::Secret;
use cofferdam_upstreams::{EnvironmentProxy, Kind, Net, Owner, SendError, Upstream, UpstreamSpec};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{KEY, Server, Step, chat, json, spec};
use crate::tls::acceptor;

/// A proxy that answers `CONNECT` with this line and then joins both sides. Gives its URL and the heads that it saw.
async fn proxy(line: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().push(head);
            if stream.write_all(line.as_bytes()).await.is_ok() && line.contains(" 200 ") {
                let mut other = TcpStream::connect(target).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut stream, &mut other).await });
            }
        }
    });
    (format!("http://{address}"), heads)
}

#[tokio::test]
async fn the_way_leads_through_the_proxy_and_tls_to_the_upstream() {
    let (tls, ca) = acceptor("127.0.0.1");
    let server = Server::with_tls(Some(tls), |_| vec![Step::Write(json(200, "{}"))]).await;
    let base = format!("https://{}/v1", server.address);
    let own = UpstreamSpec { ca: Some(ca), ..spec(Kind::Openai, base) };
    let (url, heads) = proxy("HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n").await;
    let proxied = UpstreamSpec { proxy: Some(url.clone()), ..own.clone() };
    let net = Net::new(Vec::new(), Vec::new());
    let upstream = Upstream::new("up", Owner::Operator, proxied, vec![Secret::new(KEY)], &net).unwrap();
    assert_eq!(chat(&upstream).await.unwrap().status, 200);
    let address = server.address;
    assert_eq!(*heads.lock(), [format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n")]);
    for (line, part) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "user name"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "403"),
        ("nonsense\r\n\r\n", "HTTP"),
    ] {
        let (url, _) = proxy(line).await;
        let refused = UpstreamSpec { proxy: Some(url), ..own.clone() };
        let upstream = Upstream::new("up", Owner::Operator, refused, vec![Secret::new(KEY)], &net).unwrap();
        let why = chat(&upstream).await.err().unwrap();
        assert!(matches!(&why, SendError::Proxy(why) if why.contains(part)), "{why}");
    }
}

#[tokio::test]
async fn a_proxy_gets_the_whole_url_of_a_request_without_tls() {
    let stand_in = Server::always(json(200, "{}")).await;
    let through = UpstreamSpec {
        proxy: Some(format!("http://{}", stand_in.address)),
        ..spec(Kind::Compatible, "http://llm.internal:8080/v1")
    };
    let net = Net::new(Vec::new(), Vec::new());
    let upstream = Upstream::new("up", Owner::Operator, through, Vec::new(), &net).unwrap();
    assert_eq!(chat(&upstream).await.unwrap().status, 200);
    let seen = stand_in.seen().pop().unwrap();
    assert_eq!(seen.line, "POST http://llm.internal:8080/v1/chat/completions HTTP/1.1");
    assert_eq!(seen.header("host"), Some("llm.internal:8080"));
}

#[tokio::test]
async fn the_environments_proxy_is_the_operators() {
    let stand_in = Server::always(json(200, "{}")).await;
    let url = format!("http://user:hush@{}", stand_in.address);
    let environment = EnvironmentProxy::read(|name| (name == "HTTP_PROXY").then(|| url.clone())).unwrap();
    let net = crate::server::net().with_proxy(environment);
    let made = |owner, proxy: Option<&str>| {
        let own = UpstreamSpec {
            proxy: proxy.map(str::to_owned),
            connect_timeout_s: 1,
            ..spec(Kind::Compatible, "http://llm.invalid/v1")
        };
        Upstream::new("up", owner, own, Vec::new(), &net).unwrap()
    };
    assert_eq!(chat(&made(Owner::Operator, None)).await.unwrap().status, 200);
    assert_eq!(stand_in.seen()[0].header("proxy-authorization"), Some("Basic dXNlcjpodXNo"));
    let organization = Owner::Organization(cofferdam_contract::OrganizationId::default_organization());
    for upstream in [made(Owner::Operator, Some("none")), made(organization, None)] {
        assert!(chat(&upstream).await.is_err());
    }
    assert_eq!(stand_in.seen().len(), 1);
}
