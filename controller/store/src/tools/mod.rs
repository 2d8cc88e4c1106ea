//! Tools and their versions. The transactions that switch between versions are in `switch.rs`.

mod switch;

use cofferdam_contract::tool::Component;
use cofferdam_contract::{Grants, LimitsRequest, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query_as, query_scalar};

use crate::columns::Columns;
use crate::{Error, Store};

pub use switch::{KEPT_VERSIONS, Switched};

/// One version of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolVersionRow {
    pub organization: OrganizationId,
    pub tool: String,
    /// Counts from 1; set by the store.
    pub number: i64,
    pub component: Component,
    /// As requested.
    pub grants: Grants,
    pub limits: LimitsRequest,
    pub warnings: Vec<String>,
    /// The reference it was pulled from; empty for an upload.
    pub source: String,
    pub created_at: i64,
    /// Set if this version serves.
    pub current: bool,
    /// The organization's revision at which the tool was created; set by the store. A tool that is deleted and created
    /// again counts from 1 again, so only `made` and `number` together identify a version.
    pub made: i64,
}

impl FromRow<'_, AnyRow> for ToolVersionRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (number, current): (i64, i64) = (row.try_get("number")?, row.try_get("current")?);
        Ok(Self {
            organization: row.id("organization")?,
            tool: row.try_get("tool")?,
            number,
            component: row.json("component")?,
            grants: row.json("grants")?,
            limits: row.json("limits")?,
            warnings: row.json("warnings")?,
            source: row.try_get("source")?,
            created_at: row.try_get("created_at")?,
            current: number == current,
            made: row.try_get("made")?,
        })
    }
}

/// The serving version of a tool, identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolHead {
    pub tool: String,
    pub number: i64,
    pub made: i64,
}

impl FromRow<'_, AnyRow> for ToolHead {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self { tool: row.try_get("name")?, number: row.try_get("current")?, made: row.try_get("made")? })
    }
}

/// Selects [`ToolVersionRow`]s of the organization `$1`.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT v.organization, v.tool, v.number, v.component, v.grants, v.limits, v.warnings, v.source, \
             v.created_at, t.current, t.made FROM tool_versions v \
             JOIN tools t ON t.organization = v.organization AND t.name = v.tool WHERE v.organization = $1 ",
            $which
        )
    };
}

impl Store {
    /// The serving version of every tool, by name.
    pub async fn tools(&self, organization: &OrganizationId) -> Result<Vec<ToolVersionRow>, Error> {
        let query = query_as(select!("AND v.number = t.current ORDER BY v.tool"));
        Ok(query.bind(organization.as_str()).fetch_all(&self.pool).await?)
    }

    /// The number of every tool's serving version, by name.
    pub async fn tool_heads(&self, organization: &OrganizationId) -> Result<Vec<ToolHead>, Error> {
        let query = query_as("SELECT name, current, made FROM tools WHERE organization = $1 ORDER BY name");
        Ok(query.bind(organization.as_str()).fetch_all(&self.pool).await?)
    }

    pub async fn tool_version(
        &self,
        organization: &OrganizationId,
        tool: &str,
        number: i64,
    ) -> Result<Option<ToolVersionRow>, Error> {
        let query = query_as(select!("AND v.tool = $2 AND v.number = $3"));
        Ok(query.bind(organization.as_str()).bind(tool).bind(number).fetch_optional(&self.pool).await?)
    }

    /// A tool's versions, newest first.
    pub async fn tool_versions(&self, organization: &OrganizationId, tool: &str) -> Result<Vec<ToolVersionRow>, Error> {
        let query = query_as(select!("AND v.tool = $2 ORDER BY v.number DESC"));
        Ok(query.bind(organization.as_str()).bind(tool).fetch_all(&self.pool).await?)
    }

    /// The number of changes of an organization's tools.
    pub async fn tools_revision(&self, organization: &OrganizationId) -> Result<i64, Error> {
        let revision = query_scalar("SELECT revision FROM tool_revisions WHERE organization = $1");
        Ok(revision.bind(organization.as_str()).fetch_optional(&self.pool).await?.unwrap_or(0))
    }

    /// The digests of all versions.
    pub async fn tool_digests(&self) -> Result<Vec<String>, Error> {
        Ok(query_scalar("SELECT DISTINCT digest FROM tool_versions").fetch_all(&self.pool).await?)
    }
}
