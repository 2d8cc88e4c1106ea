//! Aliases, rules, budgets, prices and privacy: what is refused, as data; what is stored and shown.

use cofferdam_models::settings::{AliasSpec, DocumentKind, DocumentOwner, PriceSpec, Privacy, RuleSpec, Spec};
use cofferdam_usage::BudgetSpec;

use super::{on_each, operator, own, refusal, stranger, with_openai};

/// Reads and puts a document; returns why it is refused.
async fn put<S: Spec>(settings: &cofferdam_models::Settings, name: &str, json: &str) -> Result<(), String> {
    let spec: S = serde_json::from_str(json).map_err(|error| error.to_string())?;
    settings.put(&own(), name, spec).await.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_wrong_document_is_refused_with_its_field() {
    on_each(async |ground| {
        let file = r#"
            [[aliases]]
            name = "fast"
            chain = ["openai/gpt-5-mini"]
            [[upstreams]]
            name = "listed"
            kind = "compatible"
            base_url = "http://127.0.0.1:9/v1"
            models = ["qwen", { name = "llama", target = "meta-llama/Llama-3" }]
        "#;
        let settings = ground.settings(operator(file, &[("OPENAI_API_KEY", "sk-of-the-operator-1")]).unwrap());
        let many = format!(r#"{{"chain": [{}]}}"#, ["\"openai/x\""; 9].join(","));
        let wide = format!(r#"{{"chain": [[{}]]}}"#, ["\"openai/x\""; 9].join(","));
        for (name, json, part) in [
            ("a", r#"{"chain": []}"#, "chain: 1 to 8 steps"),
            ("a", &many, "chain: 1 to 8 steps"),
            ("a", &wide, "chain[0]: 1 to 8 models"),
            ("a", r#"{"chain": [[]]}"#, "chain[0]: 1 to 8 models"),
            ("a", r#"{"chain": [{"model": "openai/x", "weight": 0}]}"#, "chain[0][0].weight: 1 to 1000"),
            ("a", r#"{"chain": [{"model": "openai/x", "weight": 1001}]}"#, "chain[0][0].weight: 1 to 1000"),
            ("a", r#"{"chain": [{"model": "openai/x", "wait": 1}]}"#, "unknown field `wait`"),
            ("a", r#"{"chain": [7]}"#, "a model such as"),
            ("a", r#"{"chain": ["openai/a*"]}"#, "chain[0][0].model"),
            ("a", r#"{"chain": ["openai/x", "azure/x"]}"#, "chain[1]: there is no upstream \"azure\""),
            ("a", r#"{"chain": ["listed/gpt"]}"#, "does not list the model \"gpt\""),
            ("a", r#"{"chain": ["fast"]}"#, "\"fast\" is an alias"),
            ("a", r#"{"chain": ["a"]}"#, "\"a\" is an alias"),
            ("A", r#"{"chain": ["openai/x"]}"#, "name: 1 to 64"),
            ("..", r#"{"chain": ["openai/x"]}"#, "only dots"),
        ] {
            let why = put::<AliasSpec>(&settings, name, json).await.unwrap_err();
            assert!(why.contains(part), "{json}: {why}");
        }
        for json in [
            r#"{"chain": ["openai/any", "listed/qwen", "llama", "gpt-5"]}"#,
            r#"{"chain": [["openai/a", {"model": "openai/b", "weight": 1000}]]}"#,
        ] {
            put::<AliasSpec>(&settings, "a", json).await.unwrap();
        }
        for (json, part) in [
            (r#"{"for": "organization"}"#, "says nothing"),
            (r#"{"for": "everybody", "models": []}"#, "unknown variant"),
            (r#"{"models": []}"#, "missing field `for`"),
            (r#"{"for": {"key": ""}, "models": []}"#, "for.key"),
            (r#"{"for": "organization", "max_tokens": 0}"#, "max_tokens"),
            (r#"{"for": "organization", "models": ["a b"]}"#, "models[0]"),
            (r#"{"for": "organization", "regions": [""]}"#, "regions[0]"),
            (r#"{"for": "organization", "model": ["a"]}"#, "unknown field `model`"),
        ] {
            let why = put::<RuleSpec>(&settings, "r", json).await.unwrap_err();
            assert!(why.contains(part), "{json}: {why}");
        }
        put::<RuleSpec>(&settings, "r", r#"{"for": {"agent": "support"}, "models": ["openai/*"]}"#).await.unwrap();
        for (json, part) in [
            (r#"{"per": "key", "unit": "tokens", "limit": 0, "window": "day"}"#, "limit: more than 0"),
            (r#"{"per": "key", "unit": "money", "limit": "0.00", "window": "day"}"#, "limit: more than 0"),
            (r#"{"per": "key", "unit": "money", "limit": "-1", "window": "day"}"#, "limit"),
            (r#"{"per": "key", "unit": "tokens", "limit": "1.5", "window": "day"}"#, "limit"),
            (r#"{"per": "key", "unit": "tokens", "limit": 5, "window": "task"}"#, "window"),
        ] {
            let why = put::<BudgetSpec>(&settings, "b", json).await.unwrap_err();
            assert!(why.contains(part), "{json}: {why}");
        }
        for (name, json, part) in [
            ("gpt", r#"{"input": -1, "output": 1}"#, "from 0 to 1000000"),
            ("gpt", r#"{"input": 1, "output": 1000001}"#, "from 0 to 1000000"),
            ("gpt", r#"{"input": 1}"#, "missing field `output`"),
            ("a b", r#"{"input": 1, "output": 1}"#, "name"),
            ("gpt", r#"{"input": 1, "output": 1, "long": {"above": 0, "input": 1, "output": 1}}"#, "long.above"),
        ] {
            let why = put::<PriceSpec>(&settings, name, json).await.unwrap_err();
            assert!(why.contains(part), "{json}: {why}");
        }
        put::<PriceSpec>(&settings, "openai/gpt-*", r#"{"input": "0.5", "output": 2}"#).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_document_is_seen_by_its_organization_only() {
    on_each(async |ground| {
        let settings = ground.settings(with_openai());
        put::<AliasSpec>(&settings, "fast", r#"{"chain": ["openai/gpt-5-mini"]}"#).await.unwrap();
        let (document, new) = settings
            .put(&own(), "fast", serde_json::from_str::<AliasSpec>(r#"{"chain": ["openai/gpt-5"]}"#).unwrap())
            .await
            .unwrap();
        assert!(!new && document.owner == DocumentOwner::Organization);
        assert_eq!(settings.get::<AliasSpec>(&own(), "fast").await.unwrap(), document);
        assert_eq!(settings.list::<AliasSpec>(&own()).await.unwrap(), [document]);
        let (kind, detail) = refusal(settings.get::<AliasSpec>(&stranger(), "fast").await);
        assert_eq!((kind.as_str(), detail.as_str()), ("not-found", "There is no model alias \"fast\"."));
        assert_eq!(settings.list::<AliasSpec>(&stranger()).await.unwrap(), []);
        assert_eq!(refusal(settings.delete(&stranger(), DocumentKind::Alias, "fast").await).0, "not-found");
        assert!(settings.of(&own()).await.unwrap().aliases.contains_key("fast"));
        assert!(!settings.of(&stranger()).await.unwrap().aliases.contains_key("fast"));

        assert!(!settings.of(&own()).await.unwrap().privacy.store_contents);
        settings.put_privacy(&own(), Privacy { store_contents: true }).await.unwrap();
        assert!(settings.of(&own()).await.unwrap().privacy.store_contents);
        assert!(settings.privacy(&own()).await.unwrap().store_contents);
        assert!(!settings.of(&stranger()).await.unwrap().privacy.store_contents);
    })
    .await;
}

#[tokio::test]
async fn the_operators_documents_are_behind_those_of_the_same_name() {
    on_each(async |ground| {
        let file = r#"
            [[aliases]]
            name = "fast"
            chain = ["openai/gpt-5-mini"]
            [[prices]]
            name = "gpt-5"
            input = 1
            output = 2
        "#;
        let settings = ground.settings(operator(file, &[("OPENAI_API_KEY", "sk-of-the-operator-1")]).unwrap());
        let shown = settings.get::<AliasSpec>(&own(), "fast").await.unwrap();
        assert_eq!((shown.owner, shown.created_at), (DocumentOwner::Operator, None));
        assert_eq!(refusal(settings.delete(&own(), DocumentKind::Alias, "fast").await).0, "conflict");
        put::<AliasSpec>(&settings, "fast", r#"{"chain": ["openai/own"]}"#).await.unwrap();
        let catalogue = settings.of(&own()).await.unwrap();
        assert_eq!(catalogue.aliases["fast"].chain[0].0[0].model, "openai/own");
        assert_eq!(settings.list::<AliasSpec>(&own()).await.unwrap().len(), 1);
        settings.delete(&own(), DocumentKind::Alias, "fast").await.unwrap();
        assert_eq!(settings.get::<AliasSpec>(&own(), "fast").await.unwrap().owner, DocumentOwner::Operator);

        let price = settings.get::<PriceSpec>(&own(), "gpt-5").await.unwrap();
        assert_eq!((price.owner, price.spec.input.to_string().as_str()), (DocumentOwner::Operator, "1"));
        let all = settings.list::<PriceSpec>(&own()).await.unwrap();
        assert!(all.len() > 100 && all.iter().filter(|price| price.name == "gpt-5").count() == 1);
    })
    .await;
}
