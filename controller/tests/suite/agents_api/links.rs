//! Links: only their holders may send; an invalid one reveals nothing; no token is ever logged.

use std::fmt::Write as _;
use std::sync::Mutex;

use axum::body::Body;
use cofferdam_contract::{AgentId, DeploymentId, OrganizationId};
use cofferdam_uploads::{Links, Ticket};
use serde_json::json;
use tracing::field::{Field, Visit};

use super::rig::Rig;
use crate::support::ADMIN;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_not_good_says_nothing() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    rig.agent("gone").await;
    let upload = rig.upload("hello").await;
    let good = upload["link"].as_str().unwrap().strip_prefix(&rig.test.base).unwrap().to_owned();
    let links = Links::new(&rig.test.vault());
    let ticket = Ticket {
        organization: OrganizationId::default_organization(),
        agent: AgentId::parse("hello").unwrap(),
        deployment: DeploymentId::parse(upload["deployment_id"].as_str().unwrap()).unwrap(),
        expires_at: i64::MAX,
    };
    let of = |ticket: Ticket| format!("/uploads/{}", links.token(&ticket).unwrap().expose());
    let (deleted, _) = rig.link("gone").await;
    let mut changed = good.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);
    let mut bad = vec![
        of(Ticket { expires_at: 1, ..ticket.clone() }),
        of(Ticket { organization: OrganizationId::parse("other").unwrap(), ..ticket.clone() }),
        of(Ticket { agent: AgentId::parse("gone").unwrap(), ..ticket.clone() }),
        of(Ticket { deployment: DeploymentId::from_random(5), ..ticket.clone() }),
        changed,
        good[..good.len() - 10].to_owned(),
        "/uploads/x".to_owned(),
        format!("/uploads/{}", "A".repeat(3_000)),
        "/uploads/%00".to_owned(),
        "/uploads/..%2f..%2fv1".to_owned(),
    ];
    let other = Rig::new().await;
    other.agent("hello").await;
    bad.push(other.link("hello").await.0);
    let mut details = Vec::new();
    for link in &bad {
        for (method, headers) in [("PUT", &[][..]), ("PATCH", &[("upload-offset", "0")])] {
            details.push(rig.send(method, link, headers, "an archive").await.problem(404, "not-found"));
        }
        assert_eq!(rig.send("HEAD", link, &[], Body::empty()).await.status, 404, "{link}");
    }
    details.dedup();
    assert_eq!(details.len(), 1, "they can be told apart: {details:?}");
    assert_eq!(*rig.registry.began.lock().unwrap(), 0);
    assert_eq!(rig.put(&of(ticket), "an archive").await.status, 200, "the ticket itself was fine");
    // The link of a deleted agent ends with it.
    assert_eq!(rig.test.call(ADMIN, "DELETE", "/v1/agents/gone", None).await.status, 202);
    let answer = rig.put(&deleted, "an archive").await;
    assert!([404, 409].contains(&answer.status.as_u16()), "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_where_the_caller_has_reached_us() {
    let rig = Rig::new().await;
    rig.agent("hello").await;
    let body = || Body::from(json!({"agent_id": "hello", "action": "upload"}).to_string());
    let request = rig.test.request(ADMIN, "POST", "/api/deploy-agent").header("content-type", "application/json");
    let proxied = request.header("x-forwarded-proto", "https").header("x-forwarded-host", "api.example.com");
    let link = rig.test.send(proxied.body(body()).unwrap()).await.json()["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with("https://api.example.com/uploads/"), "{link}");
    let rig = Rig::with(&[("COFFERDAM_PUBLIC_URL", "https://cofferdam.example/")]).await;
    rig.agent("hello").await;
    assert!(rig.upload("hello").await["link"].as_str().unwrap().starts_with("https://cofferdam.example/uploads/"));
}

/// Everything that is logged or traced, at every level.
struct Everything(Mutex<String>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl tracing::Subscriber for &'static Everything {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut Text(&mut self.0.lock().unwrap()));
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Text(&mut self.0.lock().unwrap()));
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Text(&mut self.0.lock().unwrap()));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_logged() {
    static ALL: Everything = Everything(Mutex::new(String::new()));
    tracing::subscriber::set_global_default(&ALL).unwrap();
    let rig = Rig::new().await;
    rig.agent("quiet").await;
    let (link, _) = rig.link("quiet").await;
    let token = link.strip_prefix("/uploads/").unwrap();
    drop(rig.raw(&format!("PUT {link} HTTP/1.1\r\ncontent-length: 100"), b"some").await);
    rig.reaches(&link, 4).await;
    rig.send("PATCH", &link, &[("upload-offset", "9")], "x").await.problem(409, "conflict");
    rig.put(&link, "bad").await;
    rig.send("PUT", &format!("{link}x"), &[], "x").await.problem(404, "not-found");
    let body = json!({"agent_id": "quiet", "action": "deploy", "env": {"NAME": "hushhush"}});
    rig.act(body).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let all = ALL.0.lock().unwrap().clone();
    assert!(all.contains("/uploads/{token}"), "requests are logged, by their route");
    assert!(!all.contains(token) && !all.contains(&token[20..60]), "a link's token stands in the log");
    assert!(!all.contains("hushhush") && !all.contains(ADMIN));
}
