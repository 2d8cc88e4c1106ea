//! Invoking agents: waiting for the end, without waiting, and as a stream. In all three the task goes on when the client leaves.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::work::{EventInfo, InvokeRequest, TaskInfo, TaskStatus};
use cofferdam_contract::{AgentId, Problem};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_tasks::Tasks;
use futures_util::future::BoxFuture;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{agent_id, events};
use crate::refusals::{InvalidValue, KeyReused, NotFound, TooMany, Unavailable};

/// Makes tasks of agents; what runs agents implements it.
pub trait Invoke: Send + Sync {
    /// Makes a task of an active agent. It is durable afterwards, whatever becomes of the caller; the same idempotency key with the same
    /// request gives the same task.
    fn invoke<'a>(
        &'a self,
        caller: &'a Caller,
        agent: &'a AgentId,
        request: InvokeRequest,
        source: &'static str,
    ) -> BoxFuture<'a, Result<TaskInfo, ApiError>>;
}

/// The time that a call waits, in seconds.
const DEFAULT_TIMEOUT_S: u64 = 600;
const MAX_TIMEOUT_S: u64 = 3_600;
/// The source of tasks whose caller names none.
const SOURCE: &str = "api";
/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 255;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Seconds to wait, 1 to 3,600; 600 by default. The task goes on afterwards.
    timeout_s: Option<u64>,
    /// A version of the agent other than the active one.
    version: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Version {
    /// A version of the agent other than the active one.
    version: Option<String>,
}

/// Give an agent a task and wait for its end.
///
/// `input` is text, or an object with `text`, `files` and `user`. `thread` (or `id`) goes on with a thread. A task that waits for a
/// person is answered with `paused`. If the time is over first, the answer is 202, and the task goes on.
#[utoipa::path(post, path = "/v1/agents/{id}/invoke", tag = "tasks",
    params(("id" = String, Path), Asked,
        ("idempotency-key" = Option<String>, Header, description = "Repeating a request with the same key and body makes no second task")),
    request_body(content = InvokeRequest, examples(
        ("text" = (value = json!({"input": "Add 2 and 3"}))),
        ("contract" = (value = json!({"input": {"text": "Go on", "user": {"id": "u-1"}}, "id": "thread_0123"}))))),
    responses((status = 200, description = "The task has ended, or waits for a person", body = TaskInfo),
        (status = 202, description = "The time is over and the task goes on; Location has its address", body = TaskInfo),
        NotFound, KeyReused, InvalidValue, TooMany, Unavailable))]
pub(super) async fn invoke_agent(
    State(work): State<Arc<dyn Invoke>>,
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(request): Json<InvokeRequest>,
) -> Result<Response, ApiError> {
    let timeout_s = asked.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S);
    if !(1..=MAX_TIMEOUT_S).contains(&timeout_s) {
        return Err(Problem::invalid(format!("timeout_s: 1 to {MAX_TIMEOUT_S}")).into());
    }
    let task = make(&*work, &caller, &agent_id(&id)?, request, &headers, asked.version).await?;
    let task = tasks.wait(&caller, &task.id, Duration::from_secs(timeout_s)).await?;
    match task.status.is_final() || task.status == TaskStatus::Paused {
        true => Ok(Json(task).into_response()),
        false => Ok(goes_on(task)),
    }
}

/// Give an agent a task and do not wait.
#[utoipa::path(post, path = "/v1/agents/{id}/invoke/async", tag = "tasks",
    params(("id" = String, Path), Version,
        ("idempotency-key" = Option<String>, Header, description = "Repeating a request with the same key and body makes no second task")),
    request_body(content = InvokeRequest, example = json!({"input": "Write a report", "priority": 5})),
    responses((status = 202, description = "The task is stored; Location has its address", body = TaskInfo),
        NotFound, KeyReused, InvalidValue, TooMany, Unavailable))]
pub(super) async fn invoke_agent_async(
    State(work): State<Arc<dyn Invoke>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<Version>,
    headers: HeaderMap,
    Json(request): Json<InvokeRequest>,
) -> Result<Response, ApiError> {
    Ok(goes_on(make(&*work, &caller, &agent_id(&id)?, request, &headers, asked.version).await?))
}

/// Give an agent a task and follow its events. The task goes on when the client leaves: `GET /v1/tasks/{id}/events` with
/// `Last-Event-ID` follows it again.
#[utoipa::path(post, path = "/v1/agents/{id}/invoke/stream", tag = "tasks",
    params(("id" = String, Path), Version,
        ("idempotency-key" = Option<String>, Header, description = "Repeating a request with the same key and body makes no second task")),
    request_body(content = InvokeRequest, example = json!({"input": "Tell me a story"})),
    responses((status = 200, description = "Events by their type, from `task_created` to `task_finished`; their data is an EventInfo", body = EventInfo, content_type = "text/event-stream"),
        NotFound, KeyReused, InvalidValue, TooMany, Unavailable))]
pub(super) async fn invoke_agent_stream(
    State(work): State<Arc<dyn Invoke>>,
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<Version>,
    headers: HeaderMap,
    Json(request): Json<InvokeRequest>,
) -> Result<Response, ApiError> {
    let task = make(&*work, &caller, &agent_id(&id)?, request, &headers, asked.version).await?;
    Ok(with_location(&task, events::answer(tasks.follow_task(&caller, &task.id, 0).await?)))
}

/// Makes the task; it is durable afterwards.
async fn make(
    work: &dyn Invoke,
    caller: &Caller,
    agent: &AgentId,
    mut request: InvokeRequest,
    headers: &HeaderMap,
    version: Option<String>,
) -> Result<TaskInfo, ApiError> {
    request.idempotency_key = once(headers, request.idempotency_key)?;
    if version.is_some() && request.version.is_some() && version != request.version {
        return Err(Problem::invalid("version: the address and the body name different ones; send one of them").into());
    }
    request.version = version.or(request.version);
    work.invoke(caller, agent, request, SOURCE).await
}

/// The idempotency key of the header, or of the body.
fn once(headers: &HeaderMap, field: Option<String>) -> Result<Option<String>, Problem> {
    let header = headers.get("idempotency-key").map(HeaderValue::to_str).transpose();
    let header = header.map_err(|_| Problem::invalid("Idempotency-Key must be printable ASCII"))?;
    if let (Some(header), Some(field)) = (header, &field)
        && header != field
    {
        return Err(Problem::invalid("Idempotency-Key and `idempotency_key` differ; send one of them."));
    }
    let key = header.map(str::to_owned).or(field);
    match key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        true => Err(Problem::invalid(format!("Idempotency-Key: 1 to {MAX_KEY} bytes"))),
        false => Ok(key),
    }
}

fn goes_on(task: TaskInfo) -> Response {
    let location = with_location(&task, StatusCode::ACCEPTED.into_response());
    let (parts, _) = location.into_parts();
    (parts.status, parts.headers, Json(task)).into_response()
}

fn with_location(task: &TaskInfo, mut response: Response) -> Response {
    if let Ok(location) = HeaderValue::try_from(format!("/v1/tasks/{}", task.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
