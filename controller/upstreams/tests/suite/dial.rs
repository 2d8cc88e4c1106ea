//! Addresses that an organization's upstream must not reach.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cofferdam_core::Secret;
use cofferdam_policy::Cidr;
use cofferdam_upstreams::{Addresses, Kind, Net, Owner, Resolve, SendError, Upstream, UpstreamSpec};

use crate::server::{KEY, Server, Step, chat, json, spec, whole};

/// Answers with the next list at each look-up, the last one for ever.
struct Scripted(parking_lot::Mutex<Vec<Vec<IpAddr>>>);

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _host: &'a str) -> Addresses<'a> {
        let mut lists = self.0.lock();
        let next = if lists.len() > 1 { lists.remove(0) } else { lists[0].clone() };
        Box::pin(async move { Ok(next) })
    }
}

fn net(private: &[&str], answers: &[&[&str]]) -> Net {
    let lists = answers.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
    let private = private.iter().map(|text| Cidr::parse(text).unwrap()).collect();
    Net::new(private, Vec::new()).with_resolver(Arc::new(Scripted(parking_lot::Mutex::new(lists))))
}

fn organizations(spec: UpstreamSpec, net: &Net) -> Result<Arc<Upstream>, String> {
    let owner = Owner::Organization(cofferdam_contract::OrganizationId::default_organization());
    Upstream::new("up", owner, spec, vec![Secret::new(KEY)], net)
}

#[tokio::test]
async fn written_addresses_are_checked_when_they_are_written() {
    let closed = net(&[], &[&["8.8.8.8"]]);
    for (base, proxy, part) in [
        ("https://127.0.0.1/v1", None, "base_url"),
        ("https://[::1]/v1", None, "base_url"),
        ("https://[::ffff:169.254.169.254]/v1", None, "base_url"),
        ("https://0x7f.1/v1", None, "base_url"),
        ("https://10.0.0.1/v1", None, "base_url"),
        ("http://8.8.8.8/v1", None, "https"),
        ("https://api.example/v1", Some("http://127.0.0.1:3128"), "proxy"),
        ("http://api.example/v1", Some("http://8.8.8.8:3128"), "https"),
    ] {
        let bad = UpstreamSpec { proxy: proxy.map(str::to_owned), ..spec(Kind::Compatible, base) };
        let why = organizations(bad.clone(), &closed).unwrap_err();
        assert!(why.contains(part), "{base}: {why}");
        // The operator may.
        Upstream::new("up", Owner::Operator, bad, Vec::new(), &closed).unwrap();
    }
    organizations(spec(Kind::Compatible, "https://8.8.8.8/v1"), &closed).unwrap();
    let open = net(&["127.0.0.0/8"], &[&["8.8.8.8"]]);
    organizations(spec(Kind::Compatible, "http://127.0.0.1:1/v1"), &open).unwrap();
}

#[tokio::test]
async fn names_are_checked_after_they_are_resolved() {
    let server = Server::always(json(200, "{}")).await;
    let base = format!("http://llm.example:{}/v1", server.address.port());
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    for (private, answer, expected) in [
        (&[][..], &["127.0.0.1"][..], Some(SendError::Forbidden(loopback))),
        (&[], &["::ffff:127.0.0.1"], Some(SendError::Forbidden(loopback))),
        (&["127.0.0.1/32"], &["169.254.169.254"], Some(SendError::Forbidden("169.254.169.254".parse().unwrap()))),
        (&["127.0.0.1/32"], &["8.8.8.8"], Some(SendError::Plain)),
        (&["127.0.0.1/32"], &[], Some(SendError::Dns)),
        (&["127.0.0.1/32"], &["127.0.0.1"], None),
        // Only the address that may be dialled is.
        (&["127.0.0.1/32"], &["169.254.169.254", "10.0.0.1", "127.0.0.1"], None),
    ] {
        let before = server.seen().len();
        let upstream = organizations(spec(Kind::Compatible, &base), &net(private, &[answer])).unwrap();
        assert_eq!(chat(&upstream).await.err(), expected, "{answer:?}");
        assert_eq!(server.seen().len() - before, usize::from(expected.is_none()));
        // What an organization must not do says nothing about the upstream.
        assert!(upstream.ready("m").is_ok());
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_later_gains_nothing() {
    let server = Server::start(|_| vec![Step::Write(json(200, "{}")), Step::Close]).await;
    let base = format!("http://llm.example:{}/v1", server.address.port());
    let net = net(&["127.0.0.2/32"], &[&["127.0.0.2"], &["127.0.0.1"]]);
    // The good server listens at another address of the same machine.
    let good = tokio::net::TcpListener::bind(("127.0.0.2", server.address.port())).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = good.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &json(200, "{\"good\":1}")).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
    });
    let upstream = organizations(spec(Kind::Compatible, &base), &net).unwrap();
    let (bytes, _) = whole(chat(&upstream).await.unwrap()).await;
    assert_eq!(bytes, b"{\"good\":1}");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(chat(&upstream).await.err(), Some(SendError::Forbidden("127.0.0.1".parse().unwrap())));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_operators_upstreams_may_be_anywhere() {
    let server = Server::always(json(200, "{}")).await;
    let base = format!("http://llm.internal:{}/v1", server.address.port());
    let net = net(&[], &[&["127.0.0.1"]]);
    let upstream = Upstream::new("up", Owner::Operator, spec(Kind::Compatible, base), Vec::new(), &net).unwrap();
    assert_eq!(chat(&upstream).await.unwrap().status, 200);
}
