//! What a worker asks on an uplink: by whose token, and for what. Everything in here comes from a process that runs
//! untrusted code.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::uplink::{REFUSED_HEADER, TOKEN_HEADER};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use super::admission::Admission;
use super::body::GatewayBody;
use super::refusal::Refusal;
use super::{files, keyvalue, outbound, tools};
use crate::Error;
use crate::metrics::GatewayLabels;
use crate::services::App;

/// Answers a request, whatever it is.
pub async fn answer(app: App, request: Request<Incoming>) -> Result<Response<GatewayBody>, Infallible> {
    let service = service(request.uri().path());
    let response = match admission(&app, &request) {
        Ok(admission) => carry_out(&app, &admission, request, service).await.unwrap_or_else(|refusal| {
            admission.tell(service, &refusal);
            refusal.into_response()
        }),
        Err(refusal) => refusal.into_response(),
    };
    let refused = response.headers().get(REFUSED_HEADER).and_then(|value| value.to_str().ok());
    let outcome = refused.and_then(cofferdam_contract::uplink::RefusedBy::parse).map_or("ok", |by| by.as_str());
    app.metrics.gateway.get_or_create(&GatewayLabels { service, outcome }).inc();
    Ok(response)
}

fn service(path: &str) -> &'static str {
    match path {
        "/http" => "http",
        "/keyvalue" => "keyvalue",
        "/files/load" | "/files/save" => "files",
        path if path == "/tools" || path.starts_with("/tools/") => "tools",
        _ => "none",
    }
}

async fn carry_out(
    app: &App,
    admission: &Arc<Admission>,
    request: Request<Incoming>,
    service: &str,
) -> Result<Response<GatewayBody>, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::malformed("Every request of an uplink is a POST."));
    }
    let work = async {
        match service {
            "http" => outbound::outbound(app, admission, request).await,
            "keyvalue" => keyvalue::operation(app, admission, request).await,
            "files" => files::files(app, admission, request).await,
            "tools" => tools::tools(app, admission, request).await,
            _ => Err(Refusal::not_found("The gateway has no such service.")),
        }
    };
    let deadline = admission.pass.deadline.into();
    tokio::select! {
        biased;
        () = admission.revoked.cancelled() => Err(Refusal::token()),
        answered = tokio::time::timeout_at(deadline, work) => answered.unwrap_or_else(|_| Err(Refusal::token())),
    }
}

fn admission(app: &App, request: &Request<Incoming>) -> Result<Arc<Admission>, Refusal> {
    let token = request.headers().get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
    let found = token.and_then(|token| app.gateway.tokens.find(&app.gateway.name, token));
    found.ok_or_else(Refusal::token)
}

/// A short body, whole.
pub(super) async fn read(request: Request<Incoming>, most: usize) -> Result<Bytes, Refusal> {
    read_body(request.into_body(), most).await
}

/// The same without its request.
pub(super) async fn read_body(body: Incoming, most: usize) -> Result<Bytes, Refusal> {
    let long = || Refusal::too_large(format!("The request is longer than {most} bytes."));
    if body.size_hint().lower() > most as u64 {
        return Err(long());
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(long()),
        Err(_) => Err(Refusal::malformed("The request broke off.")),
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<Response<GatewayBody>, Refusal> {
    let bytes = serde_json::to_vec(value).map_err(|e| Refusal::internal(&Error::Wire(e.to_string())))?;
    let mut response = Response::new(Full::new(Bytes::from(bytes)).map_err(|e| match e {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
