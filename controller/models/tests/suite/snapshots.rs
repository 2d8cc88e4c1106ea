//! Catalogues: seen in this process at once, in another one within a second, and never half.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;
use cofferdam_models::Settings;
use cofferdam_models::settings::{AliasSpec, DocumentKind, PutUpstream, RuleSpec};
use cofferdam_store::ModelSettingRow;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{on_each, own, stranger, with_openai};

fn alias(model: &str) -> AliasSpec {
    serde_json::from_value(json!({"chain": [model]})).unwrap()
}

fn upstream(region: &str) -> PutUpstream {
    let spec = json!({"kind": "openai", "region": region, "keys": ["sk-of-acme-0123456789"]});
    PutUpstream::parse(spec).unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn another_process_sees_a_change_within_a_second() {
    on_each(async |ground| {
        let (here, there) = (ground.settings(with_openai()), ground.settings(with_openai()));
        let stop = CancellationToken::new();
        let kept = tokio::spawn(Arc::clone(&there).keep(stop.clone()));
        assert!(there.of(&own()).await.unwrap().aliases.is_empty());
        here.put(&own(), "fast", alias("openai/a")).await.unwrap();
        assert!(here.of(&own()).await.unwrap().aliases.contains_key("fast"), "at once");
        let has = async || there.of(&own()).await.unwrap().aliases.contains_key("fast");
        let took = eventually("the alias comes", has).await;
        assert!(took < Duration::from_millis(1_500), "{took:?}");
        here.delete(&own(), DocumentKind::Alias, "fast").await.unwrap();
        eventually("the alias goes", async || there.of(&own()).await.unwrap().aliases.is_empty()).await;
        here.put(&stranger(), "slow", alias("openai/b")).await.unwrap();
        assert!(there.of(&stranger()).await.unwrap().aliases.contains_key("slow"), "read when it is needed");
        stop.cancel();
        kept.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_did_not_change_stays_the_same_one() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        let one = async |name: &str| Arc::clone(&settings.of(&own()).await.unwrap().upstreams[name]);
        settings.put_upstream(&own(), "mine", upstream("eu")).await.unwrap();
        let (before, operators) = (one("mine").await, one("openai").await);
        settings.put(&own(), "fast", alias("mine/a")).await.unwrap();
        settings.put_upstream(&own(), "other", upstream("us")).await.unwrap();
        settings.put_upstream(&own(), "mine", upstream("eu")).await.unwrap();
        assert!(Arc::ptr_eq(&before, &one("mine").await));
        assert!(Arc::ptr_eq(&operators, &one("openai").await));
        settings.put_upstream(&own(), "mine", upstream("us")).await.unwrap();
        assert!(!Arc::ptr_eq(&before, &one("mine").await));
        let theirs = settings.of(&stranger()).await.unwrap();
        assert!(Arc::ptr_eq(&operators, &theirs.upstreams["openai"]), "the operator's are shared");
        assert!(!theirs.upstreams.contains_key("mine"));
    })
    .await;
}

async fn broken(settings: &Settings, ground: &super::Ground, kind: &str, value: &str) {
    let row = ModelSettingRow {
        organization: own(),
        kind: kind.to_owned(),
        name: format!("broken-{kind}"),
        value: value.to_owned(),
        sealed: None,
        created_at: 1,
        updated_at: 1,
    };
    ground.store.put_model_setting(&row, 100, 1 << 20).await.unwrap();
    // Any change reads everything again.
    settings.put(&own(), "touch", alias("openai/a")).await.unwrap();
}

#[tokio::test]
async fn a_document_that_cannot_be_read_takes_no_other_down() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        settings.put_upstream(&own(), "mine", upstream("eu")).await.unwrap();
        settings.put(&own(), "fast", alias("mine/a")).await.unwrap();
        for kind in ["upstream", "alias", "budget", "price", "privacy"] {
            broken(&settings, ground, kind, r#"{"of": "a later version"}"#).await;
        }
        let catalogue = settings.of(&own()).await.unwrap();
        assert!(catalogue.upstreams.contains_key("mine") && catalogue.aliases.contains_key("fast"));
        assert!(!catalogue.upstreams.contains_key("broken-upstream"));
        assert_eq!(
            (catalogue.budgets.len(), catalogue.rules.len()),
            (0, 1),
            "the budget that nobody can read allows nothing"
        );
        let listed = settings.list::<AliasSpec>(&own()).await.unwrap();
        assert_eq!(listed.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>(), ["fast", "touch"]);
        // It can be replaced and deleted.
        settings.delete(&own(), DocumentKind::Upstream, "broken-upstream").await.unwrap();
        settings.put(&own(), "broken-alias", alias("mine/a")).await.unwrap();
    })
    .await;
}

/// Left out, a rule would allow what it forbids.
#[tokio::test]
async fn a_rule_that_cannot_be_read_forbids_everything_to_those_whom_it_is_for() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        let stored = r#"{"for": {"agent": "support"}, "hours": "9-17"}"#;
        broken(&settings, ground, "rule", stored).await;
        let rules = settings.of(&own()).await.unwrap().rules.clone();
        let expected: RuleSpec = serde_json::from_value(json!({"for": {"agent": "support"}, "models": []})).unwrap();
        assert_eq!(rules, [("broken-rule".to_owned(), expected)]);
        broken(&settings, ground, "rule", "no JSON").await;
        let rules = settings.of(&own()).await.unwrap().rules.clone();
        let expected: RuleSpec = serde_json::from_value(json!({"for": "organization", "models": []})).unwrap();
        assert_eq!(rules, [("broken-rule".to_owned(), expected)]);
    })
    .await;
}

#[tokio::test]
async fn many_readers_at_once_get_one_catalogue() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        let readers = (0..50).map(|_| {
            let settings = Arc::clone(&settings);
            tokio::spawn(async move { settings.of(&own()).await.unwrap() })
        });
        let mut found = Vec::new();
        for reader in readers.collect::<Vec<_>>() {
            found.push(reader.await.unwrap());
        }
        assert!(found.iter().all(|catalogue| Arc::ptr_eq(catalogue, &found[0])));
    })
    .await;
}

#[tokio::test]
async fn without_a_store_what_is_known_stays_and_what_is_not_is_refused() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        settings.of(&own()).await.unwrap();
        ground.store.close().await;
        settings.of(&own()).await.unwrap();
        assert!(settings.of(&OrganizationId::parse("never-seen").unwrap()).await.is_err());
    })
    .await;
}
