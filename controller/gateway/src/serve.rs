//! Answers a worker's requests on an uplink: finds the token's admission and passes the request to its service. Every
//! request comes from a process that runs untrusted code.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::uplink::TOKEN_HEADER;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use crate::admission::Admission;
use crate::body::GatewayBody;
use crate::refusal::Refusal;
use crate::services::Service;
use crate::{Gateway, services};

/// Answers a request.
pub(crate) async fn answer(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Infallible> {
    let found = services::at(request.uri().path());
    let service = found.map_or("none", |(name, _)| name);
    let answered = match admission(&gateway, &request) {
        Ok(admission) => carry_out(&gateway, &admission, request, found.map(|(_, service)| service))
            .await
            .inspect_err(|refusal| admission.log(service, refusal)),
        Err(refusal) => Err(refusal),
    };
    gateway.metrics.count(service, answered.as_ref().err().map(|refusal| refusal.by));
    Ok(answered.unwrap_or_else(Refusal::into_response))
}

async fn carry_out(
    gateway: &Gateway,
    admission: &Arc<Admission>,
    request: Request<Incoming>,
    service: Option<&dyn Service>,
) -> Result<Response<GatewayBody>, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::malformed("Every request on an uplink is a POST."));
    }
    let work = async {
        match service {
            Some(service) => service.answer(gateway, admission, request).await,
            None => Err(Refusal::no_service()),
        }
    };
    let deadline = admission.pass.deadline.into();
    tokio::select! {
        biased;
        () = admission.revoked.cancelled() => Err(Refusal::token()),
        answered = tokio::time::timeout_at(deadline, work) => answered.unwrap_or_else(|_| Err(Refusal::token())),
    }
}

fn admission(gateway: &Gateway, request: &Request<Incoming>) -> Result<Arc<Admission>, Refusal> {
    let token = request.headers().get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
    let found = token.and_then(|token| gateway.tokens.find(&gateway.name, token));
    found.ok_or_else(Refusal::token)
}

/// Reads a request's body of at most `max_bytes`.
pub(crate) async fn read(request: Request<Incoming>, max_bytes: usize) -> Result<Bytes, Refusal> {
    read_body(request.into_body(), max_bytes).await
}

/// Reads a body of at most `max_bytes`.
pub(crate) async fn read_body(body: Incoming, max_bytes: usize) -> Result<Bytes, Refusal> {
    let long = || Refusal::too_large(format!("The request is longer than {max_bytes} bytes."));
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(long());
    }
    match Limited::new(body, max_bytes).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(long()),
        Err(_) => Err(Refusal::malformed("The request broke off.")),
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<Response<GatewayBody>, Refusal> {
    let bytes = serde_json::to_vec(value).map_err(|e| Refusal::internal(&e))?;
    let mut response = Response::new(Full::new(Bytes::from(bytes)).map_err(|e| match e {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
