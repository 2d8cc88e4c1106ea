//! Models: a sandbox's requests to [`LLM_HOST`], which the AI gateway carries out on behalf of the run's caller, within the
//! grant. A few paths of OpenAI's API and of Anthropic's are served. No key of an upstream enters a sandbox, and of the guest's
//! headers only those go on that name a version of Anthropic's API.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cofferdam_contract::grants::{LLM_HOST, LlmGrant};
use cofferdam_models::{Call, ListedModel, Models, Narrow, Reply, Service, Who};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::admission::Admission;
use crate::body::{Bounded, Bounds, GatewayBody, WithTrailers};
use crate::lifeline::Lifeline;
use crate::refusal::Refusal;
use crate::secrets::Held;
use crate::serve::{self, read_body};
use crate::target::Target;
use crate::{Gateway, headers, services};

const MAX_REQUEST: usize = 8 << 20;
/// The memory of all requests that are being read or wait for their answers, in KiB.
const MAX_MEMORY_KIB: u32 = 256 << 10;
/// Longer requests are counted. The runs bound the number of shorter ones.
const MAX_UNCOUNTED: usize = 16 << 10;
const MAX_ANSWER: u64 = 64 << 20;
/// The time from the request's start to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(1_800);
/// The time for reading the guest's request, which holds memory that others wait for.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest silence. A model that thinks is silent for longer than other upstreams.
const MAX_IDLE: Duration = Duration::from_secs(300);
/// The header by which a client of Anthropic's is known.
const ANTHROPIC_VERSION: &str = "anthropic-version";
/// The guest's headers that go on.
const PASSED: [&str; 2] = [ANTHROPIC_VERSION, "anthropic-beta"];

/// Models. Their requests arrive as outbound HTTP to [`LLM_HOST`], which calls [`ask`].
pub(crate) struct Llm;

impl services::Service for Llm {
    /// OpenAI's and Anthropic's SDKs find the gateway with these. The keys are placeholders: they refuse to start without one.
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OPENAI_BASE_URL", format!("http://{LLM_HOST}/v1")),
            ("OPENAI_API_KEY", "cofferdam".to_owned()),
            ("ANTHROPIC_BASE_URL", format!("http://{LLM_HOST}")),
            ("ANTHROPIC_API_KEY", "cofferdam".to_owned()),
        ]
    }
}

/// The AI gateway, and the memory for the requests of all sandboxes.
pub(crate) struct ModelCalls {
    models: Arc<Models>,
    memory: Memory,
}

impl ModelCalls {
    pub(crate) fn new(models: Arc<Models>) -> Self {
        Self { models, memory: Memory::default() }
    }
}

/// Memory for requests. Short ones are not counted, so that nobody's long ones keep others from making a call.
struct Memory(Arc<Semaphore>);

/// A request's share of the memory.
struct Share(Option<OwnedSemaphorePermit>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_MEMORY_KIB as usize)))
    }
}

impl Memory {
    /// Waits for the memory for a request.
    async fn take(&self, bytes: usize) -> Result<Share, Refusal> {
        if bytes <= MAX_UNCOUNTED {
            return Ok(Share(None));
        }
        let permit = Arc::clone(&self.0).acquire_many_owned(kib(bytes)).await;
        permit.map(|permit| Share(Some(permit))).map_err(|_| Refusal::token())
    }
}

impl Share {
    /// Gives back the memory that a body of this size does not need.
    fn keep(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.0 {
            let unused = permit.num_permits().saturating_sub(kib(bytes) as usize);
            drop(permit.split(unused));
        }
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(MAX_MEMORY_KIB)
}

/// The things that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    List,
    Call(Service),
}

/// The service that a request is for.
///
/// # Errors
/// Any other request.
fn asked(method: &Method, target: &Target) -> Result<Asked, Refusal> {
    if target.port != if target.https { 443 } else { 80 } {
        return Err(Refusal::policy("Models are at http://llm.cofferdam.internal, on no other port."));
    }
    // Anthropic's clients mark the requests of their beta part by this query, and by no other.
    match (method.as_str(), target.path_and_query().as_str()) {
        ("GET", "/v1/models") => Ok(Asked::List),
        ("POST", "/v1/chat/completions") => Ok(Asked::Call(Service::Chat)),
        ("POST", "/v1/responses") => Ok(Asked::Call(Service::Responses)),
        ("POST", "/v1/embeddings") => Ok(Asked::Call(Service::Embeddings)),
        ("POST", "/v1/messages" | "/v1/messages?beta=true") => Ok(Asked::Call(Service::Messages)),
        ("POST", "/v1/messages/count_tokens" | "/v1/messages/count_tokens?beta=true") => {
            Ok(Asked::Call(Service::CountTokens))
        }
        _ => Err(Refusal::policy(
            "Models have POST /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages and \
             /v1/messages/count_tokens, and GET /v1/models, without a query.",
        )),
    }
}

/// The limits of a grant. Its names are no patterns, except for a lone `*`.
fn narrow(grant: &LlmGrant) -> Narrow {
    let all = grant.models.iter().any(|name| name == "*");
    let models = (!all).then(|| grant.models.clone());
    Narrow { name: "grants.llm", models, exact: true, no_servers: true, max_tokens: Some(grant.max_tokens) }
}

/// Carries out a request to a model.
pub(crate) async fn ask(
    gateway: &Gateway,
    admission: &Admission,
    method: &Method,
    target: &Target,
    given: &HeaderMap,
    body: Incoming,
) -> Result<Response<GatewayBody>, Refusal> {
    let Some(grant) = &admission.pass.grants.llm else {
        let detail = "No grant covers models; grant them with grants.llm, such as {\"models\": [\"NAME\"]}.";
        return Err(Refusal::policy(detail));
    };
    let asked = asked(method, target)?;
    // Counted before it is checked, so that refused requests are bounded too.
    if admission.asked_models.fetch_add(1, Ordering::Relaxed) >= grant.max_requests {
        let max = grant.max_requests;
        return Err(Refusal::policy(format!("All {max} requests to models are used up (grants.llm.max_requests).")));
    }
    let deadline = (Instant::now() + TIMEOUT).min(admission.pass.deadline.into());
    let caller = &admission.pass.caller;
    let who = Who { organization: caller.organization.clone(), key: caller.key.clone(), agent: None, task: None };
    let narrow = vec![narrow(grant)];
    let calls = &gateway.models;
    let service = match asked {
        Asked::List => return list(&calls.models, &who, &narrow, given).await,
        Asked::Call(service) => service,
    };
    let held = Held::of(gateway, admission).await?;
    let place = admission.place().await?;
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut memory = calls.memory.take(announced.unwrap_or(MAX_REQUEST).min(MAX_REQUEST)).await?;
    let read = tokio::time::timeout(READ_TIMEOUT, read_body(body, MAX_REQUEST)).await;
    let body = read.map_err(|_| Refusal::timeout("The request to a model did not come in time."))??;
    memory.keep(body.len());
    if let Some(held) = &held {
        let outgoing = held.outgoing(target, false);
        // Refuses a placeholder, unless the secret is bound to this host.
        outgoing.body().push(body.clone()).map_err(|why| Refusal::policy(why.0))?;
    }
    let call = Call { who, service, headers: passed(given), body, narrow };
    let reply = tokio::time::timeout_at(deadline, calls.models.call(call)).await;
    let reply =
        reply.map_err(|_| Refusal::timeout("The upstream of models did not answer before the run's deadline."))?;
    drop(memory);
    answer(reply, admission, deadline, place)
}

fn passed(given: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED {
        for value in given.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// The granted models, in the protocol of the client that asks.
async fn list(
    models: &Models,
    who: &Who,
    narrow: &[Narrow],
    given: &HeaderMap,
) -> Result<Response<GatewayBody>, Refusal> {
    let found = models.list(who, narrow).await?;
    match given.contains_key(ANTHROPIC_VERSION) {
        true => serve::json(&in_anthropic(&found)),
        false => serve::json(&in_openai(&found)),
    }
}

fn in_openai(models: &[ListedModel]) -> Value {
    let entry =
        |model: &ListedModel| json!({"id": model.id, "object": "model", "created": 0, "owned_by": model.owned_by});
    json!({"object": "list", "data": models.iter().map(entry).collect::<Vec<_>>()})
}

/// All of them are on one page.
fn in_anthropic(models: &[ListedModel]) -> Value {
    let entry = |model: &ListedModel| json!({"type": "model", "id": model.id, "display_name": model.id, "created_at": "1970-01-01T00:00:00Z"});
    let id = |model: Option<&ListedModel>| model.map(|model| model.id.clone());
    json!({
        "data": models.iter().map(entry).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": id(models.first()),
        "last_id": id(models.last()),
    })
}

/// An answer on its way back, until the run's end at most. Errors are answers too, which the client's library reads.
fn answer(
    reply: Reply,
    admission: &Admission,
    deadline: Instant,
    place: OwnedSemaphorePermit,
) -> Result<Response<GatewayBody>, Refusal> {
    let (head, body) = reply.into_parts();
    let mut headers = headers::to_guest(&head.headers, None, false)?;
    // Written anew if the body's length does not change.
    headers.remove(CONTENT_LENGTH);
    let revoked = admission.revoked.clone();
    let bounds = Bounds { max_bytes: MAX_ANSWER, deadline, idle: Some(MAX_IDLE), revoked: revoked.clone() };
    let body = Lifeline::new(body, deadline, revoked);
    let mut answer = Response::new(WithTrailers(Bounded::new(body, bounds, None, Some(place))).boxed_unsync());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_paths_and_no_more() {
        let call = |service| Some(Asked::Call(service));
        for (method, url, expected) in [
            ("POST", "http://llm.cofferdam.internal/v1/chat/completions", call(Service::Chat)),
            ("POST", "http://llm.cofferdam.internal/v1/responses", call(Service::Responses)),
            ("POST", "https://llm.cofferdam.internal/v1/embeddings", call(Service::Embeddings)),
            ("POST", "http://llm.cofferdam.internal/v1/messages", call(Service::Messages)),
            ("POST", "http://llm.cofferdam.internal/v1/messages?beta=true", call(Service::Messages)),
            ("POST", "http://llm.cofferdam.internal/v1/messages/count_tokens", call(Service::CountTokens)),
            ("GET", "http://LLM.cofferdam.internal./v1/models", Some(Asked::List)),
            ("POST", "http://llm.cofferdam.internal/v1/x/../chat/completions", call(Service::Chat)),
            ("GET", "http://llm.cofferdam.internal/v1/chat/completions", None),
            ("GET", "http://llm.cofferdam.internal/v1/responses/resp_1", None),
            ("POST", "http://llm.cofferdam.internal/v1/responses/resp_1/cancel", None),
            ("POST", "http://llm.cofferdam.internal/v1/messages/batches", None),
            ("POST", "http://llm.cofferdam.internal/v1/messages?beta=false", None),
            ("POST", "http://llm.cofferdam.internal/v1/messages?beta=true&x", None),
            ("POST", "http://llm.cofferdam.internal/v1/responses?beta=true", None),
            ("POST", "http://llm.cofferdam.internal/v1/models", None),
            ("DELETE", "http://llm.cofferdam.internal/v1/models", None),
            ("GET", "http://llm.cofferdam.internal/v1/models/small", None),
            ("GET", "http://llm.cofferdam.internal/v1/models?x", None),
            ("GET", "http://llm.cofferdam.internal/v1/files", None),
            ("POST", "http://llm.cofferdam.internal/v1/chat/completions/", None),
            ("POST", "http://llm.cofferdam.internal/v1/chat%2fcompletions", None),
            ("POST", "http://llm.cofferdam.internal/v1/%63hat/completions", None),
            ("POST", "http://llm.cofferdam.internal/chat/completions", None),
            ("POST", "http://llm.cofferdam.internal:8080/v1/chat/completions", None),
            ("POST", "http://llm.cofferdam.internal:443/v1/chat/completions", None),
        ] {
            let found = asked(&method.parse().unwrap(), &Target::parse(url).unwrap());
            assert_eq!(found.ok(), expected, "{method} {url}");
        }
    }

    #[test]
    fn a_grant_names_models_and_a_star_is_all_of_them() {
        let narrowed = |models: &[&str]| narrow(&LlmGrant::of(models.iter().map(|name| (*name).to_owned()).collect()));
        let some = narrowed(&["small", "gpt-*"]);
        assert_eq!((some.models.unwrap(), some.exact), (vec!["small".to_owned(), "gpt-*".to_owned()], true));
        assert_eq!((some.name, some.max_tokens), ("grants.llm", Some(4_096)));
        assert_eq!(narrowed(&["small", "*"]).models, None);
    }

    #[test]
    fn two_headers_of_the_guests_go_on() {
        let mut given = HeaderMap::new();
        for name in
            ["anthropic-version", "anthropic-beta", "authorization", "x-api-key", "openai-organization", "cookie"]
        {
            given.append(name, "one".parse().unwrap());
        }
        given.append("anthropic-beta", "two".parse().unwrap());
        let passed = passed(&given);
        assert_eq!((passed.len(), passed.get_all("anthropic-beta").iter().count()), (3, 2));
        assert!(passed.contains_key("anthropic-version"));
    }

    #[tokio::test(start_paused = true)]
    async fn long_requests_share_the_memory_and_short_ones_never_wait() {
        let memory = Memory::default();
        let mut held = Vec::new();
        for _ in 0..32 {
            held.push(memory.take(MAX_REQUEST).await.unwrap());
        }
        let next = async |bytes| tokio::time::timeout(Duration::from_secs(60), memory.take(bytes)).await.is_ok();
        assert!(next(MAX_UNCOUNTED).await && !next(MAX_UNCOUNTED + 1).await);
        held[0].keep(1 << 20);
        assert!(next(7 << 20).await && !next((7 << 20) + 1).await);
        drop(held);
        assert!(next(MAX_REQUEST).await);
    }
}
