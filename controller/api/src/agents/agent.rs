//! `/v1/agents`: create, list, show and delete agents of either kind.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_agents::{AgentView, Agents};
use cofferdam_contract::work::{AgentDefinition, AgentKind, AgentStatus, TaskStatus};
use cofferdam_contract::{AgentId, Problem};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::definitions::{AgentBody, Parts, create, tag};
use super::warnings::Warnings;
use super::{agent_id, once};
use crate::audited::Details;
use crate::refusals::NotFound;
use cofferdam_core::Caller;
use cofferdam_deployments::{AgentInfo, CreateAgent, DeletedAgent, Deployments};
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_tasks::{TaskFilter, Tasks};

const DEFAULT_PAGE: usize = 100;
/// Tasks that are stopped with their agent: pages of each state, and tasks in a page.
const MAX_STOPPED_PAGES: usize = 20;
const STOPPED_PAGE: u32 = 200;

/// An agent of either kind: its definition, if it has one, and its deployments.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shown {
    #[serde(flatten)]
    agent: AgentInfo,
    #[serde(rename = "type")]
    kind: AgentKind,
    status: AgentStatus,
    /// The version of the definition that is shown: the active one, else the draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_version: Option<u64>,
    revision: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    definition: Option<AgentDefinition>,
    /// Tools, agents and models that an agent which was just made names and that do not exist now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Shown {
    fn new(agent: AgentInfo, view: AgentView) -> Self {
        Self {
            agent,
            kind: view.kind,
            status: view.status,
            version: view.version,
            active_version: view.active_version,
            draft_version: view.draft_version,
            revision: view.revision,
            definition: view.version.map(|_| view.definition),
            warnings: Vec::new(),
        }
    }
}

/// Create an agent.
///
/// With a definition (`instructions`, `model`, `tools`...) it is serverless and active at once; with `id`, `name` and `environment`
/// alone it is one that containers are deployed for.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", request_body = AgentBody,
    params(("idempotency-key" = Option<String>, Header, description = "Repeating a request with the same key and body creates nothing")),
    responses((status = 201, body = Shown),
        (status = 409, description = "An agent with this id already exists", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Agent limit reached", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create_agent(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    headers: HeaderMap,
    State(agents): State<Arc<Agents>>,
    State(warnings): State<Warnings>,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let parts = Parts::read(body.clone())?;
    let serverless = match parts.kind {
        Some(kind) => kind == AgentKind::Serverless,
        None => !parts.fields.is_empty(),
    };
    if serverless {
        let view = create(&agents, &caller, parts).await?;
        details.target(view.id.as_str());
        let agent = deployments.show(&caller, &view.id).await?;
        let warnings = warnings.of(&caller, &view.definition).await;
        return Ok((StatusCode::CREATED, tag(view.revision), Json(Shown { warnings, ..Shown::new(agent, view) }))
            .into_response());
    }
    let mut body = body;
    if let Some(fields) = body.as_object_mut() {
        fields.remove("type");
    }
    let request: CreateAgent = serde_json::from_value(body).map_err(|error| Problem::invalid(error.to_string()))?;
    let once = once(&headers, None, &("create", &request.id, &request.name, &request.environment))?;
    let agent = deployments.create(&caller, request, &once).await?;
    details.target(agent.id.as_str());
    let view = agents.show(&caller, &agent.id).await?;
    Ok((StatusCode::CREATED, tag(view.revision), Json(Shown::new(agent, view))).into_response())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Return ids after this one.
    #[serde(default)]
    after: String,
    /// Page size, up to 200.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentList {
    agents: Vec<Shown>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List agents by id.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", params(Page), responses((status = 200, body = AgentList)))]
pub(super) async fn list_agents(
    State(deployments): State<Arc<Deployments>>,
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<AgentList>, ApiError> {
    let (listed, next) = deployments.list(&caller, &page.after, page.limit.unwrap_or(DEFAULT_PAGE)).await?;
    let ids: Vec<_> = listed.iter().map(|agent| agent.id.clone()).collect();
    let mut views = agents.views(&caller, &ids).await?;
    // One that was deleted in between is left out.
    let shown = |agent: AgentInfo| Some(Shown::new(agent.clone(), views.remove(&agent.id)?));
    Ok(Json(AgentList { agents: listed.into_iter().filter_map(shown).collect(), next }))
}

/// Show an agent: its definition, and its serving and newest deployment.
#[utoipa::path(get, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = Shown), NotFound))]
pub(super) async fn get_agent(
    State(deployments): State<Arc<Deployments>>,
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = agent_id(&id)?;
    let agent = deployments.show(&caller, &id).await?;
    let view = agents.show(&caller, &id).await?;
    Ok((tag(view.revision), Json(Shown::new(agent, view))).into_response())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Force {
    /// Delete it even if its cluster does not let go of what it holds. The answer names what may stay there.
    #[serde(default)]
    pub(super) force: bool,
}

/// A deletion that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    #[serde(flatten)]
    deleted: DeletedAgent,
    /// `serverless`; absent for one in containers.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<AgentKind>,
    /// Tasks of the agent that were asked to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_tasks: Option<u32>,
}

/// Delete an agent. A serverless one is gone at once, and its tasks are stopped; one in containers disappears once all of its workloads
/// are gone.
///
/// With `force`, it disappears after one attempt to remove them, for a cluster that is gone or whose credentials are.
#[utoipa::path(delete, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path), Force),
    responses((status = 202, description = "The deletion has begun", body = Deleted), NotFound))]
pub(super) async fn delete_agent(
    State(deployments): State<Arc<Deployments>>,
    State(agents): State<Arc<Agents>>,
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Result<(StatusCode, Json<Deleted>), ApiError> {
    let id = agent_id(&id)?;
    let deleted = match agents.delete(&caller, &id).await? {
        true => {
            let stopped_tasks = Some(stop_all(&tasks, &caller, &id).await?);
            let deleted = DeletedAgent { agent_id: id, left_behind: None };
            Deleted { deleted, kind: Some(AgentKind::Serverless), stopped_tasks }
        }
        false => {
            let deleted = deployments.delete(&caller, &id, force).await?;
            Deleted { deleted, kind: None, stopped_tasks: None }
        }
    };
    Ok((StatusCode::ACCEPTED, Json(deleted)))
}

/// Stops the unfinished tasks of an agent that is gone. Those beyond the bound end by themselves when they are handed out.
async fn stop_all(tasks: &Tasks, caller: &Caller, id: &AgentId) -> Result<u32, ApiError> {
    let mut stopped = 0;
    for status in [TaskStatus::Pending, TaskStatus::Paused, TaskStatus::Executing] {
        let mut filter =
            TaskFilter { agent: Some(id.clone()), status: Some(status), limit: STOPPED_PAGE, ..TaskFilter::default() };
        for _ in 0..MAX_STOPPED_PAGES {
            let page = tasks.list(caller, &filter).await?;
            for task in &page.tasks {
                // One that has just ended needs no stop.
                stopped += u32::from(tasks.stop(caller, &task.id).await.is_ok());
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => break,
            }
        }
    }
    Ok(stopped)
}
