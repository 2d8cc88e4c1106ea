//! A run: checked, given its limits, grants and a worker, passed on. The hot path: the body is parsed once, its bytes go
//! to the worker as they came, and the answer's bytes come back unread.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::run::{MAX_CODE_BYTES, MAX_STDIN_BYTES};
use cofferdam_contract::{Limits, Problem, RunId, RunRequest, SessionId};
use cofferdam_core::Caller;
use cofferdam_gateway::Admitted;
use cofferdam_workers::{Busy, Pieces, Worker, WorkerRequest};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::error::is;
use crate::sessions::{self, InUse};
use crate::{Error, Sandboxes, grants, run_ids};

/// A checked run. `raw` is the body that `request` was parsed from.
pub struct Run<'a> {
    pub caller: &'a Caller,
    pub request: &'a RunRequest,
    pub raw: Bytes,
    pub accept: Option<HeaderValue>,
}

/// A worker's answer to a run.
pub struct Started {
    pub id: RunId,
    pub response: Response<Busy>,
    /// Has to live until the answer has ended.
    pub kept: Kept,
}

/// A run's place in its session and its admission at the gateway; both end when it is dropped.
#[derive(Default)]
pub struct Kept {
    _in_use: Option<InUse>,
    _admitted: Admitted,
}

/// Checks a run before a worker is asked.
///
/// # Errors
/// The first invalid part of the request.
pub fn check(request: &RunRequest) -> Result<(), Problem> {
    if request.code.len() > MAX_CODE_BYTES || request.stdin.len() > MAX_STDIN_BYTES {
        return Err(Problem::too_large(request.check().err().unwrap_or_default()));
    }
    request.check().map_err(Problem::invalid)?;
    request.files.decode().map_err(Problem::invalid)?;
    grants::check(&request.grants)
}

impl Sandboxes {
    /// Starts a checked run, in its session or in a fresh sandbox.
    ///
    /// # Errors
    /// An invalid request, or no worker that could take it.
    pub async fn run(&self, run: Run<'_>) -> Result<Started, Error> {
        match &run.request.session {
            Some(id) => self.run_in_session(&run, id).await,
            None => self.run_fresh(&run).await,
        }
    }

    async fn run_fresh(&self, run: &Run<'_>) -> Result<Started, Error> {
        let limits = self.limits(&run.request.limits, &self.limits.default)?;
        let admitted = self.admit(run.caller, &run.request.grants, None, &limits)?;
        let worker = self.workers.pick(None)?;
        let first = run.send(&worker, &limits, &admitted).await;
        let try_another = match &first {
            Ok(started) => started.response.status() == StatusCode::TOO_MANY_REQUESTS,
            Err(error) => is(error, "unavailable"),
        };
        let started = match self.workers.pick(Some(&worker)) {
            Ok(other) if try_another => run.send(&other, &limits, &admitted).await,
            _ => first,
        };
        Ok(Started { kept: Kept { _in_use: None, _admitted: admitted }, ..started? })
    }

    async fn run_in_session(&self, run: &Run<'_>, id: &SessionId) -> Result<Started, Error> {
        let session = self.find_session(run.caller, id).await?;
        if let Some(language) = run.request.language
            && language.kernel() != session.row.language.kernel()
        {
            let (own, asked) = (session.row.language.as_str(), language.as_str());
            return Err(Problem::invalid(format!("The session's language is {own}, not {asked}.")).into());
        }
        let limits = self.limits(&run.request.limits, &session.row.limits)?;
        let worker = self.workers.named(&session.row.worker)?;
        let grants = if run.request.grants.is_empty() { &session.row.grants } else { &run.request.grants };
        let admitted = self.admit(run.caller, grants, Some(id), &limits)?;
        let in_use = session.enter();
        let started = run.send(&worker, &limits, &admitted).await?;
        if started.response.status() == StatusCode::NOT_FOUND {
            return Err(sessions::lost());
        }
        Ok(Started { kept: Kept { _in_use: Some(in_use), _admitted: admitted }, ..started })
    }
}

impl Run<'_> {
    async fn send(&self, worker: &Arc<Worker>, limits: &Limits, admitted: &Admitted) -> Result<Started, Error> {
        let id = run_ids::new(worker.tag(), &self.caller.key)?;
        tracing::Span::current().record("run", id.as_str());
        let limits = serde_json::to_string(limits)?;
        // `WorkerRun`, written around the body as it came.
        let granted = match &admitted.token {
            None => String::new(),
            Some(token) => format!(r#""token":"{token}","env":{},"#, serde_json::to_string(&admitted.env)?),
        };
        let head = format!(r#"{{"id":"{id}","limits":{limits},{granted}"request":"#);
        let mut request = WorkerRequest::new(Method::POST, "/runs", &self.caller.organization);
        request.max_runs = self.caller.limits.organization.max_concurrent_runs;
        request.accept.clone_from(&self.accept);
        request.content_type = Some(HeaderValue::from_static("application/json"));
        let pieces = [Bytes::from(head), self.raw.clone(), Bytes::from_static(b"}")];
        request.body = Body::new(Pieces::new(pieces));
        let response = worker.send(request).await?;
        Ok(Started { id, response, kept: Kept::default() })
    }
}
