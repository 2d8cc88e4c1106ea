//! The engine against a scripted upstream: bytes, fallback, the first byte, budgets, records, callers who go away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod budgets;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::OrganizationId;
use cofferdam_core::{Source, Vault};
use cofferdam_models::settings::{ModelsFile, NoSecrets, OperatorModels};
use cofferdam_models::{Call, Models, Narrow, Reply, Service, Settings, Who};
use cofferdam_store::Store;
use cofferdam_testkit::database::On;
use cofferdam_testkit::models::{FakeModels, INPUT_TOKENS, OUTPUT_TOKENS, Trouble};
use cofferdam_upstreams::Net;
use cofferdam_usage::{Accounts, Budget, BudgetState, By, CallQuery, UsageConfig, UsageMetrics, UsageQuery, UsageRow};
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};

struct Rig {
    models: Arc<Models>,
    fake: FakeModels,
    store: Store,
    _folder: tempfile::TempDir,
}

/// Upstreams `one` and `two` of OpenAI's kind, `claude` of Anthropic's; aliases over them.
async fn rig() -> Rig {
    let fake = FakeModels::start().await;
    let base = fake.base();
    rig_of(fake, &base).await
}

/// The same with all upstreams at another server.
async fn rig_at(base: &str) -> Rig {
    rig_of(FakeModels::start().await, base).await
}

async fn rig_of(fake: FakeModels, base: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let upstream = |name: &str, kind: &str, path: &str| {
        format!(
            "[[upstreams]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"{}/as/{name}{path}\"\nkeys_env = [\"KEY\"]\n",
            base
        )
    };
    let text = [
        upstream("one", "openai", "/v1"),
        upstream("two", "openai", "/v1"),
        upstream("claude", "anthropic", ""),
        "[[aliases]]\nname = \"both\"\nchain = [\"one/m\", \"two/m\"]\n".to_owned(),
        "[[aliases]]\nname = \"over\"\nchain = [\"one/m\", \"claude/claude-x\"]\n".to_owned(),
        "[[prices]]\nname = \"m\"\ninput = \"1\"\noutput = \"10\"\n".to_owned(),
    ]
    .concat();
    let file: ModelsFile = toml::from_str(&text).unwrap();
    let env = |name: &str| (name == "KEY").then(|| "sk-canary-0123456789abcdef".to_owned());
    let operator = OperatorModels::parse(&file, &Source::new(&env)).unwrap();
    let store = Store::open(&On::Sqlite.database(&folder).await).await.unwrap();
    let vault = Arc::new(Vault::open(None, folder.path()).unwrap());
    let net = Net::new(Vec::new(), Vec::new());
    let settings = Settings::new(store.clone(), vault, Arc::new(NoSecrets), operator, net).unwrap();
    let config = UsageConfig { alone: true, ..UsageConfig::default() };
    let accounts = Accounts::new(store.clone(), config, UsageMetrics::default());
    Rig { models: Models::new(settings, accounts), fake, store, _folder: folder }
}

fn who() -> Who {
    let organization = OrganizationId::default_organization();
    Who { organization, key: "k".to_owned(), agent: None, task: None }
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50})
}

impl Rig {
    async fn call(&self, service: Service, body: &Value) -> Reply {
        self.send(service, body.to_string(), Vec::new()).await
    }

    async fn send(&self, service: Service, body: String, narrow: Vec<Narrow>) -> Reply {
        let call = Call { who: who(), service, headers: HeaderMap::new(), body: Bytes::from(body), narrow };
        self.models.call(call).await
    }

    /// The only record so far, by what it is grouped.
    async fn record(&self) -> UsageRow {
        let rows = self.records().await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.into_iter().next().unwrap()
    }

    async fn records(&self) -> Vec<UsageRow> {
        self.models.accounts().flush().await.unwrap();
        let query = UsageQuery { by: vec![By::Upstream, By::Served, By::Ending], ..UsageQuery::default() };
        self.models.accounts().query(&who().organization, &query).await.unwrap().rows
    }

    async fn budget(&self, unit: &str, limit: u64) -> Arc<Budget> {
        let spec = json!({"per": "organization", "unit": unit, "limit": limit, "window": "month"});
        let settings = self.models.settings();
        let spec: cofferdam_usage::BudgetSpec = serde_json::from_value(spec).unwrap();
        settings.put(&who().organization, "b", spec).await.unwrap();
        Arc::clone(&settings.of(&who().organization).await.unwrap().budgets[0])
    }

    async fn state(&self, budget: &Arc<Budget>) -> BudgetState {
        self.models.accounts().flush().await.unwrap();
        self.models.accounts().spent(&who().organization, std::slice::from_ref(budget)).await.unwrap().remove(0)
    }
}

async fn text(reply: Reply) -> String {
    String::from_utf8(reply.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn json_of(reply: Reply) -> Value {
    serde_json::from_str(&text(reply).await).unwrap()
}

#[tokio::test]
async fn the_same_protocol_keeps_every_byte_but_the_name() {
    let rig = rig().await;
    let body = r#"{ "unknown_field":1.50 , "model" : "one\/m","messages":[ {"role":"user","content":"h\u0069"} ] }"#;
    let reply = rig.send(Service::Chat, body.to_owned(), Vec::new()).await;
    assert_eq!(
        (reply.status(), &reply.headers()["x-cofferdam-model"]),
        (http::StatusCode::OK, &"one/m".parse().unwrap())
    );
    assert!(reply.headers()["x-cofferdam-call"].to_str().unwrap().starts_with("call_"));
    let seen = rig.fake.take_seen().remove(0);
    assert_eq!(seen.body, body.replace(r#""one\/m""#, r#""m""#));
    let answer = json_of(reply).await;
    assert_eq!(answer["usage"]["total_tokens"], INPUT_TOKENS + OUTPUT_TOKENS);
    let row = rig.record().await;
    assert_eq!((row.input, row.output, row.requests, row.errors), (INPUT_TOKENS, OUTPUT_TOKENS, 1, 0));
    let group: Vec<_> = row.group.iter().map(Option::as_deref).collect();
    assert_eq!(group, [Some("one"), Some("m"), Some("ok")]);
    // $1 and $10 a million, in nano-dollars.
    assert_eq!(row.money, INPUT_TOKENS * 1_000 + OUTPUT_TOKENS * 10_000);
}

#[tokio::test]
async fn what_fails_before_the_first_byte_is_tried_elsewhere_and_in_another_protocol() {
    let rig = rig().await;
    for trouble in [
        Trouble::Page,
        Trouble::Closed,
        Trouble::Overloaded,
        Trouble::KeyRefused,
        Trouble::WrongType,
        Trouble::Redirect,
    ] {
        let shown = format!("{trouble:?}");
        rig.fake.trouble(trouble);
        let reply = rig.call(Service::Chat, &chat("both")).await;
        assert_eq!(reply.status(), 200, "{shown}: {}", text(reply).await);
        assert_eq!(reply.headers()["x-cofferdam-model"], "two/m", "{shown}");
        // The next case begins with a key that does not rest.
        tokio::task::yield_now().await;
        if shown == "KeyRefused" {
            break;
        }
    }
    let rig = self::rig().await;
    rig.fake.trouble(Trouble::Page);
    let mut body = chat("over");
    body["stream"] = json!(true);
    let reply = rig.call(Service::Chat, &body).await;
    assert_eq!(reply.headers()["x-cofferdam-model"], "claude/claude-x");
    assert_eq!(reply.headers()["x-cofferdam-tries"], "2");
    let stream = text(reply).await;
    assert!(stream.contains("chat.completion.chunk") && stream.ends_with("data: [DONE]\n\n"), "{stream}");
    let row = rig.record().await;
    assert_eq!((row.input, row.output, row.errors), (INPUT_TOKENS, OUTPUT_TOKENS, 0));
}

#[tokio::test]
async fn a_request_that_is_wrong_is_not_sent_to_another() {
    let rig = rig().await;
    rig.fake.trouble(Trouble::BadRequest);
    let reply = rig.call(Service::Chat, &chat("both")).await;
    assert_eq!((reply.status().as_u16(), rig.fake.calls()), (400, 1));
    let row = rig.record().await;
    assert_eq!((row.group[2].as_deref(), row.input, row.money), (Some("error"), 0, 0));
}

#[tokio::test]
async fn names_that_are_not_allowed_are_refused_before_anything_is_sent() {
    let rig = rig().await;
    let narrow = |models: &[&str]| {
        let models = Some(models.iter().map(|name| (*name).to_owned()).collect());
        vec![Narrow { name: "grants.llm", models, exact: true, no_servers: true, max_tokens: Some(100) }]
    };
    for (body, narrow, status, part) in [
        (chat("one/m"), narrow(&["both"]), 403, "grants.llm allows [both]"),
        (chat("one/m"), narrow(&["*"]), 403, "grants.llm"),
        (json!({"model": "both", "max_tokens": 101, "messages": []}), narrow(&["both"]), 403, "100"),
        (json!({"model": "m", "Model": "x"}), Vec::new(), 400, "Model"),
        (json!({"messages": []}), Vec::new(), 400, "model"),
    ] {
        let reply = rig.send(Service::Chat, body.to_string(), narrow).await;
        let (found, said) = (reply.status().as_u16(), text(reply).await);
        assert!(found == status && said.contains(part), "{body}: {found} {said}");
    }
    assert_eq!(rig.fake.calls(), 0);
    let reply = rig.send(Service::Chat, json!({"model": "both", "messages": []}).to_string(), narrow(&["both"])).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(rig.fake.take_seen()[0].json()["max_completion_tokens"], 100);
}

#[tokio::test]
async fn a_model_that_always_fails_does_not_close_its_upstream_and_a_limited_key_says_so() {
    let rig = rig().await;
    for call in 0..3 {
        let reply = rig.call(Service::Chat, &chat("one/trouble.page")).await;
        assert!(reply.status().is_server_error());
        // The third one is not made any more.
        assert_eq!(reply.headers().contains_key("x-cofferdam-model"), call < 2);
    }
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 200);
    assert_eq!(rig.call(Service::Chat, &chat("one/trouble.too-many.60")).await.status(), 429);
    // One caller's limit does not stop the others for that long.
    let began = std::time::Instant::now();
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 200);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_call_that_comes_back_to_its_own_gateway_ends() {
    let rig = rig().await;
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 200);
    assert_eq!(rig.fake.take_seen()[0].headers["x-cofferdam-hops"], "1");
    let mut headers = HeaderMap::new();
    headers.insert("x-cofferdam-hops", http::HeaderValue::from_static("4"));
    let body = Bytes::from(chat("one/m").to_string());
    let call = Call { who: who(), service: Service::Chat, headers, body, narrow: Vec::new() };
    let reply = rig.models.call(call).await;
    assert_eq!((reply.status().as_u16(), rig.fake.calls()), (500, 1));
    assert!(text(reply).await.contains("base_url"));
}

/// An organization's own upstream that cannot be used: its calls must not go to the operator's of the same name.

#[tokio::test]
async fn a_call_of_a_broken_upstream_goes_nowhere_else() {
    let rig = rig().await;
    let row = cofferdam_store::ModelSettingRow {
        organization: who().organization,
        kind: "upstream".to_owned(),
        name: "one".to_owned(),
        value: json!({"kind": "openai", "of": "a later version", "models": ["special"]}).to_string(),
        sealed: None,
        created_at: 1,
        updated_at: 1,
    };
    rig.store.put_model_setting(&row, 10, 1 << 20).await.unwrap();
    for (service, model, status) in [
        (Service::Chat, "one/special", 503),
        (Service::Responses, "one/special", 503),
        (Service::Messages, "one/special", 529),
        (Service::Chat, "special", 503),
        (Service::Chat, "one/m", 404),
    ] {
        let body = json!({"model": model, "messages": [], "input": "hi", "max_tokens": 5});
        let reply = rig.call(service, &body).await;
        assert_eq!(reply.status(), status, "{service:?} {model}");
        let said = text(reply).await;
        assert_eq!(said.contains("PUT /v1/upstreams/one"), status != 404, "{said}");
    }
    let reply = rig.call(Service::Chat, &chat("both")).await;
    assert_eq!(reply.headers()["x-cofferdam-model"], "two/m", "the alias goes on");
    assert!(rig.records().await.iter().all(|row| row.group[0].as_deref() != Some("one")));
}
