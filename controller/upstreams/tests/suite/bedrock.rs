//! Bedrock: signatures that the other side can verify, its body, its event stream, its errors.

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use cofferdam_core::Secret;
use cofferdam_upstreams::{BodyError, Kind, Net, Owner, Service, Upstream, UpstreamSpec};
use sha2::{Digest, Sha256};

use crate::frames::{event, exception};
use crate::server::{Seen, Server, Step, answer, ask, chunk, json, made, spec, stream_head, text, whole};

const ID: &str = "AKIDEXAMPLE0123456789";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const MODEL: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const BODY: &str = r#"{"model":"m","max_tokens":1e2, "stream":true,"messages":[]}"#;

fn bedrock(server: &Server) -> UpstreamSpec {
    UpstreamSpec { region: Some("eu-central-1".to_owned()), ..spec(Kind::Bedrock, server.url("")) }
}

/// The signature as the other side computes it, from what has arrived.
fn expected(seen: &Seen) -> String {
    let authorization = seen.header("authorization").unwrap();
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", seen.header(name).unwrap())).collect();
    // Bedrock encodes the path that arrives once more.
    let path = seen.path().replace('%', "%25");
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", digest(&seen.body));
    let time = seen.header("x-amz-date").unwrap();
    let scope = format!("{}/eu-central-1/bedrock/aws4_request", &time[..8]);
    assert!(authorization.contains(&format!("Credential={ID}/{scope}")), "{authorization}");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", digest(canonical.as_bytes()));
    let key = generate_signing_key(SECRET, std::time::SystemTime::now(), "eu-central-1", "bedrock");
    calculate_signature(key, text.as_bytes())
}

#[tokio::test]
async fn requests_are_signed_and_the_body_is_bedrocks() {
    let server = Server::always(json(200, "{\"type\":\"message\"}")).await;
    for (key, token) in [(format!("{ID}:{SECRET}"), None), (format!("{ID}:{SECRET}:to/ken=="), Some("to/ken=="))] {
        let upstream = made(bedrock(&server), &[&key]);
        let mut call = ask(Service::Messages, false, BODY);
        call.model = MODEL.to_owned();
        call.headers.insert("anthropic-beta", "context-1m-2025-08-07".parse().unwrap());
        let sent = upstream.send(call).await.unwrap();
        assert_eq!(text(sent).await, "{\"type\":\"message\"}");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.path(), "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke");
        let body = String::from_utf8(seen.body.clone()).unwrap();
        assert_eq!(
            body,
            "{\"anthropic_version\":\"bedrock-2023-05-31\",\"anthropic_beta\":[\"context-1m-2025-08-07\"],\"max_tokens\":1e2,\"messages\":[]}"
        );
        assert_eq!(seen.header("x-amz-security-token"), token);
        assert!(seen.header("anthropic-beta").is_none() && seen.header("anthropic-version").is_none());
        let signature = seen.header("authorization").unwrap().rsplit('=').next().unwrap().to_owned();
        assert_eq!(signature, expected(&seen));
    }
}

#[tokio::test]
async fn an_api_key_goes_as_bearer_and_the_stream_becomes_events_of_messages() {
    let start = "{\"type\":\"message_start\",\"message\":{}}";
    let wire = [
        event(start),
        event("{\"type\":\"message_stop\"}"),
        exception("serviceUnavailableException", "{\"message\":\"busy ABSK-hush-0123456789\"}"),
    ]
    .concat();
    // Cut in the middle of frames.
    let chunks: Vec<u8> = wire.chunks(50).flat_map(chunk).collect();
    let server = Server::always([stream_head("application/vnd.amazon.eventstream"), chunks, chunk("")].concat()).await;
    let upstream = made(bedrock(&server), &["ABSK-hush-0123456789"]);
    let sent = upstream.send(ask(Service::Messages, true, BODY)).await.unwrap();
    assert!(sent.events && sent.headers["content-type"] == "text/event-stream");
    assert_eq!(
        text(sent).await,
        format!(
            "event: message_start\ndata: {start}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n\
             event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"busy [key]\"}}}}\n\n"
        )
    );
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some("Bearer ABSK-hush-0123456789"));
    assert_eq!(seen.header("accept"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(seen.path(), "/model/m/invoke-with-response-stream");
}

#[tokio::test]
async fn a_broken_event_stream_gives_what_was_whole_and_then_an_error() {
    let good = event("{\"type\":\"ping\"}");
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for rest in [bad, good[..20].to_vec(), b"nonsense that is no frame".to_vec()] {
        let bytes = [good.clone(), rest].concat();
        let server =
            Server::always([stream_head("application/vnd.amazon.eventstream"), chunk(bytes), chunk("")].concat()).await;
        let sent = made(bedrock(&server), &["ABSK-hush-0123456789"]).send(ask(Service::Messages, true, BODY)).await;
        let (bytes, ended) = whole(sent.unwrap()).await;
        assert_eq!(String::from_utf8(bytes).unwrap(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        assert_eq!(ended, Err(BodyError::Malformed));
    }
}

#[tokio::test]
async fn its_errors_come_as_those_of_messages_and_tokens_are_not_counted() {
    let head = "x-amzn-errortype: ThrottlingException:http://x\r\ncontent-type: application/json\r\nretry-after: 3\r\n";
    let server = Server::always(answer(429, head, "{\"message\":\"slow ABSK-hush-0123456789\"}")).await;
    let upstream = made(bedrock(&server), &["ABSK-hush-0123456789"]);
    let sent = upstream.send(ask(Service::Messages, true, BODY)).await.unwrap();
    assert_eq!((sent.status.as_u16(), sent.retry_after.unwrap().as_secs()), (429, 3));
    assert_eq!(
        text(sent).await,
        "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow [key]\"}}"
    );
    assert!(!upstream.speaks(Service::CountTokens));
}

#[tokio::test]
async fn the_test_asks_for_one_token_of_the_first_model() {
    let server = Server::start(|_| vec![Step::Write(json(200, "{\"type\":\"message\"}"))]).await;
    let key = format!("{ID}:{SECRET}");
    let report = made(bedrock(&server), &[&key]).test().await;
    assert!(!report.ok && report.detail.contains("models"), "{report:?}");
    let mut listed = bedrock(&server);
    listed.models = vec![cofferdam_upstreams::ModelSpec::named(MODEL)];
    let report = made(listed, &[&key]).test().await;
    assert!(report.ok && report.detail.contains(MODEL), "{report:?}");
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("authorization").unwrap().rsplit('=').next().unwrap(), expected(&seen));
    assert!(String::from_utf8(seen.body).unwrap().contains("\"max_tokens\":1"));
    // A key that cannot be read is told without itself.
    let bad = vec![Secret::new("AKID:hush canary")];
    let why = Upstream::new("up", Owner::Operator, bedrock(&server), bad, &Net::new(Vec::new(), Vec::new()));
    let why = why.unwrap_err();
    assert!(why.starts_with("keys[0]") && !why.contains("hush"), "{why}");
}
