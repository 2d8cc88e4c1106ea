//! The tool worker's routes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cofferdam_contract::tool::MAX_ARGUMENTS_BYTES;
use cofferdam_contract::worker::ToolsHealth;
use cofferdam_contract::{Problem, ToolCall, ToolOutcome};
use cofferdam_host_api::{Capabilities, FsError, Interrupt, Vfs};

use super::ToolWorker;
use super::call::{self, Job, Leftover};
use crate::error::Error;
use crate::turn::quota;
use crate::worker::lanes::{blocking, lane};
use crate::worker::routes::{ProblemResponse, max_runs, organization};
use crate::worker::watch::{CancelOnDrop, watch};

/// Bytes of a call besides its arguments: grants, configuration, environment.
const MAX_OVERHEAD_BYTES: usize = 1 << 20;

pub(super) fn router(worker: Arc<ToolWorker>) -> Router {
    Router::new()
        .route("/tools/health", get(health))
        .route("/tools/metrics", get(metrics))
        .route("/tools/calls", post(call))
        .route("/tools/uplink", post(uplink))
        .layer(DefaultBodyLimit::max(MAX_ARGUMENTS_BYTES + MAX_OVERHEAD_BYTES))
        .with_state(worker)
}

async fn health(State(worker): State<Arc<ToolWorker>>) -> Json<ToolsHealth> {
    let (active, waiting) = worker.load();
    Json(ToolsHealth {
        calls_active: active as u64,
        calls_waiting: waiting as u64,
        components: worker.components.count() as u64,
        uplinks: worker.uplinks.count() as u64,
    })
}

async fn metrics(State(worker): State<Arc<ToolWorker>>) -> Response {
    ([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], worker.metrics.text(&worker)).into_response()
}

async fn uplink(State(worker): State<Arc<ToolWorker>>, request: Request) -> Result<Response, ProblemResponse> {
    Ok(worker.uplinks.accept(request)?)
}

async fn call(
    State(worker): State<Arc<ToolWorker>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ProblemResponse> {
    let call: ToolCall = serde_json::from_slice(&body).map_err(|e| Problem::malformed(e.to_string()))?;
    drop(body);
    let organization = organization(&headers)?;
    worker.unsent.admit(&organization)?;
    let interrupt = Interrupt::new(Instant::now().checked_add(Duration::from_millis(call.limits.wall_ms)));
    let place = worker.enter(call.depth, &organization, max_runs(&headers)).await?;
    // Requests to the gateway depend on other threads, and on timers that this thread would have to drive.
    let here = lane().filter(|_| call.token.is_none());
    let (on_thread, stopped_by) = (Arc::clone(&worker), interrupt.clone());
    let work = move || {
        let started = Instant::now();
        let (result, leftover) = match carry_out(&on_thread, call, interrupt) {
            Ok((outcome, leftover)) => (Ok(outcome), Some(leftover)),
            Err(error) => (Err(error), None),
        };
        on_thread.metrics.finished(result.as_ref().ok(), started.elapsed());
        (result, (leftover, place))
    };
    let result = match here {
        Some(caller) => {
            let watched = watch(caller, stopped_by);
            let done = blocking(work).await;
            drop(watched);
            let (result, after) = done.map_err(|_| broke_off())?;
            // Runs after the answer is written, because this thread's own tasks wait for its connection. Teardown goes
            // to another thread, because a fast caller's next request may be here before it is done.
            let background = worker.background.clone();
            tokio::spawn(async move {
                background.spawn_blocking(move || drop(after));
            });
            result
        }
        None => {
            let cancel = CancelOnDrop(stopped_by);
            let (answer, answered) = tokio::sync::oneshot::channel();
            worker.background.spawn_blocking(move || {
                let (result, after) = work();
                // It is dropped if the caller disconnected.
                let _ = answer.send(result);
                drop(after);
            });
            let result = answered.await.map_err(|_| broke_off())?;
            drop(cancel);
            result
        }
    };
    let body = serde_json::to_vec(&result?).unwrap_or_default();
    Ok(json(worker.unsent.count(&organization, body)))
}

fn broke_off() -> Problem {
    Problem::internal("the call broke off")
}

/// The whole call, on its own thread.
pub(super) fn carry_out(
    worker: &ToolWorker,
    call: ToolCall,
    interrupt: Interrupt,
) -> Result<(ToolOutcome, Leftover), Error> {
    let loaded = worker.components.get(&call.digest, Capabilities::from(&call.grants))?;
    let vfs = Vfs::new(Arc::clone(&worker.base), quota(&call.limits, worker.config.open_files));
    let vfs = vfs.map_err(|error| match error {
        FsError::NoSpace => Problem::overloaded("the worker's memory for files is used up; try again in a second"),
        error => Problem::internal(format!("the sandbox's files could not be made: {error}")),
    })?;
    let gateway = worker.uplinks.handle(call.token.as_deref())?;
    let (base, open_files, memory) = (Arc::clone(&worker.base), worker.config.open_files, Arc::clone(&worker.memory));
    call::run(&loaded, Job { call, interrupt, gateway, vfs, base, open_files, memory })
}

fn json(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
