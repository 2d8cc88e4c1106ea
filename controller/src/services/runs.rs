//! A run: checked, given its limits and a worker, passed on. The hot path: the body is parsed once, its bytes go on as
//! they came, and the answer's bytes come back unread.

use bytes::Bytes;
use cofferdam_contract::run::{MAX_CODE_BYTES, MAX_STDIN_BYTES};
use cofferdam_contract::{Grants, Limits, LimitsRequest, Problem, RunId, RunRequest};
use http::{HeaderValue, Method, Response, StatusCode};

use super::session_cache::InUse;
use super::{App, run_ids, sessions};
use crate::Error;
use crate::auth::Caller;
use crate::workers::{Busy, Parts, Worker, WorkerRequest};

/// A worker's answer to a run, and what has to be kept until it has ended.
pub struct Started {
    pub id: RunId,
    pub response: Response<Busy>,
    pub in_use: Option<InUse>,
}

/// Refuses what no worker should be asked.
///
/// # Errors
/// A problem that says what is wrong with the request.
pub fn check(request: &RunRequest) -> Result<(), Error> {
    if request.code.len() > MAX_CODE_BYTES || request.stdin.len() > MAX_STDIN_BYTES {
        return Err(Problem::too_large(request.check().err().unwrap_or_default()).into());
    }
    request.check().map_err(Problem::invalid)?;
    request.files.decode().map_err(Problem::invalid)?;
    deny(&request.grants)
}

/// The operator's policy of this version allows no grant.
pub(super) fn deny(grants: &Grants) -> Result<(), Error> {
    match grants.http.first() {
        None => Ok(()),
        Some(grant) => Err(Problem::denied(format!(
            "grants.http: the policy of this server allows no outbound HTTP, so not to {:?} either.",
            grant.host.chars().take(100).collect::<String>()
        ))
        .into()),
    }
}

pub(super) fn limits(app: &App, request: &LimitsRequest, default: &Limits) -> Result<Limits, Error> {
    Limits::resolve(request, default, &app.config.limits.maximum).map_err(|e| Problem::invalid(e.to_string()).into())
}

/// Starts a checked run. `raw` is the body that `request` was parsed from.
///
/// # Errors
/// What is wrong with the request, or that no worker could take it.
pub async fn start(
    app: &App,
    caller: &Caller,
    request: &RunRequest,
    raw: Bytes,
    accept: Option<HeaderValue>,
) -> Result<Started, Error> {
    if request.session.is_some() {
        return in_session(app, caller, request, raw, accept).await;
    }
    let limits = limits(app, &request.limits, &app.config.limits.default)?;
    let worker = app.workers.pick(None)?;
    let first = send(&worker, caller, &limits, raw.clone(), accept.clone()).await;
    let try_another = match &first {
        Ok(started) => started.response.status() == StatusCode::TOO_MANY_REQUESTS,
        Err(Error::Refused(problem)) => problem.kind() == "unavailable",
        Err(_) => false,
    };
    match app.workers.pick(Some(&worker)) {
        Ok(other) if try_another => send(&other, caller, &limits, raw, accept).await,
        _ => first,
    }
}

async fn in_session(
    app: &App,
    caller: &Caller,
    request: &RunRequest,
    raw: Bytes,
    accept: Option<HeaderValue>,
) -> Result<Started, Error> {
    let id = request.session.as_ref().ok_or_else(|| Error::Wire("no session".to_owned()))?;
    let session = sessions::find(app, caller, id).await?;
    if let Some(language) = request.language
        && language.kernel() != session.row.language.kernel()
    {
        let detail = format!("The session's language is {}, not {}.", session.row.language.as_str(), language.as_str());
        return Err(Problem::invalid(detail).into());
    }
    let limits = limits(app, &request.limits, &session.row.limits)?;
    let worker = app.workers.named(&session.row.worker)?;
    let in_use = session.enter();
    let started = send(&worker, caller, &limits, raw, accept).await?;
    if started.response.status() == StatusCode::NOT_FOUND {
        return Err(sessions::lost());
    }
    Ok(Started { in_use: Some(in_use), ..started })
}

async fn send(
    worker: &std::sync::Arc<Worker>,
    caller: &Caller,
    limits: &Limits,
    raw: Bytes,
    accept: Option<HeaderValue>,
) -> Result<Started, Error> {
    let id = run_ids::new(&worker.tag, &caller.key)?;
    tracing::Span::current().record("run", id.as_str());
    let limits = serde_json::to_string(limits).map_err(|e| Error::Wire(e.to_string()))?;
    // `WorkerRun`, written around the body as it came.
    let head = format!(r#"{{"id":"{id}","limits":{limits},"request":"#);
    let mut request = WorkerRequest::new(Method::POST, "/runs", &caller.organization);
    request.accept = accept;
    request.content_type = Some(HeaderValue::from_static("application/json"));
    request.body = axum::body::Body::new(Parts::new([Bytes::from(head), raw, Bytes::from_static(b"}")]));
    let response = worker.send(request).await?;
    Ok(Started { id, response, in_use: None })
}
