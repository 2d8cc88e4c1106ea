//! Models: what a sandbox asks at [`LLM_HOST`] goes to the upstream that the operator configured, with the operator's
//! key. Of OpenAI's API only three paths, and only what the grant says of models, tokens and requests. The key never
//! enters a sandbox: nothing of the guest's headers goes out, and the key is taken out of what comes back.

mod asked;
mod place;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::grants::{LLM_HOST, LlmGrant};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Gateway;
use super::admission::Admission;
use super::body::{Bounded, Bounds, GatewayBody, Told};
use super::lifeline::Lifeline;
use super::outbound::failed;
use super::refusal::Refusal;
use super::secrets::Held;
use super::serve::{json, read_body};
use super::target::Target;
use super::upstream::{Leased, Route};
use crate::services::App;
use asked::Service;
pub use place::Models;

/// Why a grant is of no use here.
pub const NO_MODELS: &str = "the operator has configured no upstream of models (OPENAI_BASE_URL and OPENAI_API_KEY in the environment of `serve`)";
/// What the guest is told of an upstream whose address is none of its business.
const NAME: &str = "The upstream of models";
/// The longest request.
const MAX_REQUEST: usize = 8 << 20;
/// The longest answer.
const MAX_ANSWER: u64 = 64 << 20;
/// The longest list of models.
const MAX_LIST: usize = 4 << 20;
/// From the request's start to the end of the answer.
const TIME: Duration = Duration::from_secs(1_800);
/// For the guest's request to come: it holds room that others wait for.
const READ: Duration = Duration::from_secs(30);
/// A model that thinks is silent for longer than others.
const IDLE: Duration = Duration::from_secs(300);

/// What a sandbox has in its environment, so that OpenAI's SDKs work as they are. The key is a word that they want to
/// have.
pub fn variables() -> [(&'static str, String); 2] {
    [("OPENAI_BASE_URL", format!("http://{LLM_HOST}/v1")), ("OPENAI_API_KEY", "cofferdam".to_owned())]
}

/// Carries a request to a model out.
///
/// # Errors
/// Why it is carried out no further.
pub async fn ask(
    app: &App,
    admission: &Arc<Admission>,
    method: &Method,
    target: &Target,
    body: Incoming,
) -> Result<Response<GatewayBody>, Refusal> {
    let Some(grant) = &admission.pass.grants.llm else {
        let detail = "No grant covers models; grant them with grants.llm, such as {\"models\": [\"NAME\"]}.";
        return Err(Refusal::policy(detail));
    };
    let service = asked::service(method, target)?;
    let models = app.gateway.models.as_ref().ok_or_else(|| Refusal::policy(format!("{NAME}: {NO_MODELS}.")))?;
    // Counted before it is looked at, so that nobody tries for ever.
    if admission.asked_models.fetch_add(1, Ordering::Relaxed) >= grant.max_requests {
        let most = grant.max_requests;
        return Err(Refusal::policy(format!("All {most} requests to models are used up (grants.llm.max_requests).")));
    }
    let deadline = (Instant::now() + TIME).min(admission.pass.deadline.into());
    let held = Held::of(app, admission).await?;
    let place = Arc::clone(&admission.places).acquire_owned().await.map_err(|_| Refusal::token())?;
    let said = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut memory = models.memory(said.unwrap_or(MAX_REQUEST).min(MAX_REQUEST)).await?;
    let body = match service {
        Service::Models => Bytes::new(),
        Service::Chat | Service::Embeddings => {
            let read = tokio::time::timeout(READ, read_body(body, MAX_REQUEST)).await;
            let read = read.map_err(|_| Refusal::timeout("The request to a model did not come in time."))??;
            Bytes::from(asked::check(service, &read, grant)?)
        }
    };
    memory.keep(body.len());
    if let Some(held) = &held {
        let outgoing = held.outgoing(target, false);
        // A secret's placeholder has no business there, unless the secret is bound to this host.
        outgoing.body().push(body.clone()).map_err(|why| Refusal::policy(why.0))?;
    }
    let request = models.request(service, body)?;
    let routes = routes(&app.gateway, admission, models).await?;
    let sent = app.gateway.upstream.send(&routes, None, request);
    let response = tokio::time::timeout_at(deadline, sent).await.map_err(|_| late())?;
    drop(memory);
    let response = response.map_err(|error| failed(&error, NAME))?;
    let walk = Answer { models, grant, admission, deadline, place };
    walk.read(service, response).await
}

fn late() -> Refusal {
    Refusal::timeout(format!("{NAME} did not answer in the time that the run has."))
}

/// The operator's own place: its addresses are not judged.
async fn routes(gateway: &Gateway, admission: &Admission, models: &Models) -> Result<Vec<Route>, Refusal> {
    let base = models.base();
    let found = match base.address {
        Some(address) => vec![address],
        None => gateway.resolver.resolve(&base.host).await.map_err(|error| {
            tracing::warn!(host = base.host, %error, "the upstream of models does not resolve");
            Refusal::dns(format!("{NAME} has a name that does not resolve."))
        })?,
    };
    let organization = &admission.pass.caller.organization;
    let route = |address| Route {
        organization: organization.clone(),
        https: base.https,
        host: base.host.clone(),
        port: base.port,
        address,
    };
    Ok(found.into_iter().map(route).take(4).collect())
}

/// An answer on its way back.
struct Answer<'a> {
    models: &'a Models,
    grant: &'a LlmGrant,
    admission: &'a Arc<Admission>,
    deadline: Instant,
    place: OwnedSemaphorePermit,
}

impl Answer<'_> {
    async fn read(self, service: Service, response: Response<Leased>) -> Result<Response<GatewayBody>, Refusal> {
        let (head, body) = response.into_parts();
        match head.status {
            // Some upstreams repeat a part of the key in these.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                tracing::warn!(status = head.status.as_u16(), "the upstream of models refuses the operator's key");
                let detail = format!("{NAME} refuses the operator's key ({}).", head.status.as_u16());
                return Err(Refusal::bad_answer(detail));
            }
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Refusal::bad_answer(format!("{NAME} switches protocols, which is never let through.")));
            }
            _ => {}
        }
        let headers = self.headers(&head.headers)?;
        if service == Service::Models && head.status == StatusCode::OK {
            return self.list(body).await;
        }
        if body.size_hint().exact().is_some_and(|length| length > MAX_ANSWER) {
            return Err(Refusal::too_large(format!("The answer is longer than {MAX_ANSWER} bytes.")));
        }
        let scrub = self.models.scrubber();
        let (deadline, revoked) = (self.deadline, self.admission.revoked.clone());
        let bounds = Bounds { most: MAX_ANSWER, deadline, idle: Some(IDLE), revoked: revoked.clone() };
        let body = Lifeline::new(body, deadline, revoked);
        let mut answer = Response::new(Told(Bounded::new(body, bounds, scrub, Some(self.place))).boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// What a client can do something with. All else may be the operator's: accounts, organizations, cookies.
    fn headers(&self, given: &HeaderMap) -> Result<HeaderMap, Refusal> {
        let encoded = given.get("content-encoding").is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            return Err(Refusal::bad_answer(format!("{NAME} compresses its answer although it may not.")));
        }
        let known = |name: &HeaderName| {
            matches!(name.as_str(), "content-type" | "retry-after" | "x-request-id")
                || name.as_str().starts_with("x-ratelimit-")
        };
        let mut headers = HeaderMap::new();
        for (name, value) in given.iter().filter(|(name, _)| known(name)).take(32) {
            if !self.models.holds_key(value.as_bytes()) {
                headers.append(name, value.clone());
            }
        }
        Ok(headers)
    }

    /// The models that are granted, of those that there are.
    async fn list(self, body: Leased) -> Result<Response<GatewayBody>, Refusal> {
        let read = tokio::time::timeout_at(self.deadline, Limited::new(body, MAX_LIST).collect()).await;
        let bytes = read.map_err(|_| late())?.map_err(|error| {
            tracing::debug!(%error, "a list of models broke off");
            Refusal::bad_answer(format!("{NAME}: its list of models broke off, or is too long."))
        })?;
        let none = || Refusal::bad_answer(format!("{NAME}: what it answers is no list of models."));
        let mut found: Value = serde_json::from_slice(&bytes.to_bytes()).map_err(|_| none())?;
        let data = found.get_mut("data").and_then(Value::as_array_mut).ok_or_else(none)?;
        let named = |model: &Value| model.get("id").and_then(Value::as_str).map(str::to_owned);
        let ids: Vec<String> = data.iter().filter_map(named).filter(|id| asked::granted(self.grant, id)).collect();
        let entry = |id| serde_json::json!({"id": id, "object": "model", "created": 0, "owned_by": "upstream"});
        json(&serde_json::json!({"object": "list", "data": ids.into_iter().map(entry).collect::<Vec<_>>()}))
    }
}

/// The body of a request.
fn whole(body: Bytes) -> GatewayBody {
    Full::new(body).map_err(|e| match e {}).boxed_unsync()
}

/// A request with that body in JSON.
fn post(body: Bytes) -> Request<GatewayBody> {
    let mut request = Request::new(whole(body));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    request
}
