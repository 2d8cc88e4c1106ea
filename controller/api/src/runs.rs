//! `/v1/runs`: run a snippet, fetch the files it created.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::{Outcome, RunRequest};
use http::header::ACCEPT;

use super::pass::pass;
use crate::refusals::{InvalidValue, NotFound, SessionBusy, SessionLost, TooMany, WorkerLost};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, parse_long, read_json};
use cofferdam_sandbox::{Run, Sandboxes, check};

/// The fields of a run that are the code's own and may have a NUL character, or whose own check says more.
const FREE_FIELDS: &[&str] = &["code", "stdin", "files", "args", "env"];

/// Run a snippet in a fresh sandbox, or in a session.
///
/// With `Accept: text/event-stream` the answer is a stream of server-sent events `stdout`, `stderr`, `result`, `error`
/// and, last, `end`. Disconnecting cancels the run.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = RunRequest, responses(
    (status = 200, description = "The outcome of the run, also if the code failed",
        content((Outcome = "application/json"), (String = "text/event-stream"))), NotFound, SessionBusy, SessionLost, TooMany, WorkerLost))]
pub(crate) async fn create_run(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let raw = read_json(&parts.headers, body, MAX_REQUEST_BYTES).await?;
    let request: RunRequest = parse_long(raw.clone(), FREE_FIELDS, |request| Ok(check(request)?)).await?;
    let accept = parts.headers.get(ACCEPT).filter(|value| wants_events(value.as_bytes())).cloned();
    let run = Run { caller: &caller, request: &request, raw, accept };
    let started = sandboxes.run(run).await?;
    drop(request);
    pass(started.response, started.kept).await
}

fn wants_events(accept: &[u8]) -> bool {
    accept.split(|b| *b == b',').any(|part| part.trim_ascii_start().starts_with(b"text/event-stream"))
}

/// Fetch a file that a run created, while it is kept.
#[utoipa::path(get, path = "/v1/runs/{id}/files/{*path}", tag = "runs",
    params(("id" = String, Path), ("path" = String, Path, description = "May contain slashes")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"), NotFound, InvalidValue, WorkerLost))]
pub(crate) async fn get_run_file(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    pass(sandboxes.run_file(&caller, &id, &path).await?, ()).await
}

#[cfg(test)]
mod tests {
    use super::wants_events;

    #[test]
    fn events_are_asked_for_by_name() {
        for (accept, events) in [
            ("text/event-stream", true),
            ("application/json, text/event-stream;q=0.5", true),
            ("*/*", false),
            ("application/json", false),
        ] {
            assert_eq!(wants_events(accept.as_bytes()), events, "{accept}");
        }
    }
}
