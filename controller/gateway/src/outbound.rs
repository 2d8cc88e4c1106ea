//! The path of an outbound HTTP request: parsed, covered by a grant, given its secrets, resolved, its addresses
//! checked, sent, and the answer brought back. A redirect is an answer like any other: the guest's next request is
//! checked anew.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::grants::LLM_HOST;
use cofferdam_contract::uplink::{CONNECT_TIMEOUT_HEADER, LENGTH_HEADER, METHOD_HEADER, URL_HEADER};
use cofferdam_policy::{BODILESS, to_dial};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::admission::Admission;
use crate::body::{BodyError, Bounded, Bounds, GatewayBody, Reason, WithTrailers};
use crate::lifeline::Lifeline;
use crate::refusal::Refusal;
use crate::secrets::{Held, Outgoing};
use crate::services::{Answer, Service};
use crate::settings::Caps;
use crate::target::Target;
use crate::upstream::{Dial, Leased, Route, UpstreamError};
use crate::{Gateway, covers, headers, models};

/// Bodies of up to this size that may hold placeholders are read first, so that their length can be sent.
const MAX_READ_FIRST: u64 = 256 << 10;
const MAX_METHOD_BYTES: usize = 20;
/// Addresses of a host that are tried.
const MAX_TRIED: usize = 4;

/// One request while it is carried out.
struct Outbound<'a> {
    gateway: &'a Gateway,
    admission: &'a Admission,
    method: Method,
    target: Target,
    caps: Caps,
    deadline: Instant,
    held: Option<Arc<Held>>,
    place: OwnedSemaphorePermit,
}

/// Outbound HTTP. Models are a host of it.
pub(crate) struct Http;

impl Service for Http {
    fn serves(&self, path: &str) -> bool {
        path == "/http"
    }

    fn answer<'a>(
        &self,
        gateway: &'a Gateway,
        admission: &'a Arc<Admission>,
        request: Request<Incoming>,
    ) -> Answer<'a> {
        Box::pin(outbound(gateway, admission, request))
    }
}

/// Carries out a request.
async fn outbound(
    gateway: &Gateway,
    admission: &Admission,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let (method, target) = (method(&parts)?, target(&parts)?);
    if target.host == LLM_HOST {
        return models::ask(gateway, admission, &method, &target, &parts.headers, body).await;
    }
    let caps = covered(gateway, admission, &method, &target)?;
    let deadline = (started + caps.timeout).min(admission.pass.deadline.into());
    let shown = target.shown();
    let work = async {
        let held = Held::of(gateway, admission).await?;
        let place = admission.place().await?;
        let request = Outbound { gateway, admission, method, target, caps, deadline, held, place };
        request.send(&parts.headers, body).await
    };
    tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late(&shown, caps.timeout)))
}

fn late(shown: &str, time: Duration) -> Refusal {
    Refusal::timeout(format!(
        "No answer from {shown} in the time of the grant ({} s; grants.http[].timeout_ms) and of the run.",
        time.as_secs_f32()
    ))
}

fn method(parts: &Parts) -> Result<Method, Refusal> {
    let given = parts.headers.get(METHOD_HEADER).map_or(&b"GET"[..], |value| value.as_bytes());
    let method = Method::from_bytes(given).ok().filter(|method| method.as_str().len() <= MAX_METHOD_BYTES);
    let method = method.ok_or_else(|| Refusal::malformed("The HTTP method is invalid."))?;
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::policy(format!("{method} is never let out.")));
    }
    Ok(method)
}

fn target(parts: &Parts) -> Result<Target, Refusal> {
    let url = parts.headers.get(URL_HEADER).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let url = url.ok_or_else(|| Refusal::malformed("The URL is missing or not UTF-8."))?;
    Target::parse(url).map_err(|why| Refusal::malformed(format!("The URL is refused: {why}.")))
}

/// The time that the guest gives a connection.
fn connect_time(given: &HeaderMap) -> Option<Duration> {
    let text = given.get(CONNECT_TIMEOUT_HEADER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_millis)
}

fn covered(gateway: &Gateway, admission: &Admission, method: &Method, target: &Target) -> Result<Caps, Refusal> {
    let settings = &gateway.settings;
    let caps = covers::caps(admission.rules(), method.as_str(), target, &settings.default, &settings.maximum);
    let caps = caps.ok_or_else(|| Refusal::policy(covers::explain(admission.rules(), method.as_str(), target)))?;
    // A ban may take a part of a grant only, so it is asked again here.
    if !settings.policy.permits_host(target.https, &target.host, target.port) {
        let detail = format!("The operator's policy lets nothing out to {}.", target.authority());
        return Err(Refusal::policy(detail));
    }
    Ok(caps)
}

impl Outbound<'_> {
    async fn send(self, given: &HeaderMap, mut body: Incoming) -> Result<Response<GatewayBody>, Refusal> {
        if !covers::takes_body(self.admission.rules(), self.method.as_str(), &self.target) {
            self.expect_no_data(&mut body).await?;
        }
        // A server may leave a body unread and take it for a further request, which no grant has to cover. Told to close
        // the connection, it does not.
        let alone = !body.is_end_stream()
            && (BODILESS.contains(&self.method.as_str())
                || !covers::is_whole_host(self.admission.rules(), &self.target));
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > self.caps.request_bytes) {
            return Err(self.long_request());
        }
        let plain_http = self.gateway.settings.policy.secrets.plain_http;
        let outgoing = self.held.as_ref().map(|held| held.outgoing(&self.target, plain_http));
        let readable = self.held.as_ref().is_some_and(|held| held.any_bound(&self.target));
        let mut headers = headers::to_upstream(given, outgoing.as_ref(), readable)?;
        let authority = self.target.authority().parse();
        headers.insert(HOST, authority.map_err(|_| Refusal::malformed("The URL's host is no valid header."))?);
        if alone {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let (body, reason) = self.body(body, length, outgoing.as_ref()).await?;
        let request = self.request(headers, body, outgoing.as_ref())?;
        let routes = self.routes().await?;
        let upstream = &self.gateway.upstream;
        let kept = (!alone).then(|| self.admission.kept(upstream));
        match upstream.send(Dial { routes: &routes, connect: connect_time(given), kept }, request).await {
            Ok(response) => self.answer(response, readable),
            Err(error) => Err(self.failed(&error, &reason)),
        }
    }

    /// Reads a body that has to be empty.
    async fn expect_no_data(&self, body: &mut Incoming) -> Result<(), Refusal> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::malformed("The request's body broke off."))?;
            if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                let method = &self.method;
                return Err(Refusal::policy(format!(
                    "A {method} request with a body is granted apart, because some servers take such a body for a \
                     further request: add \"body_methods\": [\"{method}\"] to the entry of grants.http."
                )));
            }
        }
        Ok(())
    }

    /// The request's body as it goes out, and the reason if it breaks off later.
    async fn body(
        &self,
        body: Incoming,
        length: Option<u64>,
        outgoing: Option<&Outgoing>,
    ) -> Result<(GatewayBody, Reason), Refusal> {
        let bounds = self.bounds(self.caps.request_bytes);
        let replace = outgoing.filter(|_| !body.is_end_stream()).map(Outgoing::body);
        let searched = replace.is_some();
        let bounded = Bounded::new(body, bounds, replace, None);
        let reason = bounded.reason();
        if !searched || length.is_none_or(|length| length > MAX_READ_FIRST) {
            return Ok((bounded.boxed_unsync(), reason));
        }
        let read = bounded.collect().await.map_err(|why| self.broken(&why))?;
        Ok((Full::new(read.to_bytes()).map_err(|e| match e {}).boxed_unsync(), reason))
    }

    fn bounds(&self, max_bytes: u64) -> Bounds {
        let revoked = self.admission.revoked.clone();
        Bounds { max_bytes, deadline: self.deadline, idle: Some(self.gateway.settings.idle), revoked }
    }

    fn request(
        &self,
        headers: HeaderMap,
        body: GatewayBody,
        outgoing: Option<&Outgoing>,
    ) -> Result<Request<GatewayBody>, Refusal> {
        let plain = self.target.path_and_query();
        let secret = outgoing.map(|outgoing| outgoing.url(&plain)).transpose();
        let secret = secret.map_err(|why| Refusal::policy(why.0))?.flatten();
        let uri = http::Uri::try_from(secret.as_ref().map_or(plain.as_str(), |secret| secret.as_str()));
        let uri =
            uri.map_err(|_| Refusal::malformed("The URL is too long, or invalid once its secrets are put in."))?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The addresses that may be dialled.
    async fn routes(&self) -> Result<Vec<Route>, Refusal> {
        let (host, policy) = (&self.target.host, &self.gateway.settings.policy);
        let found = match self.target.address {
            Some(address) => vec![address],
            None => self.gateway.resolver.resolve(host).await.map_err(|e| {
                tracing::debug!(host, error = %e, "a name does not resolve");
                Refusal::dns(format!("The name {host} does not resolve."))
            })?,
        };
        if found.is_empty() {
            return Err(Refusal::dns(format!("The name {host} has no address.")));
        }
        let banned = |address: &std::net::IpAddr| {
            policy.network.deny.iter().any(|entry| entry.host.bans(&address.to_string(), self.target.port))
        };
        let allowed = found.iter().filter_map(|address| to_dial(*address, &policy.network.private));
        let addresses: Vec<_> = allowed.filter(|address| !banned(address)).take(MAX_TRIED).collect();
        if addresses.is_empty() {
            return Err(Refusal::private_address(format!(
                "{host} has a private, loopback, link-local or otherwise special address, or one that the operator \
                 forbids. An operator allows ranges with network.private."
            )));
        }
        let (organization, https, port) =
            (&self.admission.pass.caller.organization, self.target.https, self.target.port);
        let route = |address| Route { organization: organization.clone(), https, host: host.clone(), port, address };
        Ok(addresses.into_iter().map(route).collect())
    }

    fn answer(self, response: Response<Leased>, readable: bool) -> Result<Response<GatewayBody>, Refusal> {
        let (head, body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::bad_answer("The upstream switches protocols, which the gateway never does."));
        }
        let held = self.held.as_deref();
        let mut headers = headers::to_guest(&head.headers, held, readable)?;
        let bodiless = self.method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
        if bodiless {
            if let Some(length) = headers.remove(CONTENT_LENGTH) {
                headers.insert(LENGTH_HEADER, length);
            }
        } else {
            if body.size_hint().exact().is_some_and(|length| length > self.caps.response_bytes) {
                return Err(Refusal::too_large(format!(
                    "The answer is longer than {} bytes, which is the limit of its grant (grants.http[].max_response_bytes).",
                    self.caps.response_bytes
                )));
            }
            // Written anew if the body's length does not change.
            headers.remove(CONTENT_LENGTH);
        }
        let scrub = held.filter(|_| !bodiless).map(Held::scrubber);
        let bounds = self.bounds(self.caps.response_bytes);
        let body = Lifeline::new(body, self.deadline, self.admission.revoked.clone());
        let mut answer =
            Response::new(WithTrailers(Bounded::new(body, bounds, scrub, Some(self.place))).boxed_unsync());
        *answer.status_mut() = head.status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    fn failed(&self, error: &UpstreamError, reason: &Reason) -> Refusal {
        if let Some(why) = reason.get() {
            return self.broken(why);
        }
        failed(error, &self.target.authority())
    }

    /// The refusal of a request whose body did not go out whole.
    fn broken(&self, why: &BodyError) -> Refusal {
        match why {
            BodyError::TooLarge(_) => self.long_request(),
            BodyError::Timeout | BodyError::Idle(_) => late(&self.target.shown(), self.caps.timeout),
            BodyError::Revoked => Refusal::token(),
            BodyError::Forbidden(detail) => Refusal::policy(detail.clone()),
            BodyError::Lost(_) => Refusal::malformed("The request's body broke off."),
        }
    }

    fn long_request(&self) -> Refusal {
        Refusal::too_large(format!(
            "The request is longer than {} bytes, which is the limit of its grant (grants.http[].max_request_bytes).",
            self.caps.request_bytes
        ))
    }
}

/// The refusal of a request that an upstream did not answer. `name`: the upstream, as the guest is told.
fn failed(error: &UpstreamError, name: &str) -> Refusal {
    tracing::debug!(name, error = %error, cause = std::error::Error::source(error), "an upstream failed");
    match error {
        UpstreamError::Connect(why) => Refusal::connect(format!("{name} cannot be reached: {}.", why.kind())),
        UpstreamError::Tls(why) => Refusal::connect(format!("TLS with {name} failed: {why}.")),
        UpstreamError::Http(why) if why.is_parse_too_large() => {
            Refusal::too_large(format!("The headers of {name}'s answer are too large."))
        }
        UpstreamError::Http(why) if why.is_parse() => {
            Refusal::bad_answer(format!("The answer of {name} is not valid HTTP/1.1."))
        }
        UpstreamError::Http(_) => Refusal::connect(format!("{name} closed the connection before it answered.")),
    }
}
