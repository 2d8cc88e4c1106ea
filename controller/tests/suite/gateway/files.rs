//! Tools' folders over the uplink: saving, loading, permissions, quotas, ordering.

use axum::body::Body;
use cofferdam_contract::uplink::{TOKEN_HEADER, VERSION_HEADER};
use cofferdam_contract::{Component, Grants, LimitsRequest, OrganizationId};
use cofferdam_gateway::Admitted;
use cofferdam_store::{Switched, ToolVersionRow};
use http::Request;
use serde_json::{Value, json};

use super::rig::{Answer, Rig};

/// Creates a tool with this name, which consists of its folder only.
async fn tool(rig: &Rig, name: &str) {
    let row = ToolVersionRow {
        organization: OrganizationId::default_organization(),
        tool: name.to_owned(),
        number: 0,
        component: Component {
            digest: "sha256:0".to_owned(),
            size_bytes: 1,
            functions: vec![],
            imports: vec![],
            warnings: vec![],
            describe: None,
        },
        grants: Grants::default(),
        limits: LimitsRequest::default(),
        warnings: vec![],
        source: String::new(),
        made: 0,
        created_at: 1,
        current: false,
    };
    assert!(matches!(rig.app.store.deploy_tool(&row, &[], 10).await.unwrap(), Switched::Done { .. }));
}

fn admit(rig: &Rig, name: Option<&str>, grants: Value) -> Admitted {
    let mut pass = rig.pass(grants);
    pass.tool = name.map(str::to_owned);
    rig.app.gateway.admit(pass).unwrap()
}

async fn load(rig: &Rig, token: &Admitted) -> Answer {
    let request = Request::post("http://gateway/files/load").header(TOKEN_HEADER, token.token.as_deref().unwrap());
    rig.ask(request.body(Body::empty()).unwrap()).await
}

async fn save(rig: &Rig, token: &Admitted, version: &str, archive: Vec<u8>) -> Answer {
    let request = Request::post("http://gateway/files/save").header(TOKEN_HEADER, token.token.as_deref().unwrap());
    rig.ask(request.header(VERSION_HEADER, version).body(Body::from(archive)).unwrap()).await
}

fn version(answer: &Answer) -> String {
    answer.headers[VERSION_HEADER].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_saved_is_loaded_and_goes_with_the_tool() {
    let rig = Rig::new().await;
    tool(&rig, "a").await;
    tool(&rig, "b").await;
    let [a, b] = ["a", "b"].map(|name| admit(&rig, Some(name), json!({"files": {}})));
    let first = load(&rig, &a).await.good();
    assert!(first.body.is_empty());
    assert_eq!(version(&first), version(&load(&rig, &a).await.good()), "asked twice, it is the same");
    // More than one piece, and bytes of every value.
    let archive: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    assert!(save(&rig, &a, &version(&first), archive.clone()).await.good().body.is_empty());
    let second = load(&rig, &a).await.good();
    assert!(second.body == archive && version(&second) != version(&first));
    save(&rig, &a, &version(&first), b"late".to_vec()).await.refusal("conflict", "changed by another call");
    save(&rig, &a, &version(&second), b"short".to_vec()).await.good();
    assert_eq!(load(&rig, &a).await.good().body, b"short"[..]);
    assert!(load(&rig, &b).await.good().body.is_empty(), "another tool's");

    let (organization, kept) = (OrganizationId::default_organization(), load(&rig, &a).await.good());
    assert_eq!(rig.app.store.folder_size(&organization, "a").await.unwrap().unwrap().bytes, 5);
    assert!(rig.app.store.delete_tool(&organization, "a").await.unwrap());
    load(&rig, &a).await.refusal("malformed", "deleted");
    save(&rig, &a, &version(&kept), b"ghost".to_vec()).await.refusal("conflict", "deleted");
    tool(&rig, "a").await;
    assert!(load(&rig, &a).await.good().body.is_empty());
    save(&rig, &a, &version(&kept), b"ghost".to_vec()).await.refusal("conflict", "");
}

#[tokio::test]
async fn who_has_no_folder_gets_none() {
    let rig = Rig::new().await;
    tool(&rig, "a").await;
    let small = json!({"files": {"max_bytes": 10, "max_files": 1}});
    for (name, grants) in [(Some("a"), json!({"keyvalue": {}})), (None, small.clone())] {
        let token = admit(&rig, name, grants);
        load(&rig, &token).await.refusal("policy", "grants.files");
        save(&rig, &token, "1", vec![]).await.refusal("policy", "grants.files");
    }
    let reader = admit(&rig, Some("a"), json!({"files": {"read_only": true}}));
    let at = version(&load(&rig, &reader).await.good());
    save(&rig, &reader, &at, b"x".to_vec()).await.refusal("policy", "reading only");
    let token = admit(&rig, Some("a"), small);
    for odd in ["", "x", "99999999999999999999"] {
        save(&rig, &token, odd, vec![]).await.refusal("malformed", VERSION_HEADER);
    }
    let other = Request::post("http://gateway/files/other").header(TOKEN_HEADER, token.token.as_deref().unwrap());
    assert_eq!(rig.ask(other.body(Body::empty()).unwrap()).await.status, 404);
}

#[tokio::test]
async fn a_folder_has_a_quota_and_may_shrink() {
    let rig = Rig::new().await;
    tool(&rig, "a").await;
    let large = admit(&rig, Some("a"), json!({"files": {}}));
    let at = version(&load(&rig, &large).await.good());
    save(&rig, &large, &at, vec![1; 100_000]).await.good();
    let small = admit(&rig, Some("a"), json!({"files": {"max_bytes": 10, "max_files": 1}}));
    let loaded = load(&rig, &small).await.good();
    assert_eq!(loaded.body.len(), 100_000, "what was there before it was granted less");
    save(&rig, &small, &version(&loaded), vec![1; 100_001]).await.refusal("too-large", "max_bytes (10)");
    save(&rig, &small, &version(&loaded), vec![1; 90_000]).await.good();
    let at = version(&load(&rig, &large).await.good());
    let answer = save(&rig, &large, &at, vec![1; 80 << 20]).await;
    // Where all of it was not read, the refusal may come or the stream break off.
    assert!(answer.refused() == Some("too-large") || answer.broken.is_some(), "{}", answer.text());
    assert_eq!(load(&rig, &large).await.good().body.len(), 90_000);
}

#[tokio::test]
async fn of_two_who_save_at_once_one_does() {
    let rig = Rig::new().await;
    tool(&rig, "a").await;
    let token = admit(&rig, Some("a"), json!({"files": {}}));
    let at = version(&load(&rig, &token).await.good());
    let saves = (0..8_u8).map(|n| save(&rig, &token, &at, vec![n; 50_000]));
    let answers = futures_util::future::join_all(saves).await;
    let done: Vec<usize> = (0..8).filter(|n| answers[*n].refused().is_none()).collect();
    assert_eq!(done.len(), 1);
    assert_eq!(load(&rig, &token).await.good().body, vec![done[0] as u8; 50_000]);
    assert!(answers.iter().filter(|answer| answer.refused() == Some("conflict")).count() == 7);
}
