//! Rows of agents, deployments and events.

use std::collections::BTreeSet;

use cofferdam_contract::{
    AgentId, DeploymentId, DeploymentState, FailureReason, Health, OrganizationId, PodSettings, Resources,
};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row};
use strum::{EnumString, IntoStaticStr};
use utoipa::ToSchema;

use super::Observed;
use crate::columns::{Columns, unknown};

/// The state that an agent's owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Wanted {
    Run,
    Stop,
    Delete,
    /// As `Delete`, and what a cluster does not let go of is left behind.
    Abandon,
}

impl Wanted {
    /// Returns true if the agent is to be deleted.
    pub fn deletes(self) -> bool {
        match self {
            Self::Delete | Self::Abandon => true,
            Self::Run | Self::Stop => false,
        }
    }

    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    pub organization: OrganizationId,
    pub id: AgentId,
    pub name: String,
    pub environment: String,
    /// It has a definition that our loop runs, and no deployments.
    pub serverless: bool,
    pub wanted: Wanted,
    /// The number of the newest deployment.
    pub last_number: u64,
    /// The newest turn; see [`DeploymentRow::turn`].
    pub last_turn: u64,
    /// The number of the serving deployment; 0 if none serves.
    pub serving: u64,
    /// Set while the driver has something to do or to watch.
    pub active: bool,
    /// The number of changes that the driver has not seen yet.
    pub dirty: u64,
    pub lease_owner: String,
    pub lease_until_ms: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for AgentRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let wanted: String = row.try_get("wanted")?;
        Ok(Self {
            organization: row.id("organization")?,
            id: row.id("id")?,
            name: row.try_get("name")?,
            environment: row.try_get("environment")?,
            serverless: row.try_get::<String, _>("kind")? == "serverless",
            wanted: wanted.parse().map_err(|_| unknown("wanted", wanted))?,
            last_number: row.count("last_number")?,
            last_turn: row.count("last_turn")?,
            serving: row.count("serving")?,
            active: row.flag("active")?,
            dirty: row.count("dirty")?,
            lease_owner: row.try_get("lease_owner")?,
            lease_until_ms: row.try_get("lease_until_ms")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
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

/// The origin of a deployment's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = Source)]
pub enum ImageSource {
    Upload,
    /// A reference, as given.
    Image {
        reference: String,
    },
    /// An older version.
    Version {
        number: u64,
        because: Because,
    },
}

/// A deployment's settings besides its image and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    #[serde(default)]
    pub resources: Resources,
    /// Names of the organization's secrets.
    #[serde(default)]
    pub secrets: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "PodSettings::is_empty")]
    pub pod: PodSettings,
    /// The image's name in its archive, which may have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_image: Option<String>,
    /// Probes, and the times that it gets.
    #[serde(default, skip_serializing_if = "Health::is_empty")]
    pub health: Health,
    /// It runs an older version's image with settings of its own, so it does not repeat that version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_settings: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRow {
    pub id: DeploymentId,
    pub organization: OrganizationId,
    pub agent: AgentId,
    pub number: u64,
    /// The position in the order in which deployments are to run; 0 if it is not to run yet.
    pub turn: u64,
    pub state: DeploymentState,
    pub reason: Option<FailureReason>,
    pub detail: String,
    pub exit_code: Option<i32>,
    pub last_lines: Vec<String>,
    pub source: ImageSource,
    /// `host/path@sha256:...`; empty until it is known.
    pub image: String,
    pub architecture: String,
    /// The image's own user; `None` if it is root, a name or unknown.
    pub run_as: Option<u32>,
    pub size_bytes: u64,
    pub received_bytes: u64,
    pub spec: Spec,
    /// Set while the cluster may have objects of it.
    pub placed: bool,
    pub attempts: u64,
    pub retry_at_ms: i64,
    /// The beginning of its state.
    pub since_ms: i64,
    /// The first time it was up; 0 if it never was.
    pub up_at_ms: i64,
    pub crashes: u64,
    pub observed: Observed,
    /// The number of its last event.
    pub events: u64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl DeploymentRow {
    /// Returns true if it has ended. Its objects may still have to be removed from the cluster.
    pub fn is_over(&self) -> bool {
        match self.state {
            DeploymentState::Failed | DeploymentState::Stopped => true,
            DeploymentState::Uploading
            | DeploymentState::Pushing
            | DeploymentState::Applying
            | DeploymentState::Starting
            | DeploymentState::Up
            | DeploymentState::CrashLoop
            | DeploymentState::Stopping => false,
        }
    }

    /// Returns true while there is anything left to do for it.
    pub fn is_live(&self) -> bool {
        self.placed || !self.is_over()
    }
}

impl FromRow<'_, AnyRow> for DeploymentRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let exit_code: Option<i64> = row.try_get("exit_code")?;
        Ok(Self {
            id: row.id("id")?,
            organization: row.id("organization")?,
            agent: row.id("agent")?,
            number: row.count("number")?,
            turn: row.count("turn")?,
            state: state(row)?,
            reason: reason(row)?,
            detail: row.try_get("detail")?,
            exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
            last_lines: row.json("last_lines")?,
            source: row.json("source")?,
            image: row.try_get("image")?,
            architecture: row.try_get("architecture")?,
            run_as: u32::try_from(row.count("run_as")?).ok().filter(|user| *user != 0),
            size_bytes: row.count("size_bytes")?,
            received_bytes: row.count("received_bytes")?,
            spec: row.json("spec")?,
            placed: row.flag("placed")?,
            attempts: row.count("attempts")?,
            retry_at_ms: row.try_get("retry_at_ms")?,
            since_ms: row.try_get("since_ms")?,
            up_at_ms: row.try_get("up_at_ms")?,
            crashes: row.count("crashes")?,
            observed: row.json("observed")?,
            events: row.count("events")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// An entry in a deployment's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub seq: u64,
    pub at_ms: i64,
    pub state: DeploymentState,
    pub reason: Option<FailureReason>,
    pub detail: String,
}

impl FromRow<'_, AnyRow> for EventRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.count("seq")?,
            at_ms: row.try_get("at_ms")?,
            state: state(row)?,
            reason: reason(row)?,
            detail: row.try_get("detail")?,
        })
    }
}

fn state(row: &AnyRow) -> Result<DeploymentState, sqlx::Error> {
    let text: String = row.try_get("state")?;
    DeploymentState::parse(&text).ok_or_else(|| unknown("state", text))
}

fn reason(row: &AnyRow) -> Result<Option<FailureReason>, sqlx::Error> {
    let text: String = row.try_get("reason")?;
    if text.is_empty() { Ok(None) } else { row.name("reason").map(Some) }
}

/// The column's text: empty if there is no reason.
pub(super) fn reason_text(reason: Option<FailureReason>) -> &'static str {
    reason.map_or("", FailureReason::name)
}
