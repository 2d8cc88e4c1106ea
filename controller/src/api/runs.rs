//! `/v1/runs`: run a snippet, fetch the files it made.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::{Outcome, RunRequest};
use http::header::ACCEPT;

use super::json;
use super::pass::pass;
use crate::Error;
use crate::auth::Caller;
use crate::services::{App, files, runs};

/// Run a snippet in a fresh sandbox, or in a session.
///
/// With `Accept: text/event-stream` the answer comes as server-sent events `stdout`, `stderr`, `result`, `error` and,
/// last, `end`. A client that goes away cancels the run.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = RunRequest, responses(
    (status = 200, description = "How the run ended, whatever the code did",
        content((Outcome = "application/json"), (String = "text/event-stream"))),
))]
pub async fn create_run(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let raw = json::read(&parts.headers, body, MAX_REQUEST_BYTES).await?;
    let request: RunRequest = json::parse_long(raw.clone(), runs::check).await?;
    let accept = parts.headers.get(ACCEPT).filter(|value| wants_events(value.as_bytes())).cloned();
    let run = runs::Run { caller: &caller, request: &request, raw, accept };
    let started = runs::start(&app, run).await?;
    drop(request);
    pass(started.response, started.kept).await
}

fn wants_events(accept: &[u8]) -> bool {
    accept.split(|b| *b == b',').any(|part| part.trim_ascii_start().starts_with(b"text/event-stream"))
}

/// Fetch a file that a run made, while it is kept.
#[utoipa::path(get, path = "/v1/runs/{id}/files/{*path}", tag = "runs",
    params(("id" = String, Path), ("path" = String, Path, description = "May contain slashes")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn get_run_file(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, Error> {
    pass(files::of_run(&app, &caller, &id, &path).await?, ()).await
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
