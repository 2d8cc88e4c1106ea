//! Documents: checked, sealed, kept, deleted with all that belongs to them.

use cofferdam_contract::work::{ConnectorAuth, ConnectorSpec, Sealed};
use cofferdam_testkit::database::On;

use crate::rig::{Rig, spec};

fn with_key(url: &str, key: &str) -> ConnectorSpec {
    let auth = ConnectorAuth::ApiKey { header: None, key: Sealed::new(key) };
    ConnectorSpec { auth, headers: [("x-extra".to_owned(), Sealed::new(key))].into(), ..spec(url) }
}

#[tokio::test]
async fn a_connector_is_kept_without_showing_its_secrets() {
    for on in On::all() {
        let rig = Rig::on(on, &[]).await;
        let (connectors, caller) = (&rig.connectors, &rig.caller);
        let (_, new) = connectors.put(caller, "x", with_key("https://a.example/mcp", "canary-0123")).await.unwrap();
        assert!(new);
        let shown = connectors.get(caller, "x").await.unwrap();
        let text = format!("{shown:?}{}", serde_json::to_string(&shown).unwrap());
        assert!(!text.contains("canary"), "{text}");
        let row = rig.store.connector(&caller.organization, "x").await.unwrap().unwrap();
        assert!(!format!("{row:?}").contains("canary"));
        // A document that was shown can be put again: values stay.
        let (_, new) = connectors.put(caller, "x", shown.spec.clone()).await.unwrap();
        assert!(!new);
        // Not to another place.
        let moved = ConnectorSpec { url: "https://evil.example/mcp".to_owned(), ..shown.spec.clone() };
        let refused = connectors.put(caller, "x", moved).await.unwrap_err().to_string();
        assert!(refused.contains("no stored value for this host"), "{refused}");
        let moved = ConnectorSpec { url: "https://a.example/other".to_owned(), ..shown.spec };
        connectors.put(caller, "x", moved).await.unwrap();
        assert_eq!(connectors.list(caller, "", 10).await.unwrap().len(), 1);
        assert!(connectors.list(caller, "x", 10).await.unwrap().is_empty());
        connectors.delete(caller, "x").await.unwrap();
        assert!(connectors.get(caller, "x").await.is_err() && connectors.delete(caller, "x").await.is_err());
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_named() {
    let rig = Rig::on(On::Sqlite, &[]).await;
    let good = "https://a.example/mcp";
    let header = |name: &str| ConnectorSpec { headers: [(name.to_owned(), Sealed::new("v"))].into(), ..spec(good) };
    for (field, wrong) in [
        ("url", spec("http://169.254.169.254/mcp")),
        ("url", spec("https://127.0.0.1/mcp")),
        ("url", spec("https://[::ffff:10.0.0.1]/mcp")),
        ("url", spec("https://0x7f.1/mcp")),
        ("url", spec("ftp://a.example")),
        ("url", spec("https://canary@a.example/")),
        ("headers", header("mcp-session-id")),
        ("headers", header("Host")),
        ("headers", header("a b")),
        ("only", ConnectorSpec { only: Some(vec![String::new()]), ..spec(good) }),
        ("rename", ConnectorSpec { rename: [("a".to_owned(), "b c".to_owned())].into(), ..spec(good) }),
        ("prefix", ConnectorSpec { prefix: Some("a.".to_owned()), ..spec(good) }),
        ("timeout_s", ConnectorSpec { timeout_s: Some(0), ..spec(good) }),
        ("concurrency", ConnectorSpec { concurrency: Some(1_000), ..spec(good) }),
        ("ca", ConnectorSpec { ca: Some("no pem".to_owned()), ..spec(good) }),
        (
            "auth.key",
            ConnectorSpec { auth: ConnectorAuth::ApiKey { header: None, key: Sealed::new("a\nb") }, ..spec(good) },
        ),
    ] {
        let refused = rig.connectors.put(&rig.caller, "x", wrong).await.unwrap_err().to_string();
        assert!(refused.contains(field.split('.').next().unwrap()), "{field}: {refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }
    assert!(rig.connectors.put(&rig.caller, "X y", spec(good)).await.is_err());
}

#[tokio::test]
async fn what_another_organization_has_is_not_there() {
    let rig = Rig::on(On::Sqlite, &[]).await;
    rig.put(spec("https://a.example/mcp")).await;
    let mut other = rig.caller.clone();
    other.organization = cofferdam_contract::OrganizationId::parse("org_other").unwrap();
    assert!(rig.connectors.get(&other, "x").await.is_err());
    assert!(rig.connectors.test(&other, "x", None).await.is_err());
    assert!(rig.connectors.login(&other, "x", None).await.is_err());
    assert!(rig.connectors.tools(&other.organization, "x", None).await.is_err());
}
