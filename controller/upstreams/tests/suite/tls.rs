//! TLS: authorities, names, and a server that speaks none.

use std::sync::Arc;

use cofferdam_core::Secret;
use cofferdam_upstreams::{Kind, Net, Owner, SendError, TlsFailure, Upstream, UpstreamSpec};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::server::{KEY, Server, Step, chat, json, spec};

/// An acceptor for a name or address, and the authority's certificate in PEM.
pub(crate) fn acceptor(name: &str) -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&own, &authority).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(own.serialize_der()).into();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

fn upstream(server: &Server, ca: Option<String>) -> Arc<Upstream> {
    let base = format!("https://{}/v1", server.address);
    let own = UpstreamSpec { ca, ..spec(Kind::Openai, base) };
    Upstream::new("up", Owner::Operator, own, vec![Secret::new(KEY)], &Net::new(Vec::new(), Vec::new())).unwrap()
}

#[tokio::test]
async fn only_certificates_of_known_authorities_for_the_name_are_taken() {
    let (good, ca) = acceptor("127.0.0.1");
    let server = Server::with_tls(Some(good), |_| vec![Step::Write(json(200, "{\"data\":[]}"))]).await;
    assert_eq!(chat(&upstream(&server, Some(ca.clone()))).await.unwrap().status, 200);
    let (_, other) = acceptor("127.0.0.1");
    let unknown = upstream(&server, Some(other));
    assert_eq!(chat(&unknown).await.err(), Some(SendError::Tls(TlsFailure::UnknownAuthority)));
    let report = unknown.test().await;
    assert!(!report.ok && report.detail.contains("`ca`"), "{report:?}");
    assert!(upstream(&server, Some(ca)).test().await.ok);

    let (wrong, ca) = acceptor("other.example");
    let server = Server::with_tls(Some(wrong), |_| vec![Step::Close]).await;
    assert_eq!(chat(&upstream(&server, Some(ca.clone()))).await.err(), Some(SendError::Tls(TlsFailure::WrongName)));
    let why = chat(&upstream(&silent().await, Some(ca))).await.err();
    assert_eq!(why, Some(SendError::Tls(TlsFailure::Broken)));
}

/// A server that speaks no TLS.
async fn silent() -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::always(Vec::new()).await;
    server.address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad\r\n\r\n").await;
        }
    });
    server
}
