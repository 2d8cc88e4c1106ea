//! Upstreams: keys go in and never come out, go only where they were stored for, and belong to one organization.

use cofferdam_models::Settings;
use cofferdam_models::settings::{AliasSpec, DocumentKind, DocumentOwner, PutUpstream};
use cofferdam_store::ModelSettingRow;
use serde_json::{Value, json};

use super::{on_each, operator, own, refusal, stranger, with_openai};

const KEY: &str = "sk-of-acme-0123456789";

async fn put(settings: &Settings, name: &str, value: Value) -> Result<(usize, Vec<String>), (String, String)> {
    let request = match PutUpstream::parse(value) {
        Ok(request) => request,
        Err(problem) => return Err((problem.kind().to_owned(), problem.detail)),
    };
    match settings.put_upstream(&own(), name, request).await {
        Ok((upstream, _)) => Ok((upstream.key_count, upstream.secrets)),
        Err(error) => Err(refusal::<()>(Err(error))),
    }
}

fn openai(extra: Value) -> Value {
    let mut value = json!({"kind": "openai", "keys": [KEY]});
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    value
}

#[tokio::test]
async fn a_wrong_upstream_is_refused_with_its_field_and_without_its_key() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        let many: Vec<String> = (0..33).map(|n| format!("sk-{n:020}")).collect();
        for (name, value, part) in [
            ("A", openai(json!({})), "name:"),
            ("test", openai(json!({})), "`test` is taken"),
            ("a", json!([KEY]), "object"),
            ("a", json!({"keys": [KEY]}), "missing field `kind`"),
            ("a", json!({"kind": "openai", "key": KEY}), "unknown field `key`"),
            ("a", json!({"kind": KEY}), "kind: expected one of `openai`"),
            ("a", openai(json!({"timeout_s": KEY})), "timeout_s: expected a whole number"),
            ("a", openai(json!({"timeout_s": -1})), "timeout_s: expected a whole number"),
            ("a", openai(json!({"models": ["a", [KEY]]})), "models[1]"),
            ("a", openai(json!({"headers": KEY})), "headers: expected an object"),
            ("a", openai(json!({"models": "a"})), "models: expected a list"),
            ("a", openai(json!({"key": "x"})), "`headers`, `keys`"),
            ("a", json!({"kind": "openai", "keys": KEY}), "keys: a list"),
            ("a", json!({"kind": "openai", "keys": [{"secret": 7}]}), "keys: a list"),
            ("a", json!({"kind": "openai", "keys": [{"name": KEY}]}), "keys: a list"),
            ("a", json!({"kind": "openai", "keys": many}), "keys: at most 32"),
            ("a", json!({"kind": "openai", "keys": [""]}), "keys[0]"),
            ("a", json!({"kind": "openai", "keys": [format!("{KEY}\0")]}), "keys[0]"),
            ("a", json!({"kind": "openai"}), "keys:"),
            ("a", openai(json!({"timeout_s": 0})), "timeout_s"),
            ("a", openai(json!({"headers": {"authorization": KEY}})), "authorization"),
            ("a", openai(json!({"headers": {"Host": "x"}})), "host"),
            ("a", openai(json!({"ca": "no certificate"})), "ca:"),
            ("a", openai(json!({"base_url": "ftp://x.example"})), "base_url"),
            ("a", openai(json!({"base_url": "http://127.0.0.1:9/v1"})), ""),
            ("a", openai(json!({"base_url": "http://169.254.169.254/"})), ""),
            ("a", openai(json!({"base_url": "https://[::1]/v1"})), ""),
        ] {
            let (_, detail) = put(&settings, name, value.clone()).await.expect_err(&value.to_string());
            assert!(detail.contains(part), "{value}: {detail}");
            assert!(!detail.contains(KEY), "{detail}");
        }
        assert!(settings.upstreams(&own()).await.unwrap().iter().all(|u| u.document.owner == DocumentOwner::Operator));
    })
    .await;
}

#[tokio::test]
async fn keys_stay_when_none_are_sent_and_go_only_where_they_were_stored_for() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        assert_eq!(put(&settings, "eu", openai(json!({"base_url": "https://a.example/v1"}))).await, Ok((1, vec![])));
        let keep = |base: &str| json!({"kind": "openai", "base_url": base, "timeout_s": 60});
        assert_eq!(put(&settings, "eu", keep("https://a.example/v1")).await, Ok((1, vec![])));
        for other in [
            keep("https://thief.example/v1"),
            json!({"kind": "compatible", "base_url": "https://a.example/v1"}),
            json!({"kind": "openai", "base_url": "https://a.example/v1", "proxy": "http://thief.example:3128"}),
            json!({"kind": "openai", "base_url": "https://a.example/v1", "region": "x"}),
            json!({"kind": "openai"}),
        ] {
            let (_, detail) = put(&settings, "eu", other.clone()).await.expect_err(&other.to_string());
            assert!(detail.contains("send them again"), "{detail}");
            let unsaved = PutUpstream::parse(other).unwrap();
            let (_, detail) = refusal(settings.test_unsaved(&own(), Some("eu"), &unsaved).await);
            assert!(detail.contains("send them again"), "{detail}");
        }
        let mut none = keep("https://b.example/v1");
        none["keys"] = json!([]);
        assert_eq!(put(&settings, "eu", none).await, Ok((0, vec![])));
        let stored = ground.store.model_setting(&own(), "upstream", "eu").await.unwrap().unwrap();
        assert_eq!(stored.sealed, None);
    })
    .await;
}

#[tokio::test]
async fn a_sealed_key_that_was_moved_in_the_database_does_not_open() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        put(&settings, "eu", openai(json!({"base_url": "https://a.example/v1"}))).await.unwrap();
        let row = ground.store.model_setting(&own(), "upstream", "eu").await.unwrap().unwrap();
        assert!(!row.value.contains(KEY) && !row.sealed.as_ref().unwrap().contains(KEY));
        let thief = row.value.replace("a.example", "thief.example");
        for moved in [
            ModelSettingRow { name: "us".into(), ..row.clone() },
            ModelSettingRow { organization: stranger(), ..row.clone() },
            ModelSettingRow { value: thief, ..row.clone() },
        ] {
            ground.store.put_model_setting(&moved, 10, 1 << 20).await.unwrap();
            let fresh = ground.settings(with_openai());
            let catalogue = fresh.of(&moved.organization).await.unwrap();
            assert!(!catalogue.upstreams.contains_key(&moved.name), "{}", moved.name);
            assert_eq!(fresh.upstream(&moved.organization, &moved.name).await.unwrap().key_count, 0);
            assert!(ground.store.delete_model_setting(&moved.organization, "upstream", &moved.name).await.unwrap());
            ground.store.put_model_setting(&row, 10, 1 << 20).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_may_be_a_stored_secret_that_is_for_this_host() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        let set = |value: &str| {
            let entry = ("a.example".to_owned(), value.to_owned());
            ground.secrets.0.lock().insert("openai-key".to_owned(), entry);
        };
        let named = |base: &str| json!({"kind": "openai", "base_url": base, "keys": [{"secret": "openai-key"}]});
        let (_, detail) = put(&settings, "eu", named("https://a.example/v1")).await.unwrap_err();
        assert!(detail.contains("keys[0].secret: there is no secret \"openai-key\""), "{detail}");
        set(KEY);
        let (_, detail) = put(&settings, "eu", named("https://thief.example/v1")).await.unwrap_err();
        assert!(detail.contains("is not for thief.example"), "{detail}");
        let stored = put(&settings, "eu", named("https://a.example/v1")).await;
        assert_eq!(stored, Ok((1, vec!["openai-key".to_owned()])));
        let one = async || std::sync::Arc::clone(&settings.of(&own()).await.unwrap().upstreams["eu"]);
        let before = one().await;
        settings.secret_changed(&own()).await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&before, &one().await), "the same key");
        set("sk-another-0123456789");
        settings.secret_changed(&own()).await.unwrap();
        assert!(!std::sync::Arc::ptr_eq(&before, &one().await), "another key");
        // A store that is down is no reason to lose the upstream until the next change.
        set("down");
        settings.secret_changed(&own()).await.unwrap();
        assert!(settings.of(&own()).await.is_err());
        set(KEY);
        one().await;
        ground.secrets.0.lock().clear();
        settings.secret_changed(&own()).await.unwrap();
        assert!(!settings.of(&own()).await.unwrap().upstreams.contains_key("eu"));
        let report = settings.test_upstream(&own(), "eu").await.unwrap();
        assert!(!report.ok && report.detail.contains("there is no secret"), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_broken_upstream_hides_the_operators_and_refuses() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        ground.secrets.0.lock().insert("orgkey".to_owned(), ("api.anthropic.com".to_owned(), KEY.to_owned()));
        let named = json!({"kind": "anthropic", "models": ["special"], "keys": [{"secret": "orgkey"}]});
        put(&settings, "openai", named).await.unwrap();
        let (kind, detail) = refusal(settings.check_secret_unused(&own(), "orgkey").await);
        assert!(kind == "conflict" && detail.contains("\"openai\""), "{detail}");
        settings.check_secret_unused(&own(), "other").await.unwrap();
        settings.check_secret_unused(&stranger(), "orgkey").await.unwrap();
        ground.secrets.0.lock().clear();
        settings.secret_changed(&own()).await.unwrap();
        // With another encryption key, and with a document of another version.
        let row = ground.store.model_setting(&own(), "upstream", "openai").await.unwrap().unwrap();
        let other = tempfile::tempdir().unwrap();
        let vault = std::sync::Arc::new(cofferdam_core::Vault::open(None, other.path()).unwrap());
        let secrets = std::sync::Arc::clone(&ground.secrets) as _;
        let net = cofferdam_upstreams::Net::new(Vec::new(), Vec::new());
        let elsewhere = Settings::new(ground.store.clone(), vault, secrets, with_openai(), net).unwrap();
        for (settings, part) in [(&settings, "there is no secret \"orgkey\""), (&elsewhere, "encryption key")] {
            let catalogue = settings.of(&own()).await.unwrap();
            assert!(!catalogue.upstreams.contains_key("openai"), "the operator's");
            assert!(catalogue.broken["openai"].why().contains(part) && !catalogue.broken["openai"].why().contains(KEY));
            let report = settings.test_upstream(&own(), "openai").await.unwrap();
            assert!(!report.ok && report.detail.contains(part) && report.detail.contains("PUT /v1/upstreams/openai"));
            let one = settings.upstream(&own(), "openai").await.unwrap();
            assert!(one.broken.is_some_and(|why| why.contains(part)));
            let all = settings.upstreams(&own()).await.unwrap();
            assert!(all.len() == 1 && all[0].document.owner == DocumentOwner::Organization && all[0].broken.is_some());
            let alias: AliasSpec = serde_json::from_value(json!({"chain": ["openai/special"]})).unwrap();
            let (_, detail) = refusal(settings.put(&own(), "fast", alias).await);
            assert!(detail.contains("cannot be used"), "{detail}");
            assert!(settings.of(&stranger()).await.unwrap().upstreams.contains_key("openai"));
        }
        let value = r#"{"kind":"anthropic","later":1}"#.to_owned();
        ground.store.put_model_setting(&ModelSettingRow { value, ..row }, 10, 1 << 20).await.unwrap();
        let fresh = ground.settings(with_openai());
        assert!(fresh.of(&own()).await.unwrap().broken.contains_key("openai"));
        assert!(fresh.upstreams(&own()).await.unwrap().is_empty(), "the operator's must not be shown in its place");
        put(&fresh, "openai", openai(json!({}))).await.unwrap();
        assert!(fresh.of(&own()).await.unwrap().broken.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_shown_may_be_put_back_under_its_own_name_only() {
    let shown = json!({"kind": "openai", "name": "eu", "owner": "organization", "key_count": 1, "keys": [KEY]});
    assert!(PutUpstream::parse_as("eu", shown.clone()).is_ok());
    for (name, field, value) in [
        ("us", "name", json!("eu")),
        ("eu", "name", json!(7)),
        ("eu", "owner", json!("operator")),
        ("eu", "owner", json!(7)),
    ] {
        let mut wrong = shown.clone();
        wrong[field] = value;
        let problem = PutUpstream::parse_as(name, wrong).err().unwrap();
        assert!(problem.kind() == "malformed-request" && problem.detail.starts_with(field), "{}", problem.detail);
    }
}

#[tokio::test]
async fn an_upstream_that_an_alias_names_is_not_deleted() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        put(&settings, "eu", openai(json!({}))).await.unwrap();
        let alias: AliasSpec = serde_json::from_value(json!({"chain": ["openai/a", "eu/b"]})).unwrap();
        settings.put(&own(), "fast", alias).await.unwrap();
        let (kind, detail) = refusal(settings.delete(&own(), DocumentKind::Upstream, "eu").await);
        assert!(kind == "conflict" && detail.contains("\"fast\""), "{detail}");
        settings.delete(&own(), DocumentKind::Alias, "fast").await.unwrap();
        settings.delete(&own(), DocumentKind::Upstream, "eu").await.unwrap();
        assert_eq!(refusal(settings.delete(&own(), DocumentKind::Upstream, "eu").await).0, "not-found");
        for (kind, name) in [(DocumentKind::Upstream, "openai"), (DocumentKind::Price, "gpt-5")] {
            let (what, detail) = refusal(settings.delete(&own(), kind, name).await);
            assert!(what == "conflict" && detail.contains("is the operator's"), "{detail}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_the_operators_upstreams_only_the_harmless_part_is_shown() {
    on_each(async |ground| {
        let file = r#"
            [[upstreams]]
            name = "azure-eu"
            kind = "azure"
            base_url = "https://internal.openai.azure.com"
            region = "eu"
            proxy = "http://10.0.0.1:3128"
            headers = { "x-team" = "core" }
            keys_env = "AZURE_KEY"
            models = ["gpt-5", { name = "mini", target = "deployment-17" }]
        "#;
        let settings = ground.settings(operator(file, &[("AZURE_KEY", KEY)]).unwrap());
        for upstream in [
            settings.upstream(&own(), "azure-eu").await.unwrap(),
            settings.upstreams(&stranger()).await.unwrap().remove(0),
        ] {
            let text = serde_json::to_string(&upstream.document.spec).unwrap();
            assert!(text.contains("\"eu\"") && text.contains("\"gpt-5\"") && text.contains("\"mini\""), "{text}");
            for hidden in ["internal", "10.0.0.1", "core", "deployment-17", KEY] {
                assert!(!text.contains(hidden), "{text}");
            }
            assert_eq!((upstream.document.owner, upstream.key_count), (DocumentOwner::Operator, 0));
        }
        assert_eq!(refusal(settings.upstream(&own(), "eu").await).0, "not-found");
    })
    .await;
}

#[tokio::test]
async fn there_are_at_most_a_hundred_upstreams() {
    on_each(async |ground| {
        for number in 0..100 {
            let row = ModelSettingRow {
                organization: own(),
                kind: "upstream".into(),
                name: format!("u{number}"),
                value: r#"{"kind":"openai"}"#.into(),
                sealed: None,
                created_at: 1,
                updated_at: 1,
            };
            ground.store.put_model_setting(&row, 100, 1 << 20).await.unwrap();
        }
        let settings = ground.settings(with_openai());
        let (kind, detail) = put(&settings, "more", openai(json!({}))).await.unwrap_err();
        assert!(kind == "overloaded" && detail.contains("100 documents"), "{detail}");
        assert_eq!(put(&settings, "u1", openai(json!({}))).await, Ok((1, vec![])));
        assert!(ground.folder.path().exists());
    })
    .await;
}
