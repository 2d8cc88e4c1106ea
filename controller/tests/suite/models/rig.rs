//! A whole server in process whose operator's upstreams are the scripted server: one upstream for each path that a case takes,
//! so that one's breaker never closes another's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_dialects::Kind;
use cofferdam_testkit::models::FakeModels;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{ADMIN, TestApp};

/// The key that the operator gave its upstreams. Nobody may ever see it.
pub(super) const UPSTREAM_KEY: &str = "sk-upstream-Zq7/4+aB93kLmN0pR5tV";
/// The longest time that a record may take to be there.
const RECORD_TIMEOUT: Duration = Duration::from_secs(3);

/// A provider's kind of upstream, by the name in its settings.
pub(super) const OPENAI: &str = "openai";
pub(super) const ANTHROPIC: &str = "anthropic";

pub(super) struct Gateway {
    pub app: Arc<TestApp>,
    pub fake: Arc<FakeModels>,
}

/// A door of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Chat,
    Responses,
    Messages,
}

impl Door {
    pub(super) const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// The provider whose protocol it speaks.
    pub(super) fn provider(self) -> &'static str {
        match self {
            Self::Messages => ANTHROPIC,
            _ => OPENAI,
        }
    }

    /// A request's body; `before` goes to its very beginning.
    pub(super) fn body(self, model: &str, stream: bool, before: &str, fields: &Value) -> String {
        let said = json!([{"role": "user", "content": "What is the weather?"}]);
        let mut body = match self {
            Self::Chat => json!({"model": model, "messages": said, "max_completion_tokens": 200}),
            Self::Responses => json!({"model": model, "input": said, "max_output_tokens": 200, "store": false}),
            Self::Messages => json!({"model": model, "messages": said, "max_tokens": 200}),
        };
        if stream {
            body["stream"] = json!(true);
        }
        fields.as_object().into_iter().flatten().for_each(|(key, value)| body[key] = value.clone());
        let text = body.to_string();
        format!("{{{before}{}", &text[1..])
    }

    /// The value of `error.type` for a kind of failure.
    pub(super) fn type_name(self, kind: &str) -> &'static str {
        let kind = match kind {
            "invalid" => Kind::Invalid,
            "authentication" => Kind::Authentication,
            "permission" => Kind::Permission,
            "not_found" => Kind::NotFound,
            "too_large" => Kind::TooLarge,
            "rate_limit" => Kind::RateLimit,
            "quota" => Kind::Quota,
            "overloaded" => Kind::Overloaded,
            "timeout" => Kind::Timeout,
            "api" => Kind::Api,
            other => panic!("there is no kind {other:?}"),
        };
        kind.type_name(match self {
            Self::Chat => cofferdam_dialects::Dialect::Chat,
            Self::Responses => cofferdam_dialects::Dialect::Responses,
            Self::Messages => cofferdam_dialects::Dialect::Messages,
        })
    }
}

/// A call's record, as `GET /v1/usage` tells it.
#[derive(Debug, Default, Clone)]
pub(super) struct Recorded {
    pub calls: u64,
    pub ending: String,
    pub input: u64,
    pub output: u64,
}

impl Gateway {
    /// Starts both. `upstreams`: names and kinds; `each`: further settings of every one; `more`: further lines of the file.
    pub(super) async fn with(upstreams: &[(String, &str)], each: &str, more: &str) -> Self {
        let fake = Arc::new(FakeModels::start().await);
        let mut file = String::from("[models]\n");
        for (name, kind) in upstreams {
            // The prefix tells whose request it is.
            let mut base = format!("{}/as/{name}", fake.base());
            if *kind != ANTHROPIC {
                base += "/v1";
            }
            file += &format!(
                "[[models.upstreams]]\nname = {name:?}\nkind = {kind:?}\nbase_url = {base:?}\nkeys_env = \"FAKE_KEY\"\n\
                 connect_timeout_s = 2\nfirst_byte_timeout_s = 2\nidle_timeout_s = 2\ntimeout_s = 5\n{each}\n"
            );
        }
        file += more;
        let app = Arc::new(TestApp::with_file(&file, &[("FAKE_KEY", UPSTREAM_KEY)]).await);
        let gateway = Self { app, fake };
        let budget = json!({"per": "organization", "unit": "tokens", "limit": 1_000_000_000_u64, "window": "day"});
        let answer = gateway.app.call(ADMIN, "PUT", "/v1/budgets/all", Some(budget)).await;
        assert!(answer.status.is_success(), "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        gateway
    }

    /// A new key, and its id.
    pub(super) async fn key(&self, name: &str) -> (String, String) {
        let answer =
            self.app.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": name, "scopes": ["run"]}))).await.json();
        (answer["key"].as_str().unwrap().to_owned(), answer["id"].as_str().unwrap().to_owned())
    }

    /// A run token for a task that is named after a key, already ended if asked.
    pub(super) async fn run_token(&self, key: &str, ended: bool) -> String {
        let wanted = json!({"agent": "tester", "task": format!("task-{}", &key[key.len() - 8..])});
        let answer = self.app.call(ADMIN, "POST", "/v1/run-tokens", Some(wanted.clone())).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let answer = answer.json();
        if ended {
            let path = format!("/v1/run-tokens?task={}", wanted["task"].as_str().unwrap());
            let done = self.app.call(ADMIN, "DELETE", &path, None).await;
            assert!(done.status.is_success(), "{}", String::from_utf8_lossy(&done.body));
        }
        answer["token"].as_str().unwrap().to_owned()
    }

    /// The records by the id of their key, once there are this many.
    pub(super) async fn records(&self, count: usize) -> BTreeMap<String, Recorded> {
        let end = tokio::time::Instant::now() + RECORD_TIMEOUT;
        loop {
            let found = self.look().await;
            // A call under way has a record too.
            let over = found.values().all(|record| record.ending != "running");
            if (found.len() >= count && over) || tokio::time::Instant::now() > end {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn look(&self) -> BTreeMap<String, Recorded> {
        let answer = self.app.call(ADMIN, "GET", "/v1/usage?group_by=key,ending&limit=1000", None).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let mut found: BTreeMap<String, Recorded> = BTreeMap::new();
        for row in answer.json()["rows"].as_array().unwrap() {
            let number = |name: &str| row[name].as_u64().unwrap_or_default();
            let key = row["group"]["key"].as_str().unwrap().to_owned();
            let one = found.entry(key).or_default();
            one.calls += number("requests");
            one.ending = row["group"]["ending"].as_str().unwrap_or_default().to_owned();
            one.input += number("input_tokens");
            one.output += number("output_tokens");
        }
        found
    }

    /// Tokens used and held of the budget.
    pub(super) async fn budget(&self) -> (u64, u64) {
        let answer = self.app.call(ADMIN, "GET", "/v1/budgets/all", None).await.json();
        let number = |name: &str| {
            let value = &answer["accounts"][0][name];
            value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
        };
        (number("used"), number("held"))
    }

    /// Sends a request, and gives its response without its body.
    pub(super) async fn send(
        &self,
        path: &str,
        headers: &[(&str, String)],
        body: impl Into<Body>,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper_util::client::legacy::Error> {
        let mut builder = Request::post(format!("{}{path}", self.app.base)).header("content-type", "application/json");
        for (name, value) in headers {
            builder = builder.header(*name, value);
        }
        self.app.client.request(builder.body(body.into()).unwrap()).await
    }
}

/// The whole body, or as much as came before it broke off.
pub(super) async fn collect(body: hyper::body::Incoming) -> (Vec<u8>, bool) {
    let mut body = body;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (bytes, false) };
        bytes.extend_from_slice(frame.data_ref().unwrap_or(&bytes::Bytes::new()));
    }
    (bytes, true)
}
