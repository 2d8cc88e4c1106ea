//! Models: a sandbox's requests to [`LLM_HOST`] go to the upstream that the operator configured, with the operator's
//! key. Only three paths of OpenAI's API are passed on, and only within the grant's models, tokens and requests. The
//! key never enters a sandbox: none of the guest's headers go out, and the key is taken out of answers.

mod models;
mod request;

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

use crate::admission::Admission;
use crate::body::{Bounded, Bounds, GatewayBody, WithTrailers};
use crate::lifeline::Lifeline;
use crate::outbound::{MAX_TRIED, failed};
use crate::refusal::Refusal;
use crate::secrets::Held;
use crate::serve::{json, read_body};
use crate::target::Target;
use crate::upstream::{Dial, Leased, Route};
use crate::{Gateway, services};
pub use models::Models;
use request::Service;

/// The reason for which no grant of models can be used.
const NO_MODELS: &str = "the operator has configured no upstream of models (OPENAI_BASE_URL and OPENAI_API_KEY in the environment of `serve`)";
/// The upstream's name to the guest, which is never told its address.
const NAME: &str = "The upstream of models";
const MAX_REQUEST: usize = 8 << 20;
const MAX_ANSWER: u64 = 64 << 20;
/// The longest list of models from the upstream.
const MAX_LIST: usize = 4 << 20;
/// The time from the request's start to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(1_800);
/// The time for reading the guest's request, which holds memory that others wait for.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest silence. A model that thinks is silent for longer than other upstreams.
const MAX_IDLE: Duration = Duration::from_secs(300);

/// Models. Their requests arrive as outbound HTTP to [`LLM_HOST`], which calls [`ask`].
pub(crate) struct Llm;

impl services::Service for Llm {
    /// OpenAI's SDKs find the gateway with these. The key is a placeholder: they refuse to start without one.
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("OPENAI_BASE_URL", format!("http://{LLM_HOST}/v1")), ("OPENAI_API_KEY", "cofferdam".to_owned())]
    }

    fn unavailable(&self, gateway: &Gateway) -> Option<&'static str> {
        gateway.models.is_none().then_some(NO_MODELS)
    }
}

/// Carries out a request to a model.
pub(crate) async fn ask(
    gateway: &Gateway,
    admission: &Admission,
    method: &Method,
    target: &Target,
    body: Incoming,
) -> Result<Response<GatewayBody>, Refusal> {
    let Some(grant) = &admission.pass.grants.llm else {
        let detail = "No grant covers models; grant them with grants.llm, such as {\"models\": [\"NAME\"]}.";
        return Err(Refusal::policy(detail));
    };
    let service = request::service(method, target)?;
    let models = gateway.models.as_ref().ok_or_else(|| Refusal::policy(format!("{NAME}: {NO_MODELS}.")))?;
    // Counted before it is checked, so that refused requests are bounded too.
    if admission.asked_models.fetch_add(1, Ordering::Relaxed) >= grant.max_requests {
        let max = grant.max_requests;
        return Err(Refusal::policy(format!("All {max} requests to models are used up (grants.llm.max_requests).")));
    }
    let deadline = (Instant::now() + TIMEOUT).min(admission.pass.deadline.into());
    let held = Held::of(gateway, admission).await?;
    let place = admission.place().await?;
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut memory = models.memory(announced.unwrap_or(MAX_REQUEST).min(MAX_REQUEST)).await?;
    let body = match service {
        Service::Models => Bytes::new(),
        Service::Chat | Service::Embeddings => {
            let read = tokio::time::timeout(READ_TIMEOUT, read_body(body, MAX_REQUEST)).await;
            let read = read.map_err(|_| Refusal::timeout("The request to a model did not come in time."))??;
            Bytes::from(request::check(service, &read, grant)?)
        }
    };
    memory.keep(body.len());
    if let Some(held) = &held {
        let outgoing = held.outgoing(target, false);
        // Refuses a placeholder, unless the secret is bound to this host.
        outgoing.body().push(body.clone()).map_err(|why| Refusal::policy(why.0))?;
    }
    let request = models.request(service, body);
    let routes = routes(gateway, admission, models).await?;
    let kept = Some(admission.kept(&gateway.upstream));
    let sent = gateway.upstream.send(Dial { routes: &routes, connect: None, kept }, request);
    let response = tokio::time::timeout_at(deadline, sent).await.map_err(|_| late())?;
    drop(memory);
    let response = response.map_err(|error| failed(&error, NAME))?;
    let answer = Answer { models, grant, admission, deadline, place };
    answer.read(service, response).await
}

fn late() -> Refusal {
    Refusal::timeout(format!("{NAME} did not answer before the run's deadline."))
}

/// The upstream's addresses. The operator chose it, so they may be private.
async fn routes(gateway: &Gateway, admission: &Admission, models: &Models) -> Result<Vec<Route>, Refusal> {
    let base = models.base();
    let found = match base.address {
        Some(address) => vec![address],
        None => gateway.resolver.resolve(&base.host).await.map_err(|error| {
            tracing::warn!(host = base.host, %error, "cannot resolve the upstream of models");
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
    Ok(found.into_iter().map(route).take(MAX_TRIED).collect())
}

/// An answer on its way back.
struct Answer<'a> {
    models: &'a Models,
    grant: &'a LlmGrant,
    admission: &'a Admission,
    deadline: Instant,
    place: OwnedSemaphorePermit,
}

impl Answer<'_> {
    async fn read(self, service: Service, response: Response<Leased>) -> Result<Response<GatewayBody>, Refusal> {
        let (head, body) = response.into_parts();
        match head.status {
            // Some upstreams repeat a part of the key in these answers.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                tracing::warn!(status = head.status.as_u16(), "the upstream of models refuses the operator's key");
                let detail = format!("{NAME} refuses the operator's key ({}).", head.status.as_u16());
                return Err(Refusal::bad_answer(detail));
            }
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Refusal::bad_answer(format!("{NAME} switches protocols, which the gateway never does.")));
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
        let bounds = Bounds { max_bytes: MAX_ANSWER, deadline, idle: Some(MAX_IDLE), revoked: revoked.clone() };
        let body = Lifeline::new(body, deadline, revoked);
        let mut answer =
            Response::new(WithTrailers(Bounded::new(body, bounds, scrub, Some(self.place))).boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// The headers that a client can use. Others may tell about the operator: accounts, organizations, cookies.
    fn headers(&self, given: &HeaderMap) -> Result<HeaderMap, Refusal> {
        let encoded = given.get("content-encoding").is_some_and(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            return Err(Refusal::bad_answer(format!("{NAME} compresses its answer although it was told not to.")));
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

    /// The granted models among those of the upstream.
    async fn list(self, body: Leased) -> Result<Response<GatewayBody>, Refusal> {
        let read = tokio::time::timeout_at(self.deadline, Limited::new(body, MAX_LIST).collect()).await;
        let bytes = read.map_err(|_| late())?.map_err(|error| {
            tracing::debug!(%error, "cannot read the list of models");
            Refusal::bad_answer(format!("{NAME} sent a list of models that broke off or is too long."))
        })?;
        let none = || Refusal::bad_answer(format!("{NAME} sent no list of models."));
        let mut found: Value = serde_json::from_slice(&bytes.to_bytes()).map_err(|_| none())?;
        let data = found.get_mut("data").and_then(Value::as_array_mut).ok_or_else(none)?;
        let named = |model: &Value| model.get("id").and_then(Value::as_str).map(str::to_owned);
        let ids: Vec<String> = data.iter().filter_map(named).filter(|id| request::granted(self.grant, id)).collect();
        let entry = |id| serde_json::json!({"id": id, "object": "model", "created": 0, "owned_by": "upstream"});
        json(&serde_json::json!({"object": "list", "data": ids.into_iter().map(entry).collect::<Vec<_>>()}))
    }
}

fn whole(body: Bytes) -> GatewayBody {
    Full::new(body).map_err(|e| match e {}).boxed_unsync()
}

fn post(body: Bytes) -> Request<GatewayBody> {
    let mut request = Request::new(whole(body));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    request
}
