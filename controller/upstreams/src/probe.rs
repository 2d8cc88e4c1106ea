//! Looks at an upstream on purpose: the list of its models, and a test that says what is wrong and what to do about it. Asks
//! every key, and does not touch turns, rests or breaker.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_dialects::Failure;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use crate::answer::{form, judge};
use crate::ask::Content;
use crate::bedrock;
use crate::error::{Protocol, SendError, Stage, TlsFailure};
use crate::keys::Key;
use crate::kind::{Kind, Service};
use crate::upstream::Upstream;
use crate::wire;

/// The longest list of models.
const MAX_LIST_BYTES: usize = 4 << 20;
/// The most models of a list that are kept, and the longest name.
const MAX_LISTED: usize = 2_000;
const MAX_ID_BYTES: usize = 256;
/// The time for one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest sentence of an upstream's that a report repeats.
const MAX_REPEATED: usize = 300;

/// The outcome of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TestReport {
    /// The upstream answers as it should, with every key.
    pub ok: bool,
    /// Status of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Sentence that says what is wrong and what to do, or what was asked.
    pub detail: String,
    /// Milliseconds that it took.
    pub wall_ms: u64,
    /// Models that the upstream lists, where it has a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
}

/// An answer that was read whole.
struct Look {
    status: StatusCode,
    kind: Content,
    body: Bytes,
}

impl Upstream {
    /// The models that the upstream lists; those of its settings where its kind has no list.
    ///
    /// # Errors
    /// There is no list.
    pub async fn models(&self) -> Result<Vec<String>, SendError> {
        let Some(path) = wire::models_path(&self.spec, &self.dialer.place.path) else {
            return Ok(self.spec.models.iter().map(|model| model.there().to_owned()).collect());
        };
        let key =
            self.keys.next().map_err(|retry_after| SendError::Closed { retry_after, limited: self.keys.limited() })?;
        let look = self.look(Method::GET, &path, Bytes::new(), key).await?;
        listed(&look).ok_or(SendError::Protocol(Protocol::Malformed))
    }

    /// A cheap call of the real thing with every key: the list of models where there is one (Bedrock and Vertex: one token of
    /// the first model of the settings).
    pub async fn test(&self) -> TestReport {
        let started = Instant::now();
        let mut report = self.tested().await;
        report.wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(scrub) = self.scrub() {
            report.detail = scrub.text(&report.detail);
        }
        report
    }

    async fn tested(&self) -> TestReport {
        let report = |ok, status: Option<StatusCode>, detail: String, models| TestReport {
            ok,
            status: status.map(|status| status.as_u16()),
            detail,
            wall_ms: 0,
            models,
        };
        let (method, path, body, asked) = match self.probe() {
            Ok(probe) => probe,
            Err(detail) => return report(false, None, detail, None),
        };
        let keys: Vec<Option<&Key>> = match self.keys.all() {
            [] => vec![None],
            keys => keys.iter().map(Some).collect(),
        };
        let (mut last, mut models) = (None, None);
        for key in &keys {
            let which = match key {
                Some(key) if keys.len() > 1 => format!("Key {} of {}: ", key.number, keys.len()),
                _ => String::new(),
            };
            let look = match self.look(method.clone(), &path, body.clone(), *key).await {
                Ok(look) => look,
                Err(why) => return report(false, None, format!("{which}{}", self.advice(&why)), None),
            };
            last = Some(look.status);
            if let Err(detail) = self.verdict(&look, &path) {
                return report(false, last, format!("{which}{detail}"), None);
            }
            models = models.or_else(|| listed(&look));
        }
        let keys = if keys.len() > 1 { format!(" with each of {} keys", keys.len()) } else { String::new() };
        report(true, last, format!("It answers: {asked}{keys}."), models)
    }

    /// The call of the test, and what it asks.
    fn probe(&self) -> Result<(Method, String, Bytes, String), String> {
        let base = &self.dialer.place.path;
        if let Some(path) = wire::models_path(&self.spec, base) {
            return Ok((Method::GET, path, Bytes::new(), "the list of its models was read".to_owned()));
        }
        let Some(model) = self.spec.models.first().map(|model| model.there()) else {
            let name = self.spec.kind.name();
            return Err(format!(
                "The kind {name} has no list of models: name one in `models`, and the test asks it for one token."
            ));
        };
        let user = serde_json::json!([{"role": "user", "content": "1"}]);
        let (service, body) = match self.spec.kind {
            Kind::Bedrock => {
                let body = serde_json::json!({"model": model, "max_tokens": 1, "messages": user}).to_string();
                let body = bedrock::body(body.as_bytes(), &HeaderMap::new()).map_err(str::to_owned)?;
                (Service::Messages, body)
            }
            _ => {
                let body = serde_json::json!({"model": model, "max_tokens": 1, "messages": user}).to_string();
                (Service::Chat, Bytes::from(body))
            }
        };
        let path = wire::path(&self.spec, base, service, model, false);
        Ok((Method::POST, path, body, format!("{model} was asked for one token")))
    }

    async fn look(&self, method: Method, path: &str, body: Bytes, key: Option<&Key>) -> Result<Look, SendError> {
        let look = async {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
            if method == Method::POST || self.spec.kind == Kind::Bedrock {
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            if self.spec.kind == Kind::Anthropic {
                let version = HeaderName::from_static("anthropic-version");
                headers.insert(version, HeaderValue::from_static(wire::ANTHROPIC_VERSION));
            }
            let request = self.finished(method, path, headers, body, key).await?;
            let answered = self.exchange(request).await?;
            // The connection closes with the sender, which is not given back.
            let _sender = answered.sender;
            let (head, body) = answered.response.into_parts();
            judge(head.status, &head.headers)?;
            let read = Limited::new(body, MAX_LIST_BYTES).collect().await;
            let body = read.map_err(|_| SendError::Protocol(Protocol::Lost))?.to_bytes();
            Ok(Look { status: head.status, kind: form(&head.headers), body })
        };
        timeout(LOOK_TIMEOUT, look).await.unwrap_or(Err(SendError::Timeout(Stage::FirstByte)))
    }

    /// The fault of an answer.
    fn verdict(&self, look: &Look, path: &str) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        let said = match Failure::read(look.status.as_u16(), &look.body).message.or_else(|| message(&look.body)) {
            Some(text) if look.kind == Content::Json => {
                let text: String = text.chars().filter(|sign| !sign.is_control()).take(MAX_REPEATED).collect();
                format!(" It says: {text}")
            }
            _ => String::new(),
        };
        let status = look.status.as_u16();
        match status {
            200..=299 if look.kind != Content::Json => Err(format!(
                "It answers {path} with something else than JSON, such as a login page: is base_url right?"
            )),
            200..=299 if look.body.first().is_none_or(|byte| !matches!(byte, b'{' | b'[' | b' ' | b'\n' | b'\r')) => {
                Err(format!("It answers {path} with something that is no JSON: is base_url right?"))
            }
            200..=299 => Ok(()),
            401 => Err(format!("It refuses the key (401): put a valid one into its keys.{said}")),
            403 => Err(format!("The key may not do this (403): check its rights and the model's access.{said}")),
            404 => Err(format!(
                "It has no {path} (404): is base_url right, with or without /v1, and the model's name?{said}"
            )),
            429 => Err(format!("The key is valid, but it has used up its rate or quota (429).{said}")),
            500..=599 => Err(format!("It fails ({status}): try again later.{said}")),
            _ => Err(format!("It refuses {path} ({status}).{said}")),
        }
    }

    /// A failure, and what to do about it.
    fn advice(&self, why: &SendError) -> String {
        let host = &self.dialer.place.host;
        let text = match why {
            SendError::Dns => format!("The name {host} does not resolve: check base_url and the machine's DNS"),
            SendError::Forbidden(address) => {
                format!(
                    "{host} has the address {address}, which an organization's upstream may not have: ask the operator to open the range with `private` in the section [models] of the configuration file"
                )
            }
            SendError::Plain => format!("{host} has a public address: use https in base_url"),
            SendError::Connect(kind) => format!(
                "Nothing answers at {}: {kind}. Check host and port of base_url",
                self.dialer.place.host_and_port()
            ),
            SendError::Tls(TlsFailure::UnknownAuthority) => {
                format!(
                    "The certificate of {host} is of an authority that is not trusted: put its certificate into `ca`"
                )
            }
            SendError::Tls(TlsFailure::Broken) => {
                format!("{host} does not speak TLS at this port: is it http:// instead of https://, or another port?")
            }
            SendError::Proxy(what) => format!(
                "The proxy on the way to {host} {what}: check `proxy`, or HTTPS_PROXY and HTTP_PROXY of the server, which \
                 \"proxy\": \"none\" leaves aside"
            ),
            SendError::Redirect(status) => {
                format!("{host} redirects ({status}), which is not followed: put the final address into base_url")
            }
            other => return sentence(&other.to_string()),
        };
        sentence(&text)
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

fn message(body: &[u8]) -> Option<String> {
    let read: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["message", "Message", "detail"].iter().find_map(|name| read.get(name)?.as_str().map(str::to_owned))
}

/// The names in a list of models.
fn listed(look: &Look) -> Option<Vec<String>> {
    if !look.status.is_success() {
        return None;
    }
    let read: serde_json::Value = serde_json::from_slice(&look.body).ok()?;
    let list = read.get("data").or_else(|| read.get("models"))?.as_array()?;
    let id = |model: &serde_json::Value| {
        let id = model.get("id").or_else(|| model.get("name"))?.as_str()?;
        // Gemini's door lists them with the name of their folder.
        let id = id.strip_prefix("models/").unwrap_or(id);
        let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| id.to_owned())
    };
    Some(list.iter().filter_map(id).take(MAX_LISTED).collect())
}
