//! Agents as they are shown, and the difference of two versions.

use std::collections::HashMap;

use cofferdam_contract::work::{AgentDefinition, AgentKind, AgentStatus, Timestamp};
use cofferdam_contract::{AgentId, OrganizationId, Problem};
use cofferdam_core::Caller;
use cofferdam_store::{DefinedRow, VersionRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::agents::MAX_AGENT_PAGE;
use crate::{Agents, Error};

/// An agent with one version of its definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    pub id: AgentId,
    pub organization_id: OrganizationId,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: AgentKind,
    pub status: AgentStatus,
    /// The version that is shown: the active one, else the draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft_version: Option<u64>,
    /// Counted up with each change; a change that names another one is refused.
    pub revision: u64,
    #[serde(flatten)]
    pub definition: AgentDefinition,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl AgentView {
    pub(crate) fn new(row: &DefinedRow, version: Option<&VersionRow>) -> Self {
        let some = |version: u64| (version > 0).then_some(version);
        Self {
            id: row.id.clone(),
            organization_id: row.organization.clone(),
            name: row.name.clone(),
            kind: row.kind,
            status: row.status,
            version: version.map(|version| version.version),
            active_version: some(row.active_version),
            draft_version: some(row.draft_version),
            revision: row.revision,
            definition: version.map(|version| version.definition.clone()).unwrap_or_default(),
            created_at: Timestamp(row.created_at.saturating_mul(1_000)),
            updated_at: Timestamp(row.updated_at.saturating_mul(1_000)),
        }
    }
}

/// An agent in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentSummary {
    pub id: AgentId,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: AgentKind,
    pub status: AgentStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    pub updated_at: Timestamp,
}

/// A version of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    pub version: u64,
    pub status: AgentStatus,
    /// SHA-256 of the definition, in hex.
    pub digest: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The id of the key that made it.
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub definition: AgentDefinition,
}

impl From<VersionRow> for VersionView {
    fn from(row: VersionRow) -> Self {
        Self {
            version: row.version,
            status: row.status,
            digest: row.digest,
            note: row.note,
            created_by: row.created_by,
            created_at: Timestamp(row.created_at_ms),
            updated_at: Timestamp(row.updated_at_ms),
            definition: row.definition,
        }
    }
}

/// A field in which two versions differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Its place, such as `limits.steps` or `tools[2]`.
    pub field: String,
    /// Absent: it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Absent: it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// The fields in which two definitions differ.
pub fn diff(from: &AgentDefinition, to: &AgentDefinition) -> Vec<FieldChange> {
    let value = |definition| serde_json::to_value(definition).unwrap_or_default();
    let mut changes = Vec::new();
    compare("", Some(&value(from)), Some(&value(to)), &mut changes);
    changes
}

fn compare(field: &str, from: Option<&Value>, to: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let gone = old.keys().filter(|name| !new.contains_key(*name));
            for name in new.keys().chain(gone) {
                let place = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                compare(&place, old.get(name), new.get(name), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for at in 0..old.len().max(new.len()) {
                compare(&format!("{field}[{at}]"), old.get(at), new.get(at), changes);
            }
        }
        _ => changes.push(FieldChange { field: field.to_owned(), from: from.cloned(), to: to.cloned() }),
    }
}

impl Agents {
    /// An agent with its active version, or its draft.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn show(&self, caller: &Caller, id: &AgentId) -> Result<AgentView, Error> {
        let Some(row) = self.store.defined_agent(&caller.organization, id).await? else {
            return Err(Problem::not_found(format!("There is no agent {id}. GET /v1/agents lists them.")).into());
        };
        let shown = if row.active_version > 0 { row.active_version } else { row.draft_version };
        let version = self.store.agent_version(&caller.organization, id, shown).await?;
        Ok(AgentView::new(&row, version.as_ref()))
    }

    /// Returns true if there is an agent of this id, of either kind.
    ///
    /// # Errors
    /// The store failed.
    pub async fn exists(&self, caller: &Caller, id: &AgentId) -> Result<bool, Error> {
        Ok(self.store.defined_agent(&caller.organization, id).await?.is_some())
    }

    /// Several agents, each with its active version, or its draft. Those that do not exist are left out.
    ///
    /// # Errors
    /// The store failed.
    pub async fn views(&self, caller: &Caller, ids: &[AgentId]) -> Result<HashMap<AgentId, AgentView>, Error> {
        let Some(first) = ids.iter().min() else { return Ok(HashMap::new()) };
        let all = self.store.agents_with_versions(&caller.organization, first, ids.len() as u64).await?;
        let view =
            |(row, version): (DefinedRow, Option<VersionRow>)| (row.id.clone(), AgentView::new(&row, version.as_ref()));
        Ok(all.into_iter().map(view).collect())
    }

    /// A page of agents of either kind, by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller, after: &str, limit: u32) -> Result<Vec<AgentSummary>, Error> {
        let limit = limit.clamp(1, MAX_AGENT_PAGE);
        let rows = self.store.defined_agents(&caller.organization, after, u64::from(limit)).await?;
        let summary = |row: DefinedRow| AgentSummary {
            version: Some(row.active_version.max(row.draft_version)).filter(|version| *version > 0),
            id: row.id,
            name: row.name,
            kind: row.kind,
            status: row.status,
            updated_at: Timestamp(row.updated_at.saturating_mul(1_000)),
        };
        Ok(rows.into_iter().map(summary).collect())
    }

    /// A page of versions, newest first.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn versions(
        &self,
        caller: &Caller,
        id: &AgentId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<VersionView>, Error> {
        self.show(caller, id).await?;
        let (before, limit) = (before.unwrap_or(u64::MAX >> 1), u64::from(limit.clamp(1, MAX_AGENT_PAGE)));
        let rows = self.store.agent_versions(&caller.organization, id, before, limit).await?;
        Ok(rows.into_iter().map(VersionView::from).collect())
    }

    /// One version.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn show_version(&self, caller: &Caller, id: &AgentId, version: u64) -> Result<VersionView, Error> {
        let found = self.store.agent_version(&caller.organization, id, version).await?;
        found.map(VersionView::from).ok_or_else(|| {
            let detail = format!("The agent {id} has no version {version}; GET /v1/agents/{id}/versions lists them.");
            Problem::not_found(detail).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_told_by_field() {
        let read = |value| serde_json::from_value::<AgentDefinition>(value).unwrap();
        let from = read(json!({"instructions": "a", "tools": ["run_code"], "limits": {"steps": 5}}));
        let to = read(json!({"instructions": "b", "tools": ["run_code", "hash"], "limits": {"steps": 5, "depth": 1}}));
        let mut fields: Vec<String> = diff(&from, &to).into_iter().map(|change| change.field).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["instructions", "limits.depth", "tools[1]"]);
        assert!(diff(&from, &from).is_empty());
    }
}
