//! The engine against a scripted upstream: bytes, fallback, the first byte, budgets, records, callers who go away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

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
async fn a_stream_is_the_same_with_and_without_the_usage_that_the_caller_did_not_ask_for() {
    let rig = rig().await;
    let mut body = chat("one/m");
    body["stream"] = json!(true);
    let plain = text(rig.call(Service::Chat, &body).await).await;
    assert!(!plain.contains("prompt_tokens") && plain.ends_with("data: [DONE]\n\n"), "{plain}");
    assert_eq!(rig.fake.take_seen()[0].json()["stream_options"]["include_usage"], true);
    body["stream_options"] = json!({"include_usage": true});
    let asked = text(rig.call(Service::Chat, &body).await).await;
    assert!(asked.contains("\"prompt_tokens\""), "{asked}");
    let row = rig.record().await;
    assert_eq!((row.requests, row.input, row.output), (2, 2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS));
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
async fn nothing_is_tried_again_after_the_first_byte() {
    let rig = rig().await;
    rig.fake.trouble(Trouble::Half);
    let mut body = chat("both");
    body["stream"] = json!(true);
    let reply = rig.call(Service::Chat, &body).await;
    assert_eq!(reply.status(), 200);
    let stream = text(reply).await;
    let last = stream.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "server_error", "{stream}");
    assert_eq!(rig.fake.calls(), 1);
    let row = rig.record().await;
    assert_eq!((row.group[2].as_deref(), row.errors), (Some("broken"), 1));
    assert!(row.input > 0 && row.output > 0, "{row:?}");
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
async fn budgets_are_held_settled_and_given_back() {
    let rig = rig().await;
    let budget = rig.budget("tokens", 1_000).await;
    rig.call(Service::Chat, &chat("one/m")).await;
    let used = INPUT_TOKENS + OUTPUT_TOKENS;
    let state = rig.state(&budget).await;
    assert_eq!((state.used, state.held), (used, 0), "{state:?}");
    // What fails costs nothing.
    rig.fake.trouble(Trouble::BadRequest);
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 400);
    assert_eq!(rig.state(&budget).await.used, used);
    // What could be more than there is left is refused, in each protocol, before anything is sent.
    let calls = rig.fake.calls();
    let mut big = chat("one/m");
    big["max_tokens"] = json!(850);
    let reply = rig.call(Service::Chat, &big).await;
    assert_eq!(reply.status(), 429);
    assert!(reply.headers().contains_key("retry-after"));
    let said = json_of(reply).await;
    assert_eq!(
        (&said["error"]["type"], &said["error"]["code"]),
        (&json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    assert!(said["error"]["message"].as_str().unwrap().contains("`b`"), "{said}");
    let reply = rig.call(Service::Messages, &big).await;
    assert_eq!(reply.status(), 429);
    assert_eq!(json_of(reply).await["error"]["type"], "rate_limit_error");
    assert_eq!(rig.fake.calls(), calls);
    // A caller who goes away is charged with what was used at least.
    let mut body = chat("one/words.100.50");
    body["stream"] = json!(true);
    let mut reply = rig.call(Service::Chat, &body).await;
    reply.body_mut().frame().await.unwrap().unwrap();
    drop(reply);
    let state = rig.state(&budget).await;
    assert!(state.used > used && state.held == 0, "{state:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((rig.fake.open(), rig.fake.cancelled()), (0, 1));
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_answer_is_cancelled_and_recorded() {
    let rig = rig().await;
    let budget = rig.budget("requests", 10).await;
    let waited =
        tokio::time::timeout(Duration::from_millis(300), rig.call(Service::Chat, &chat("one/trouble.slow.5000"))).await;
    assert!(waited.is_err());
    let row = rig.record().await;
    assert_eq!((row.group[2].as_deref(), row.requests), (Some("cancelled"), 1));
    let state = rig.state(&budget).await;
    assert_eq!((state.used, state.held), (1, 0));
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
async fn tokens_are_counted_by_the_upstream_that_can_and_estimated_otherwise() {
    let rig = rig().await;
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let counted = json_of(rig.call(Service::CountTokens, &body("claude/claude-x")).await).await;
    assert!(counted["input_tokens"].as_u64().is_some(), "{counted}");
    let calls = rig.fake.calls();
    let estimated = json_of(rig.call(Service::CountTokens, &body("one/m")).await).await;
    assert!(estimated["input_tokens"].as_u64().unwrap() > 10 && rig.fake.calls() == calls, "{estimated}");
    // Neither is an estimate of what was used, which is nothing.
    rig.models.accounts().flush().await.unwrap();
    let page = rig.models.accounts().calls(&who().organization, &CallQuery::default()).await.unwrap();
    let told: Vec<_> =
        page.calls.iter().map(|call| (call.upstream.as_deref(), call.input, call.output, call.estimated)).collect();
    assert_eq!(told, [(None, 0, 0, false), (Some("claude"), 0, 0, false)]);
}

#[tokio::test]
async fn a_count_of_tokens_costs_a_request_if_an_upstream_is_asked() {
    let rig = rig().await;
    let budget = rig.budget("requests", 1).await;
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..2 {
        assert_eq!(rig.call(Service::CountTokens, &body("one/m")).await.status(), 200);
    }
    assert_eq!(rig.state(&budget).await.used, 0);
    json_of(rig.call(Service::CountTokens, &body("claude/claude-x")).await).await;
    assert_eq!(rig.state(&budget).await.used, 1);
    assert_eq!(rig.call(Service::CountTokens, &body("claude/claude-x")).await.status(), 429);
    assert_eq!(rig.call(Service::CountTokens, &body("one/m")).await.status(), 200);
}

#[tokio::test]
async fn the_model_without_a_price_is_named() {
    let rig = rig().await;
    rig.budget("money", 5).await;
    // `over` tries one/m, which has a price, and then this.
    let reply = rig.call(Service::Chat, &chat("over")).await;
    assert_eq!(reply.status(), 403);
    let said = text(reply).await;
    assert!(said.contains("no price of claude/claude-x is known"), "{said}");
    assert_eq!(rig.fake.calls(), 0);
}

/// Answers each request on a connection of its own with the next of these texts.
async fn canned(answers: Vec<String>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 64 << 10];
            let mut length = 0;
            // All requests here are one JSON object that ends with `}`.
            while !seen[..length].ends_with(b"}") {
                length += stream.read(&mut seen[length..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    base
}

fn stream_of(events: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}")
}

#[tokio::test]
async fn an_error_before_a_word_is_tried_elsewhere_whatever_came_before_it() {
    let error = r#"data: {"error":{"message":"no","type":"server_error"}}"#;
    let role = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    let word = role.replace(r#""content":"""#, r#""content":"Hello""#);
    let stop = role.replace("null}", "\"stop\"}");
    let good = format!("{role}\n\n{word}\n\n{stop}\n\ndata: [DONE]\n\n");
    for bad in [
        format!(": hi\n\n{error}\n\n"),
        format!("{role}\n\n{error}\n\n"),
        format!(": ping\n\n{role}\n\n: ping\n\n{error}\n\n"),
        "data: [DONE]\n\n".to_owned(),
        String::new(),
    ] {
        let base = canned(vec![stream_of(&bad), stream_of(&good)]).await;
        let rig = rig_at(&base).await;
        let mut body = chat("both");
        body["stream"] = json!(true);
        let reply = rig.call(Service::Chat, &body).await;
        assert_eq!(reply.headers()["x-cofferdam-tries"], "2", "{bad}");
        let stream = text(reply).await;
        assert!(stream.contains("Hello") && !stream.contains("server_error"), "{bad}: {stream}");
        assert_eq!(rig.record().await.group[2].as_deref(), Some("ok"));
    }
}

#[tokio::test]
async fn a_word_that_lets_wait_does_not_hold_the_stream_back() {
    let role = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#;
    // The connection stays open, and nothing more comes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let first = stream_of(&format!("{role}\n\n"));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4_096];
        assert!(stream.read(&mut seen).await.unwrap() > 0);
        stream.write_all(first.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let rig = rig_at(&base).await;
    let mut body = chat("one/m");
    body["stream"] = json!(true);
    let mut reply = tokio::time::timeout(Duration::from_secs(10), rig.call(Service::Chat, &body)).await.unwrap();
    let frame = tokio::time::timeout(Duration::from_secs(5), reply.body_mut().frame()).await.unwrap();
    assert!(frame.unwrap().unwrap().into_data().unwrap().starts_with(b"data: {"));
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
async fn what_a_budget_counts_has_a_bound_in_the_request() {
    let rig = rig().await;
    let budget = rig.budget("tokens", 100_000).await;
    let plain = json!({"model": "one/m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(rig.call(Service::Chat, &plain).await.status(), 200);
    assert_eq!(rig.fake.take_seen()[0].json()["max_completion_tokens"], 8_192, "what is held is what can be used");
    // The larger of two limits counts.
    let mut two = plain.clone();
    two["max_completion_tokens"] = json!(1);
    two["max_tokens"] = json!(200_000);
    assert_eq!(rig.call(Service::Chat, &two).await.status(), 429);
    for (service, field) in [
        (Service::Responses, "previous_response_id"),
        (Service::Responses, "conversation"),
        (Service::Responses, "prompt"),
        (Service::Chat, "n_predict"),
        (Service::Chat, "best_of"),
        (Service::Chat, "options"),
    ] {
        let mut body = json!({"model": "one/m", "input": "hi", "messages": [], field: "x"});
        if service == Service::Chat {
            body.as_object_mut().unwrap().remove("input");
        }
        let reply = rig.call(service, &body).await;
        assert_eq!(reply.status(), 403, "{field}");
        assert!(text(reply).await.contains(field));
    }
    assert_eq!(rig.fake.take_seen().len(), 0);
    assert_eq!(rig.state(&budget).await.held, 0);
}

#[tokio::test]
async fn a_budget_of_a_model_counts_it_under_every_name() {
    let rig = rig().await;
    let spec = json!({"per": "organization", "unit": "requests", "limit": 2, "window": "month", "models": ["m"]});
    let spec: cofferdam_usage::BudgetSpec = serde_json::from_value(spec).unwrap();
    rig.models.settings().put(&who().organization, "b", spec).await.unwrap();
    assert_eq!(rig.call(Service::Chat, &chat("one/m")).await.status(), 200);
    assert_eq!(rig.call(Service::Chat, &chat("both")).await.status(), 200);
    assert_eq!(rig.call(Service::Chat, &chat("two/m")).await.status(), 429);
    assert_eq!(rig.call(Service::Chat, &chat("two/other")).await.status(), 200);
}

#[tokio::test]
async fn what_comes_after_the_end_is_not_passed_on() {
    let chunk = |word: &str| {
        format!(
            r#"data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"{word}"}},"finish_reason":null}}]}}"#
        )
    };
    let events = format!("{}\n\ndata: [DONE]\n\n", chunk("Hello"));
    // In a piece of its own.
    let late = chunk("free").repeat(100);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4_096];
        assert!(stream.read(&mut seen).await.unwrap() > 0);
        stream.write_all(stream_of(&events).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(format!("{late}\n\n").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let rig = rig_at(&base).await;
    let mut body = chat("one/m");
    body["stream"] = json!(true);
    let reply = rig.call(Service::Chat, &body).await;
    let stream = tokio::time::timeout(Duration::from_secs(5), text(reply)).await.unwrap();
    assert!(stream.contains("Hello") && !stream.contains("free"), "{stream}");
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
