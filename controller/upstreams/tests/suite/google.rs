//! Vertex with a service account: the exchange, its token, and where it may go.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cofferdam_core::Secret;
use cofferdam_upstreams::{Kind, Net, Owner, SendError, Service, Upstream, UpstreamSpec};
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::server::{CHAT, Seen, Server, Step, ask, json, made, spec, text};

/// A key of these tests, made for them. Written without its first line, which scanners look for.
const PRIVATE: &str = include_str!("../data/google-private.b64");
const PUBLIC: &str = include_str!("../data/google-public.b64");
const TOKEN: &str = "ya29.hush-0123456789-token";

fn account(token_uri: &str) -> String {
    let label = "PRIVATE KEY-----\n";
    let pem = format!("-----BEGIN {label}{PRIVATE}-----END {label}");
    serde_json::json!({
        "type": "service_account",
        "client_email": "robot@p.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "k1",
        "token_uri": token_uri,
    })
    .to_string()
}

fn vertex(server: &Server) -> UpstreamSpec {
    UpstreamSpec {
        region: Some("global".to_owned()),
        project: Some("p".to_owned()),
        ..spec(Kind::Vertex, server.url(""))
    }
}

/// Checks the assertion's signature with the public key, and gives its claims.
fn claims(seen: &Seen) -> serde_json::Value {
    let form = String::from_utf8(seen.body.clone()).unwrap();
    let assertion = form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    let (signed, signature) = assertion.unwrap().rsplit_once('.').unwrap();
    let key = BASE64_STANDARD.decode(PUBLIC.replace('\n', "")).unwrap();
    let provider = default_provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let (_, algorithms) = mapping.iter().find(|row| row.0 == SignatureScheme::RSA_PKCS1_SHA256).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    algorithms[0].verify_signature(&key, signed.as_bytes(), &signature).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_service_account_is_exchanged_once_and_its_token_is_never_shown() {
    let server = Server::start(|seen| match seen.path() {
        "/token" => vec![Step::Write(json(200, &format!("{{\"access_token\":\"{TOKEN}\",\"expires_in\":3600}}")))],
        _ => vec![Step::Write(json(200, &format!("{{\"echo\":\"{}\"}}", seen.header("authorization").unwrap())))],
    })
    .await;
    let upstream = made(vertex(&server), &[&account(&server.url("/token"))]);
    for _ in 0..3 {
        let sent = upstream.send(ask(Service::Chat, false, CHAT)).await.unwrap();
        assert_eq!(text(sent).await, "{\"echo\":\"Bearer [key]\"}");
    }
    let seen = server.seen();
    let exchanges: Vec<&Seen> = seen.iter().filter(|seen| seen.path() == "/token").collect();
    assert_eq!(exchanges.len(), 1);
    let claims = claims(exchanges[0]);
    assert_eq!(claims["iss"], "robot@p.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], server.url("/token"));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3_600);
    assert_eq!(seen.last().unwrap().header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

#[tokio::test]
async fn a_failed_exchange_is_told_and_not_repeated_at_once() {
    let server = Server::start(|_| vec![Step::Write(json(400, "{\"error\":\"invalid_grant\"}"))]).await;
    let upstream = made(vertex(&server), &[&account(&server.url("/token"))]);
    for _ in 0..3 {
        let why = upstream.send(ask(Service::Chat, false, CHAT)).await.err().unwrap();
        assert!(matches!(&why, SendError::NoKey(why) if why.contains("invalid_grant")), "{why}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn tokens_come_from_google_unless_the_operator_names_an_address() {
    let net = Net::new(Vec::new(), Vec::new());
    let usual = || UpstreamSpec { base_url: None, ..vertex_at("https://x.example") };
    let new = |owner: Owner, spec, uri: &str| Upstream::new("up", owner, spec, vec![Secret::new(account(uri))], &net);
    let organization = || Owner::Organization(cofferdam_contract::OrganizationId::default_organization());
    for (owner, spec, uri, good) in [
        (Owner::Operator, usual(), "https://oauth2.googleapis.com/token", true),
        (organization(), usual(), "https://oauth2.googleapis.com/token", true),
        (Owner::Operator, usual(), "https://evil.example/token", false),
        (Owner::Operator, usual(), "https://evilgoogleapis.com/token", false),
        (Owner::Operator, usual(), "http://oauth2.googleapis.com/token", false),
        (organization(), vertex_at("https://x.example"), "http://169.254.169.254/token", false),
        (organization(), vertex_at("https://x.example"), "https://x.example/token", false),
        (Owner::Operator, vertex_at("https://x.example"), "https://x.example/token", true),
    ] {
        let made = new(owner, spec, uri);
        assert_eq!(made.is_ok(), good, "{uri}: {made:?}");
    }
}

fn vertex_at(base: &str) -> UpstreamSpec {
    UpstreamSpec { region: Some("global".to_owned()), project: Some("p".to_owned()), ..spec(Kind::Vertex, base) }
}
