//! Agents, their deployments and what happened to each: rows, and how they are read. What is changed is changed in a
//! [`AgentChange`]; what is decided is decided in `crate::agents`.

mod carriages;
mod change;
mod layers;
mod leases;
mod once;
mod reads;
mod variables;

use std::collections::BTreeSet;

use cofferdam_contract::{AgentId, DeploymentId, DeploymentState, FailureReason, OrganizationId, Resources};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

pub use change::{AgentChange, Inserted, KEPT_DEPLOYMENTS, MAX_EVENTS};
pub use once::{OnceKey, OnceRow};
pub use variables::VariableRow;

use super::unsigned;
use crate::Error;

/// What an agent's owner wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Run,
    Stop,
    Delete,
}

impl Wanted {
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "run" => Ok(Self::Run),
            "stop" => Ok(Self::Stop),
            "delete" => Ok(Self::Delete),
            other => Err(wrong(format!("wanted {other:?}"))),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    pub organization: OrganizationId,
    pub id: AgentId,
    pub name: String,
    pub environment: String,
    pub wanted: Wanted,
    pub last_number: u64,
    pub last_turn: u64,
    /// 0 where none serves.
    pub serving: u64,
    pub active: bool,
    /// How often it was changed since its driver looked last.
    pub dirty: u64,
    pub lease_owner: String,
    pub lease_until_ms: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// Why an older version's image is deployed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Start,
    Restart,
    Rollback,
    /// The version that served crashed.
    Crash,
}

/// Where a deployment's image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    Upload,
    /// A reference, as it was given.
    Image {
        reference: String,
    },
    /// An older version.
    Version {
        number: u64,
        because: Because,
    },
}

/// What a deployment asks for, apart from its image and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    #[serde(default)]
    pub resources: Resources,
    /// Names of the organization's secrets.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRow {
    pub id: DeploymentId,
    pub organization: OrganizationId,
    pub agent: AgentId,
    pub number: u64,
    /// The order in which deployments were asked to run; 0 where this one was not yet.
    pub turn: u64,
    pub state: DeploymentState,
    pub reason: Option<FailureReason>,
    pub detail: String,
    pub exit_code: Option<i32>,
    pub last_lines: Vec<String>,
    pub source: Source,
    /// `host/path@sha256:...`; empty until it is known.
    pub image: String,
    pub architecture: String,
    /// The image's own user; none where that is root, a name or not known.
    pub run_as: Option<u32>,
    pub size_bytes: u64,
    pub received_bytes: u64,
    pub spec: Spec,
    /// Whether the cluster may have something of it.
    pub placed: bool,
    pub attempts: u64,
    pub retry_at_ms: i64,
    /// When its state began.
    pub since_ms: i64,
    /// When it was up first; 0 where it never was.
    pub up_at_ms: i64,
    pub crashes: u64,
    /// The number of its last event.
    pub events: u64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl DeploymentRow {
    /// Whether nothing will happen to it any more, apart from what is left of it being taken away.
    pub fn is_over(&self) -> bool {
        matches!(self.state, DeploymentState::Failed | DeploymentState::Stopped)
    }

    pub fn is_live(&self) -> bool {
        self.placed || !self.is_over()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub seq: u64,
    pub at_ms: i64,
    pub state: DeploymentState,
    pub reason: Option<FailureReason>,
    pub detail: String,
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Row(error.to_string())
}

/// A JSON value, or a bare name of an enum, as a text for a column.
fn text_of<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(wrong)
}

fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(wrong)
}

fn reason_text(reason: Option<FailureReason>) -> Result<String, Error> {
    let Some(reason) = reason else { return Ok(String::new()) };
    Ok(text_of(&reason)?.trim_matches('"').to_owned())
}

fn reason(row: &AnyRow) -> Result<Option<FailureReason>, Error> {
    let text: String = row.try_get("reason")?;
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_value(serde_json::Value::String(text)).map(Some).map_err(wrong)
}

fn state(row: &AnyRow) -> Result<DeploymentState, Error> {
    let text: String = row.try_get("state")?;
    DeploymentState::parse(&text).ok_or_else(|| wrong(format!("state {text:?}")))
}

fn organization(row: &AnyRow) -> Result<OrganizationId, Error> {
    let text: String = row.try_get("organization")?;
    OrganizationId::parse(&text).map_err(wrong)
}

fn agent_id(row: &AnyRow, column: &str) -> Result<AgentId, Error> {
    let text: String = row.try_get(column)?;
    AgentId::parse(&text).map_err(wrong)
}

fn number(row: &AnyRow, column: &str) -> Result<u64, Error> {
    Ok(unsigned(row.try_get(column)?))
}

fn flag(row: &AnyRow, column: &str) -> Result<bool, Error> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

fn read_agent(row: &AnyRow) -> Result<AgentRow, Error> {
    let wanted: String = row.try_get("wanted")?;
    Ok(AgentRow {
        organization: organization(row)?,
        id: agent_id(row, "id")?,
        name: row.try_get("name")?,
        environment: row.try_get("environment")?,
        wanted: Wanted::parse(&wanted)?,
        last_number: number(row, "last_number")?,
        last_turn: number(row, "last_turn")?,
        serving: number(row, "serving")?,
        active: flag(row, "active")?,
        dirty: number(row, "dirty")?,
        lease_owner: row.try_get("lease_owner")?,
        lease_until_ms: row.try_get("lease_until_ms")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn read_deployment(row: &AnyRow) -> Result<DeploymentRow, Error> {
    let id: String = row.try_get("id")?;
    let exit_code: Option<i64> = row.try_get("exit_code")?;
    Ok(DeploymentRow {
        id: DeploymentId::parse(&id).map_err(wrong)?,
        organization: organization(row)?,
        agent: agent_id(row, "agent")?,
        number: number(row, "number")?,
        turn: number(row, "turn")?,
        state: state(row)?,
        reason: reason(row)?,
        detail: row.try_get("detail")?,
        exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
        last_lines: json(row, "last_lines")?,
        source: json(row, "source")?,
        image: row.try_get("image")?,
        architecture: row.try_get("architecture")?,
        run_as: u32::try_from(number(row, "run_as")?).ok().filter(|user| *user != 0),
        size_bytes: number(row, "size_bytes")?,
        received_bytes: number(row, "received_bytes")?,
        spec: json(row, "spec")?,
        placed: flag(row, "placed")?,
        attempts: number(row, "attempts")?,
        retry_at_ms: row.try_get("retry_at_ms")?,
        since_ms: row.try_get("since_ms")?,
        up_at_ms: row.try_get("up_at_ms")?,
        crashes: number(row, "crashes")?,
        events: number(row, "events")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn read_event(row: &AnyRow) -> Result<EventRow, Error> {
    Ok(EventRow {
        seq: number(row, "seq")?,
        at_ms: row.try_get("at_ms")?,
        state: state(row)?,
        reason: reason(row)?,
        detail: row.try_get("detail")?,
    })
}
