//! TLS to upstreams: verified against the operator's authority, by name, always.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::rig::{LOOPBACK, Names, Rig};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for that name; its port.
async fn server(authority: &Authority, name: &str) -> u16 {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &**authority).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 4_096];
                let read = stream.read(&mut buffer).await.unwrap_or_default();
                let text = String::from_utf8_lossy(&buffer[..read]).replace("\r\n", "|");
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn an_upstream_is_verified_by_its_name() {
    let (own, foreign) = (authority(), authority());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, own.as_ref().pem()).unwrap();
    let names = Arc::new(Names::default());
    let policy = LOOPBACK.replace("  plain_http: true\n", "  plain_http: false\n");
    let rig = Rig::with(&policy, Arc::clone(&names), &[("COFFERDAM_CA_FILE", file.to_str().unwrap())]).await;
    let good = server(&own, "good.example").await;
    let wrong_name = server(&own, "other.example").await;
    let unknown = server(&foreign, "good.example").await;
    names.set("good.example", &[&["127.0.0.1"]]);
    let grants: Vec<_> =
        [good, wrong_name, unknown].iter().map(|port| json!({"host": format!("good.example:{port}")})).collect();
    rig.secret("key", "the-secret-value", &[&format!("good.example:{good}")]).await;
    let token = rig.admit(json!({"http": grants, "secrets": [{"name": "key"}]}));
    let get = |port: u16| {
        let request = rig.request(&token, "GET", &format!("https://good.example:{port}/x"));
        request.body(axum::body::Body::empty()).unwrap()
    };
    let answer = rig.ask(get(good)).await.good();
    assert!(answer.text().starts_with("GET /x HTTP/1.1|"), "{}", answer.text());
    rig.ask(get(wrong_name)).await.refusal("connect", "TLS with good.example");
    rig.ask(get(unknown)).await.refusal("connect", "TLS with good.example");
    // A secret goes over TLS without the operator's leave for plain HTTP.
    let request = rig.request(&token, "GET", &format!("https://good.example:{good}/")).header("x", &token.env["key"]);
    let answer = rig.ask(request.body(axum::body::Body::empty()).unwrap()).await.good();
    assert!(answer.text().contains(&format!("x: {}|", token.env["key"])), "{}", answer.text());
    // Plain HTTP to a TLS port is nothing that gets through.
    let answer = rig.http(&token, "GET", &format!("http://good.example:{good}/")).await;
    assert!(answer.refused().is_some(), "{}", answer.text());
}
