//! Agents at work over HTTP: tasks, threads, events, approvals. Handlers only map; `cofferdam_tasks` decides, and what
//! runs agents makes their tasks ([`Invoke`]).

mod approvals;
mod events;
mod invoke;
mod search;
mod steer;
mod tasks;
mod threads;

use cofferdam_contract::{AgentId, Problem, TaskId, ThreadId};
use cofferdam_http::ApiError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use invoke::Invoke;

use crate::services::Services;

const DEFAULT_PAGE: u32 = 50;

/// Making and steering tasks: routes that need `invoke`.
pub(crate) fn invoke() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(invoke::invoke_agent))
        .routes(routes!(invoke::invoke_agent_async))
        .routes(routes!(invoke::invoke_agent_stream))
        .routes(routes!(steer::stop_task))
        .routes(routes!(steer::delete_task))
        .routes(routes!(steer::pause_task))
        .routes(routes!(steer::resume_task))
        .routes(routes!(steer::replay_task))
        .routes(routes!(steer::replay_tasks_of_agent))
        .routes(routes!(approvals::decide))
        .routes(routes!(threads::fork_thread))
        .routes(routes!(threads::delete_thread))
}

/// Looking at them: routes that need `read` or `invoke`.
pub(crate) fn read() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(tasks::list_tasks))
        .routes(routes!(tasks::list_tasks_of_agent))
        .routes(routes!(tasks::get_task))
        .routes(routes!(tasks::get_task_thread))
        .routes(routes!(events::task_events))
        .routes(routes!(events::thread_events))
        .routes(routes!(approvals::list_approvals))
        .routes(routes!(approvals::list_approvals_of_task))
        .routes(routes!(threads::list_threads))
        .routes(routes!(threads::get_thread))
        .routes(routes!(threads::list_messages))
        .routes(routes!(search::search))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Parses an id in a path. An invalid id is answered like an unknown one.
fn task_id(text: &str) -> Result<TaskId, ApiError> {
    let missing = |_| Problem::not_found(format!("There is no task {:?}. GET /v1/tasks lists them.", shown(text)));
    Ok(TaskId::parse(text).map_err(missing)?)
}

fn thread_id(text: &str) -> Result<ThreadId, ApiError> {
    let missing = |_| Problem::not_found(format!("There is no thread {:?}. GET /v1/threads lists them.", shown(text)));
    Ok(ThreadId::parse(text).map_err(missing)?)
}

fn agent_id(text: &str) -> Result<AgentId, ApiError> {
    let missing = |_| Problem::not_found(format!("There is no agent {:?}. GET /v1/agents lists them.", shown(text)));
    Ok(AgentId::parse(text).map_err(missing)?)
}
