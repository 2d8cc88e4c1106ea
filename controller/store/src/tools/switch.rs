//! Deploying, switching and deleting a tool. Each is one transaction: the version is written, its names are taken, it
//! serves; or nothing happens.

use cofferdam_contract::OrganizationId;
use cofferdam_core::now;
use sqlx::{Any, Transaction, query, query_scalar};

use super::ToolVersionRow;
use crate::columns::json;
use crate::folders::drop_folder;
use crate::keyvalue::{Namespace, drop_values};
use crate::room::count;
use crate::{Error, Store};

/// The number of versions of a tool that are kept, including the one that serves.
pub const KEPT_VERSIONS: i64 = 10;

/// The outcome of a switch to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switched {
    /// The version serves. `made` is set if the tool did not exist before.
    Done { number: i64, made: bool },
    /// A function of another tool already has this name.
    Collision { name: String, tool: String },
    /// There is no such tool or version.
    Missing,
    /// There are as many tools as are allowed.
    Full,
}

impl Store {
    /// Adds a version and switches to it, unless it is a new tool's and the organization has `max` tools. `names` are
    /// the function names that MCP clients see.
    pub async fn deploy_tool(&self, row: &ToolVersionRow, names: &[String], max: u64) -> Result<Switched, Error> {
        let mut change = ToolChange::begin(self, &row.organization, &row.tool).await?;
        let made = !change.exists().await?;
        if made {
            let all = "SELECT COUNT(*) FROM tools WHERE organization = $1";
            if count(&mut change.tx, all, &row.organization).await? >= max {
                change.tx.rollback().await?;
                return Ok(Switched::Full);
            }
            change.create().await?;
        }
        if let Some((name, tool)) = change.take_names(names).await? {
            change.tx.rollback().await?;
            return Ok(Switched::Collision { name, tool });
        }
        let number = change.insert(row).await?;
        change.serve(number).await?;
        change.forget_until(number - KEPT_VERSIONS).await?;
        change.tx.commit().await?;
        Ok(Switched::Done { number, made })
    }

    /// Switches to a version that is kept.
    pub async fn switch_tool(
        &self,
        organization: &OrganizationId,
        tool: &str,
        number: i64,
        names: &[String],
    ) -> Result<Switched, Error> {
        let mut change = ToolChange::begin(self, organization, tool).await?;
        if !change.keeps(number).await? {
            change.tx.rollback().await?;
            return Ok(Switched::Missing);
        }
        if let Some((name, tool)) = change.take_names(names).await? {
            change.tx.rollback().await?;
            return Ok(Switched::Collision { name, tool });
        }
        change.serve(number).await?;
        change.tx.commit().await?;
        Ok(Switched::Done { number, made: false })
    }

    /// Deletes a tool with its versions, values and folder. Returns whether it existed.
    pub async fn delete_tool(&self, organization: &OrganizationId, tool: &str) -> Result<bool, Error> {
        let mut change = ToolChange::begin(self, organization, tool).await?;
        if !change.exists().await? {
            change.tx.rollback().await?;
            return Ok(false);
        }
        change.delete().await?;
        change.tx.commit().await?;
        Ok(true)
    }
}

/// A change of one tool. An organization's changes run one after another.
struct ToolChange<'a> {
    tx: Transaction<'static, Any>,
    organization: &'a OrganizationId,
    tool: &'a str,
}

impl<'a> ToolChange<'a> {
    /// Counts the change. The row stays locked until the transaction ends.
    async fn begin(store: &Store, organization: &'a OrganizationId, tool: &'a str) -> Result<Self, Error> {
        let mut tx = store.pool.begin().await?;
        query(
            "INSERT INTO tool_revisions (organization, revision) VALUES ($1, 1) \
             ON CONFLICT (organization) DO UPDATE SET revision = tool_revisions.revision + 1",
        )
        .bind(organization.as_str())
        .execute(&mut *tx)
        .await?;
        Ok(Self { tx, organization, tool })
    }

    async fn exists(&mut self) -> Result<bool, Error> {
        let current = query_scalar::<_, i64>("SELECT current FROM tools WHERE organization = $1 AND name = $2")
            .bind(self.organization.as_str())
            .bind(self.tool)
            .fetch_optional(&mut *self.tx)
            .await?;
        Ok(current.is_some())
    }

    async fn keeps(&mut self, number: i64) -> Result<bool, Error> {
        let sql = "SELECT number FROM tool_versions WHERE organization = $1 AND tool = $2 AND number = $3";
        let kept = query_scalar::<_, i64>(sql)
            .bind(self.organization.as_str())
            .bind(self.tool)
            .bind(number)
            .fetch_optional(&mut *self.tx)
            .await?;
        Ok(kept.is_some())
    }

    async fn create(&mut self) -> Result<(), Error> {
        // A call in progress while an earlier tool of this name was deleted may have created a folder since.
        drop_folder(&mut self.tx, self.organization, self.tool).await?;
        query(
            "INSERT INTO tools (organization, name, current, created_at, updated_at, made) \
             SELECT organization, $2, 0, $3, $3, revision FROM tool_revisions WHERE organization = $1",
        )
        .bind(self.organization.as_str())
        .bind(self.tool)
        .bind(now())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Gives the tool these names and no others. Returns the first name that another tool has, with that tool.
    async fn take_names(&mut self, names: &[String]) -> Result<Option<(String, String)>, Error> {
        query("DELETE FROM tool_names WHERE organization = $1 AND tool = $2")
            .bind(self.organization.as_str())
            .bind(self.tool)
            .execute(&mut *self.tx)
            .await?;
        for name in names {
            let done =
                query("INSERT INTO tool_names (organization, name, tool) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                    .bind(self.organization.as_str())
                    .bind(name.as_str())
                    .bind(self.tool)
                    .execute(&mut *self.tx)
                    .await?;
            if done.rows_affected() == 0 {
                let other = query_scalar("SELECT tool FROM tool_names WHERE organization = $1 AND name = $2")
                    .bind(self.organization.as_str())
                    .bind(name.as_str())
                    .fetch_one(&mut *self.tx)
                    .await?;
                return Ok(Some((name.clone(), other)));
            }
        }
        Ok(None)
    }

    /// Adds a version under the next number.
    async fn insert(&mut self, row: &ToolVersionRow) -> Result<i64, Error> {
        let last: i64 =
            query_scalar("SELECT COALESCE(MAX(number), 0) FROM tool_versions WHERE organization = $1 AND tool = $2")
                .bind(self.organization.as_str())
                .bind(self.tool)
                .fetch_one(&mut *self.tx)
                .await?;
        query(
            "INSERT INTO tool_versions (organization, tool, number, digest, component, grants, limits, warnings, \
             source, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(self.organization.as_str())
        .bind(self.tool)
        .bind(last + 1)
        .bind(row.component.digest.as_str())
        .bind(json(&row.component)?)
        .bind(json(&row.grants)?)
        .bind(json(&row.limits)?)
        .bind(json(&row.warnings)?)
        .bind(row.source.as_str())
        .bind(row.created_at)
        .execute(&mut *self.tx)
        .await?;
        Ok(last + 1)
    }

    async fn serve(&mut self, number: i64) -> Result<(), Error> {
        query("UPDATE tools SET current = $1, updated_at = $2 WHERE organization = $3 AND name = $4")
            .bind(number)
            .bind(now())
            .bind(self.organization.as_str())
            .bind(self.tool)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Deletes the versions up to this number.
    async fn forget_until(&mut self, number: i64) -> Result<(), Error> {
        query("DELETE FROM tool_versions WHERE organization = $1 AND tool = $2 AND number <= $3")
            .bind(self.organization.as_str())
            .bind(self.tool)
            .bind(number)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), Error> {
        for sql in [
            "DELETE FROM tool_names WHERE organization = $1 AND tool = $2",
            "DELETE FROM tool_versions WHERE organization = $1 AND tool = $2",
            "DELETE FROM tools WHERE organization = $1 AND name = $2",
        ] {
            query(sql).bind(self.organization.as_str()).bind(self.tool).execute(&mut *self.tx).await?;
        }
        // The next tool of this name must not find what this one kept.
        let space = Namespace { organization: self.organization, owner: self.tool };
        drop_values(&mut self.tx, &space).await?;
        drop_folder(&mut self.tx, self.organization, self.tool).await
    }
}
