//! A run: checked, given its limits and a worker, passed on. The hot path: the body is parsed once, its bytes go on as
//! they came, and the answer's bytes come back unread.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::run::{MAX_CODE_BYTES, MAX_STDIN_BYTES};
use cofferdam_contract::{Limits, LimitsRequest, Problem, RunId, RunRequest, SessionId};
use http::{HeaderValue, Method, Response, StatusCode};

use super::session_cache::InUse;
use super::{App, run_grants, run_ids, sessions};
use crate::Error;
use crate::auth::Caller;
use crate::gateway::Admitted;
use crate::workers::{Busy, Parts, Worker, WorkerRequest};

/// A worker's answer to a run, and what has to be kept until it has ended.
pub struct Started {
    pub id: RunId,
    pub response: Response<Busy>,
    pub kept: Kept,
}

/// What lasts as long as the run.
#[derive(Default)]
pub struct Kept {
    _in_use: Option<InUse>,
    _admitted: Admitted,
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
    run_grants::check(&request.grants)
}

pub(super) fn limits(app: &App, request: &LimitsRequest, default: &Limits) -> Result<Limits, Error> {
    Limits::resolve(request, default, &app.config.limits.maximum).map_err(|e| Problem::invalid(e.to_string()).into())
}

/// A checked run on its way. `raw` is the body that `request` was parsed from.
pub struct Run<'a> {
    pub caller: &'a Caller,
    pub request: &'a RunRequest,
    pub raw: Bytes,
    pub accept: Option<HeaderValue>,
}

/// Starts a checked run.
///
/// # Errors
/// What is wrong with the request, or that no worker could take it.
pub async fn start(app: &App, run: Run<'_>) -> Result<Started, Error> {
    if let Some(id) = &run.request.session {
        return run.in_session(app, id).await;
    }
    let limits = limits(app, &run.request.limits, &app.config.limits.default)?;
    let admitted = run_grants::admit(app, run.caller, &run.request.grants, None, &limits)?;
    let worker = app.workers.pick(None)?;
    let first = run.send(&worker, &limits, &admitted).await;
    let try_another = match &first {
        Ok(started) => started.response.status() == StatusCode::TOO_MANY_REQUESTS,
        Err(Error::Refused(problem)) => problem.kind() == "unavailable",
        Err(_) => false,
    };
    let started = match app.workers.pick(Some(&worker)) {
        Ok(other) if try_another => run.send(&other, &limits, &admitted).await,
        _ => first,
    };
    Ok(Started { kept: Kept { _in_use: None, _admitted: admitted }, ..started? })
}

impl Run<'_> {
    async fn in_session(&self, app: &App, id: &SessionId) -> Result<Started, Error> {
        let session = sessions::find(app, self.caller, id).await?;
        if let Some(language) = self.request.language
            && language.kernel() != session.row.language.kernel()
        {
            let (own, asked) = (session.row.language.as_str(), language.as_str());
            return Err(Problem::invalid(format!("The session's language is {own}, not {asked}.")).into());
        }
        let limits = limits(app, &self.request.limits, &session.row.limits)?;
        let worker = app.workers.named(&session.row.worker)?;
        let grants = if self.request.grants.is_empty() { &session.row.grants } else { &self.request.grants };
        let admitted = run_grants::admit(app, self.caller, grants, Some(id), &limits)?;
        let in_use = session.enter();
        let started = self.send(&worker, &limits, &admitted).await?;
        if started.response.status() == StatusCode::NOT_FOUND {
            return Err(sessions::lost());
        }
        Ok(Started { kept: Kept { _in_use: Some(in_use), _admitted: admitted }, ..started })
    }

    async fn send(&self, worker: &Arc<Worker>, limits: &Limits, admitted: &Admitted) -> Result<Started, Error> {
        let id = run_ids::new(&worker.tag, &self.caller.key)?;
        tracing::Span::current().record("run", id.as_str());
        let limits = serde_json::to_string(limits).map_err(|e| Error::Wire(e.to_string()))?;
        // `WorkerRun`, written around the body as it came.
        let granted = match &admitted.token {
            None => String::new(),
            Some(token) => {
                let env = serde_json::to_string(&admitted.env).map_err(|e| Error::Wire(e.to_string()))?;
                format!(r#""token":"{token}","env":{env},"#)
            }
        };
        let head = format!(r#"{{"id":"{id}","limits":{limits},{granted}"request":"#);
        let mut request = WorkerRequest::new(Method::POST, "/runs", &self.caller.organization);
        request.accept.clone_from(&self.accept);
        request.content_type = Some(HeaderValue::from_static("application/json"));
        let parts = [Bytes::from(head), self.raw.clone(), Bytes::from_static(b"}")];
        request.body = axum::body::Body::new(Parts::new(parts));
        let response = worker.send(request).await?;
        Ok(Started { id, response, kept: Kept::default() })
    }
}
