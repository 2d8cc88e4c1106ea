//! Definitions of agents over HTTP: a serverless agent is made, drafted, published, switched on and off here.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cofferdam_agents::{AgentView, Agents, Edit, NewAgent};
use cofferdam_contract::work::{AgentDefinition, AgentKind};
use cofferdam_contract::{AgentId, Problem};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json, OptionalJson};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::agent_id;
use super::warnings::Warnings;
use crate::refusals::{InvalidValue, NotFound, TooMany, UsedId};

/// Fields that say more about an agent than its definition does. They are shown with it, and ignored where a document that
/// was shown is sent back.
const SHOWN: [&str; 12] = [
    "organization_id",
    "version",
    "active_version",
    "draft_version",
    "created_at",
    "updated_at",
    "state",
    "deleting",
    "serving",
    "latest",
    "environment",
    "digest",
];

/// An agent with its definition, as it is sent. `id` is made from the name if it is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct AgentBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// `serverless`, unless only `id`, `name` and `environment` are sent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<AgentKind>,
    /// `DRAFT` keeps it from being used; it is `ACTIVE` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    /// The revision that the change was made from; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    /// Why it was changed, kept with the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    #[serde(flatten)]
    pub(super) definition: AgentDefinition,
}

/// A body's fields, apart: those of the agent, and those of its definition.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) id: Option<AgentId>,
    pub(super) name: Option<String>,
    pub(super) kind: Option<AgentKind>,
    pub(super) draft: bool,
    pub(super) revision: Option<u64>,
    pub(super) note: String,
    /// The fields of the definition that were sent.
    pub(super) fields: Map<String, Value>,
}

fn take<T: serde::de::DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<Option<T>, Problem> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            serde_json::from_value(value).map(Some).map_err(|error| Problem::invalid(format!("{name}: {error}")))
        }
    }
}

impl Parts {
    pub(super) fn read(body: Value) -> Result<Self, Problem> {
        let Value::Object(mut fields) = body else {
            return Err(Problem::invalid(
                "The body is an object with the fields of an agent, such as `name` and `instructions`.",
            ));
        };
        let shown_status = take::<String>(&mut fields, "status")?;
        let draft = match shown_status.as_deref() {
            None | Some("ACTIVE") => false,
            Some("DRAFT") => true,
            Some("INACTIVE") => {
                return Err(Problem::invalid(
                    "status: DRAFT or ACTIVE; POST /v1/agents/ID/deactivate switches an agent off",
                ));
            }
            Some(_) => return Err(Problem::invalid("status: DRAFT or ACTIVE")),
        };
        let parts = Self {
            id: take(&mut fields, "id")?,
            name: take(&mut fields, "name")?,
            kind: take(&mut fields, "type")?,
            draft,
            revision: take(&mut fields, "revision")?,
            note: take(&mut fields, "note")?.unwrap_or_default(),
            fields: Map::new(),
        };
        fields.retain(|name, _| !SHOWN.contains(&name.as_str()));
        Ok(Self { fields, ..parts })
    }

    /// The header `If-Match` names the revision, too: an ETag is the revision in quotes.
    fn matching(mut self, headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(tag) = headers.get(IF_MATCH) else { return Ok(self) };
        let tag = tag.to_str().unwrap_or_default().trim();
        if tag == "*" {
            return Ok(self);
        }
        let revision = tag.trim_matches('"').parse::<u64>();
        let revision =
            revision.map_err(|_| Problem::invalid("If-Match: the ETag of the agent, such as \"7\", or *"))?;
        if self.revision.is_some_and(|sent| sent != revision) {
            return Err(Problem::invalid("If-Match and `revision` differ; send one of them"));
        }
        self.revision = Some(revision);
        Ok(self)
    }

    pub(super) fn definition(&self) -> Result<AgentDefinition, Problem> {
        read_definition(Value::Object(self.fields.clone()))
    }

    fn edit(&self, definition: Option<AgentDefinition>) -> Edit {
        Edit { name: self.name.clone(), definition, revision: self.revision, note: self.note.clone() }
    }
}

fn read_definition(fields: Value) -> Result<AgentDefinition, Problem> {
    serde_json::from_value(fields).map_err(|error| {
        let said: String = error.to_string().chars().take(500).collect();
        Problem::invalid(format!("The definition cannot be used: {said}"))
    })
}

/// An agent, and what is no error and may not be meant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answered {
    #[serde(flatten)]
    agent: AgentView,
    /// Tools, agents and models that it names and that do not exist now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The header with an agent's revision.
pub(super) fn tag(revision: u64) -> [(http::HeaderName, String); 1] {
    [(ETAG, format!("\"{revision}\""))]
}

async fn answered(warnings: &Warnings, caller: &Caller, agent: AgentView) -> Response {
    let warnings = warnings.of(caller, &agent.definition).await;
    (tag(agent.revision), Json(Answered { agent, warnings })).into_response()
}

/// Makes a serverless agent.
pub(super) async fn create(agents: &Agents, caller: &Caller, parts: Parts) -> Result<AgentView, ApiError> {
    let name = parts.name.clone().or_else(|| parts.id.as_ref().map(ToString::to_string));
    let name = name.ok_or_else(|| Problem::invalid("name: it is needed, or an `id`"))?;
    let definition = parts.definition()?;
    let new = NewAgent { id: parts.id, name, definition, draft: parts.draft, note: parts.note };
    Ok(agents.create(caller, new).await?)
}

/// Change an agent's draft.
///
/// Fields that are not sent stay; `null` takes one out. Without a draft, one is made of the active version. Tasks go on using the
/// active version until `PUT /v1/agents/{id}` publishes the draft.
#[utoipa::path(patch, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)), request_body = AgentBody,
    responses((status = 200, body = Answered), NotFound, UsedId, InvalidValue))]
pub(super) async fn patch_agent(
    State(agents): State<Arc<Agents>>,
    State(warnings): State<Warnings>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let (id, parts) = (agent_id(&id)?, Parts::read(body)?.matching(&headers)?);
    let now = agents.show(&caller, &id).await?;
    let from = match now.draft_version {
        Some(draft) => agents.show_version(&caller, &id, draft).await?.definition,
        None => now.definition,
    };
    let Value::Object(mut fields) = serde_json::to_value(from).unwrap_or_default() else {
        return Err(Problem::internal("A definition cannot be written; see the server's log.").into());
    };
    let mut changed = false;
    for (name, value) in parts.fields.clone() {
        changed = true;
        match value {
            Value::Null => fields.remove(&name),
            value => fields.insert(name, value),
        };
    }
    let definition = changed.then(|| read_definition(Value::Object(fields))).transpose()?;
    // A change that was made from what is shown now, whatever comes between.
    let edit = Edit { revision: parts.revision.or(Some(now.revision)), ..parts.edit(definition) };
    let view = agents.draft(&caller, &id, edit).await?;
    Ok(answered(&warnings, &caller, view).await)
}

/// Publish an agent: the definition that is sent, or else its draft, becomes the active version.
///
/// The same definition again makes no new version. An agent that does not exist is made.
#[utoipa::path(put, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)), request_body = Option<AgentBody>,
    responses((status = 200, body = Answered), (status = 201, description = "It was made", body = Answered), NotFound, UsedId, InvalidValue,
        TooMany))]
pub(super) async fn put_agent(
    State(agents): State<Arc<Agents>>,
    State(warnings): State<Warnings>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalJson(body): OptionalJson<Value>,
) -> Result<Response, ApiError> {
    let id = AgentId::parse(&id).map_err(|error| Problem::invalid(format!("id: {error}")))?;
    let body = if body.is_null() { Value::Object(Map::new()) } else { body };
    let parts = Parts::read(body)?.matching(&headers)?;
    if parts.id.as_ref().is_some_and(|sent| *sent != id) {
        return Err(Problem::invalid("id: it differs from the one in the address").into());
    }
    let (view, made) = apply(&agents, &caller, id, parts).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answered(&warnings, &caller, view).await).into_response())
}

/// Makes the agent, or publishes what was sent. True if it was made.
pub(super) async fn apply(
    agents: &Agents,
    caller: &Caller,
    id: AgentId,
    parts: Parts,
) -> Result<(AgentView, bool), ApiError> {
    if parts.kind == Some(AgentKind::Container) {
        return Err(Problem::invalid("type: a container is deployed, not defined; see docs/agents.md").into());
    }
    let exists = agents.exists(caller, &id).await?;
    if !exists {
        if parts.fields.is_empty() {
            return Err(Problem::not_found(format!("There is no agent {id}. Send a definition to make it.")).into());
        }
        if let Some(revision) = parts.revision {
            let detail =
                format!("There is no agent {id} to change from revision {revision}: it was deleted meanwhile.");
            return Err(Problem::conflict(detail).into());
        }
        return Ok((create(agents, caller, Parts { id: Some(id), ..parts }).await?, true));
    }
    let definition = if parts.fields.is_empty() { None } else { Some(parts.definition()?) };
    let edit = parts.edit(definition);
    let view = match parts.draft {
        true => agents.draft(caller, &id, edit).await?,
        false => agents.publish(caller, &id, edit).await?,
    };
    Ok((view, false))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Activate {
    /// The active one by default, where the agent was switched off; else the draft.
    #[serde(default)]
    version: Option<u64>,
}

/// Make a version the active one again: a rollback is one call.
#[utoipa::path(post, path = "/v1/agents/{id}/activate", tag = "agents", params(("id" = String, Path)), request_body = Option<Activate>,
    responses((status = 200, body = AgentView), NotFound))]
pub(super) async fn activate_agent(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    OptionalJson(asked): OptionalJson<Activate>,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(agents.activate(&caller, &agent_id(&id)?, asked.version).await?))
}

/// Switch an agent off: it takes no new tasks, and those under way end.
#[utoipa::path(post, path = "/v1/agents/{id}/deactivate", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = AgentView), NotFound, UsedId))]
pub(super) async fn deactivate_agent(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<AgentView>, ApiError> {
    Ok(Json(agents.deactivate(&caller, &agent_id(&id)?).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_that_was_shown_can_be_sent_back() {
        let shown = json!({"id": "a", "name": "A", "type": "serverless", "status": "ACTIVE", "version": 3, "revision": 7,
            "created_at": 1, "instructions": "Help.", "organization_id": "default"});
        let parts = Parts::read(shown).unwrap();
        assert_eq!((parts.revision, parts.draft), (Some(7), false));
        assert_eq!(parts.definition().unwrap().instructions, "Help.");
        assert!(Parts::read(json!({"name": "a", "colour": 1})).unwrap().definition().is_err());
        assert!(Parts::read(json!([])).is_err());
    }

    #[test]
    fn an_etag_is_a_revision() {
        let read = |tag: &str| {
            let headers = HeaderMap::from_iter([(IF_MATCH, tag.parse().unwrap())]);
            Parts::read(json!({"name": "a"})).unwrap().matching(&headers).map(|parts| parts.revision)
        };
        assert_eq!((read("\"7\"").unwrap(), read("7").unwrap(), read("*").unwrap()), (Some(7), Some(7), None));
        assert!(read("\"abc\"").is_err() && read("-1").is_err() && read("").is_err());
        let headers = HeaderMap::from_iter([(IF_MATCH, "\"7\"".parse().unwrap())]);
        assert!(Parts::read(json!({"revision": 8})).unwrap().matching(&headers).is_err());
        assert_eq!(tag(7)[0].1, "\"7\"");
    }
}
