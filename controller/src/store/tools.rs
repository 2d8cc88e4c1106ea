//! Tools and their versions. A switch is one transaction: the version is written, its names are taken, it serves.

use cofferdam_contract::tool::Component;
use cofferdam_contract::{Grants, LimitsRequest, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction, query};

use super::folders::drop_folder;
use super::{Namespace, Store, keyvalue};
use crate::Error;
use crate::clock::now;

/// Versions of a tool that are kept, the one that serves among them.
pub const KEPT_VERSIONS: i64 = 10;

/// One version of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolVersionRow {
    pub organization: OrganizationId,
    pub tool: String,
    /// Counts from 1; written by the store.
    pub number: i64,
    pub component: Component,
    /// As they were asked for.
    pub grants: Grants,
    pub limits: LimitsRequest,
    pub warnings: Vec<String>,
    /// The reference it was pulled from; empty where it was uploaded.
    pub source: String,
    pub created_at: i64,
    /// Whether this is the version that serves.
    pub current: bool,
    /// The organization's revision at which the tool was made; written by the store. A tool that is deleted and made
    /// again counts from 1 again: no two versions of a name have both, this and the number.
    pub made: i64,
}

/// A tool's version that serves, by what no other version shares with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolHead {
    pub tool: String,
    pub number: i64,
    pub made: i64,
}

/// How a switch to a version ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switched {
    /// It serves. `made`: there was no such tool before.
    Done { number: i64, made: bool },
    /// Another tool's function has this name already.
    Collision { name: String, tool: String },
    /// There is no such tool or version.
    Missing,
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Row(error.to_string())
}

fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(wrong)
}

fn read(row: &AnyRow) -> Result<ToolVersionRow, Error> {
    let organization: String = row.try_get("organization")?;
    let (number, current): (i64, i64) = (row.try_get("number")?, row.try_get("current")?);
    Ok(ToolVersionRow {
        organization: OrganizationId::parse(&organization).map_err(wrong)?,
        tool: row.try_get("tool")?,
        number,
        component: json(row, "component")?,
        grants: json(row, "grants")?,
        limits: json(row, "limits")?,
        warnings: json(row, "warnings")?,
        source: row.try_get("source")?,
        created_at: row.try_get("created_at")?,
        current: number == current,
        made: row.try_get("made")?,
    })
}

/// The columns of [`read`], for the versions of which more is said after it.
macro_rules! versions {
    ($which:literal) => {
        concat!(
            "SELECT v.organization, v.tool, v.number, v.component, v.grants, v.limits, v.warnings, v.source, \
             v.created_at, t.current, t.made FROM tool_versions v \
             JOIN tools t ON t.organization = v.organization AND t.name = v.tool WHERE v.organization = $1 ",
            $which
        )
    };
}

type Tx = Transaction<'static, Any>;

/// Counts the change. The row is held until the transaction ends, so an organization's changes come one after another.
async fn turn(tx: &mut Tx, organization: &OrganizationId) -> Result<(), Error> {
    query(
        "INSERT INTO tool_revisions (organization, revision) VALUES ($1, 1) \
         ON CONFLICT (organization) DO UPDATE SET revision = tool_revisions.revision + 1",
    )
    .bind(organization.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn current(tx: &mut Tx, organization: &OrganizationId, tool: &str) -> Result<Option<i64>, Error> {
    let row = query("SELECT current FROM tools WHERE organization = $1 AND name = $2")
        .bind(organization.as_str())
        .bind(tool)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.map(|row| row.try_get("current")).transpose()?)
}

/// Gives a tool these names and no others; the name that another tool has, with that tool, where there is one.
async fn take_names(
    tx: &mut Tx,
    organization: &OrganizationId,
    tool: &str,
    names: &[String],
) -> Result<Option<(String, String)>, Error> {
    query("DELETE FROM tool_names WHERE organization = $1 AND tool = $2")
        .bind(organization.as_str())
        .bind(tool)
        .execute(&mut **tx)
        .await?;
    for name in names {
        let done =
            query("INSERT INTO tool_names (organization, name, tool) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(organization.as_str())
                .bind(name.as_str())
                .bind(tool)
                .execute(&mut **tx)
                .await?;
        if done.rows_affected() == 0 {
            let row = query("SELECT tool FROM tool_names WHERE organization = $1 AND name = $2")
                .bind(organization.as_str())
                .bind(name.as_str())
                .fetch_one(&mut **tx)
                .await?;
            return Ok(Some((name.clone(), row.try_get("tool")?)));
        }
    }
    Ok(None)
}

impl Store {
    /// Writes a version and switches to it. `names` are those that MCP clients see. All of it happens, or nothing.
    pub async fn deploy_tool(&self, row: &ToolVersionRow, names: &[String]) -> Result<Switched, Error> {
        let mut tx = self.pool.begin().await?;
        turn(&mut tx, &row.organization).await?;
        let made = current(&mut tx, &row.organization, &row.tool).await?.is_none();
        if made {
            // What a call that was under way when a tool of this name was deleted may have begun.
            drop_folder(&mut tx, &row.organization, &row.tool).await?;
            query(
                "INSERT INTO tools (organization, name, current, created_at, updated_at, made) \
                 SELECT organization, $2, 0, $3, $3, revision FROM tool_revisions WHERE organization = $1",
            )
            .bind(row.organization.as_str())
            .bind(row.tool.as_str())
            .bind(now())
            .execute(&mut *tx)
            .await?;
        }
        if let Some((name, tool)) = take_names(&mut tx, &row.organization, &row.tool, names).await? {
            tx.rollback().await?;
            return Ok(Switched::Collision { name, tool });
        }
        let number =
            query("SELECT COALESCE(MAX(number), 0) AS n FROM tool_versions WHERE organization = $1 AND tool = $2")
                .bind(row.organization.as_str())
                .bind(row.tool.as_str())
                .fetch_one(&mut *tx)
                .await?
                .try_get::<i64, _>("n")?
                + 1;
        query(
            "INSERT INTO tool_versions (organization, tool, number, digest, component, grants, limits, warnings, \
             source, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(row.organization.as_str())
        .bind(row.tool.as_str())
        .bind(number)
        .bind(row.component.digest.as_str())
        .bind(serde_json::to_string(&row.component).map_err(wrong)?)
        .bind(serde_json::to_string(&row.grants).map_err(wrong)?)
        .bind(serde_json::to_string(&row.limits).map_err(wrong)?)
        .bind(serde_json::to_string(&row.warnings).map_err(wrong)?)
        .bind(row.source.as_str())
        .bind(row.created_at)
        .execute(&mut *tx)
        .await?;
        self.set_current(&mut tx, &row.organization, &row.tool, number).await?;
        query("DELETE FROM tool_versions WHERE organization = $1 AND tool = $2 AND number <= $3")
            .bind(row.organization.as_str())
            .bind(row.tool.as_str())
            .bind(number - KEPT_VERSIONS)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Switched::Done { number, made })
    }

    async fn set_current(
        &self,
        tx: &mut Tx,
        organization: &OrganizationId,
        tool: &str,
        number: i64,
    ) -> Result<(), Error> {
        query("UPDATE tools SET current = $1, updated_at = $2 WHERE organization = $3 AND name = $4")
            .bind(number)
            .bind(now())
            .bind(organization.as_str())
            .bind(tool)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Switches to a version that is kept.
    pub async fn switch_tool(
        &self,
        organization: &OrganizationId,
        tool: &str,
        number: i64,
        names: &[String],
    ) -> Result<Switched, Error> {
        let mut tx = self.pool.begin().await?;
        turn(&mut tx, organization).await?;
        let kept = query("SELECT number FROM tool_versions WHERE organization = $1 AND tool = $2 AND number = $3")
            .bind(organization.as_str())
            .bind(tool)
            .bind(number)
            .fetch_optional(&mut *tx)
            .await?;
        if kept.is_none() {
            tx.rollback().await?;
            return Ok(Switched::Missing);
        }
        if let Some((name, tool)) = take_names(&mut tx, organization, tool, names).await? {
            tx.rollback().await?;
            return Ok(Switched::Collision { name, tool });
        }
        self.set_current(&mut tx, organization, tool, number).await?;
        tx.commit().await?;
        Ok(Switched::Done { number, made: false })
    }

    /// Deletes a tool with its versions and its folder; whether there was one.
    pub async fn delete_tool(&self, organization: &OrganizationId, tool: &str) -> Result<bool, Error> {
        let mut tx = self.pool.begin().await?;
        turn(&mut tx, organization).await?;
        if current(&mut tx, organization, tool).await?.is_none() {
            tx.rollback().await?;
            return Ok(false);
        }
        for table in [
            "DELETE FROM tool_names WHERE organization = $1 AND tool = $2",
            "DELETE FROM tool_versions WHERE organization = $1 AND tool = $2",
            "DELETE FROM tools WHERE organization = $1 AND name = $2",
        ] {
            query(table).bind(organization.as_str()).bind(tool).execute(&mut *tx).await?;
        }
        // Whoever makes a tool of that name next does not find what this one kept.
        keyvalue::drop_values(&mut tx, &Namespace { organization, owner: tool }).await?;
        drop_folder(&mut tx, organization, tool).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Every tool's version that serves, by name.
    pub async fn tools(&self, organization: &OrganizationId) -> Result<Vec<ToolVersionRow>, Error> {
        let sql = versions!("AND v.number = t.current ORDER BY v.tool");
        let rows = query(sql).bind(organization.as_str()).fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// Which version of every tool serves.
    pub async fn tool_heads(&self, organization: &OrganizationId) -> Result<Vec<ToolHead>, Error> {
        let rows = query("SELECT name, current, made FROM tools WHERE organization = $1 ORDER BY name")
            .bind(organization.as_str())
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &AnyRow| {
            let (tool, number) = (row.try_get("name")?, row.try_get("current")?);
            Ok(ToolHead { tool, number, made: row.try_get("made")? })
        };
        rows.iter().map(read).collect()
    }

    pub async fn tool_version(
        &self,
        organization: &OrganizationId,
        tool: &str,
        number: i64,
    ) -> Result<Option<ToolVersionRow>, Error> {
        let sql = versions!("AND v.tool = $2 AND v.number = $3");
        let row = query(sql).bind(organization.as_str()).bind(tool).bind(number).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// A tool's versions, the newest first.
    pub async fn tool_versions(&self, organization: &OrganizationId, tool: &str) -> Result<Vec<ToolVersionRow>, Error> {
        let sql = versions!("AND v.tool = $2 ORDER BY v.number DESC");
        let rows = query(sql).bind(organization.as_str()).bind(tool).fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// How often an organization's tools have changed.
    pub async fn tools_revision(&self, organization: &OrganizationId) -> Result<i64, Error> {
        let row = query("SELECT revision FROM tool_revisions WHERE organization = $1")
            .bind(organization.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("revision")).transpose()?.unwrap_or(0))
    }

    /// Every digest that a version has.
    pub async fn tool_digests(&self) -> Result<Vec<String>, Error> {
        let rows = query("SELECT DISTINCT digest FROM tool_versions").fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok(row.try_get("digest")?)).collect()
    }
}
