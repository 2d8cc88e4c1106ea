//! Organizations: made, bounded, disabled and deleted, and the one that the first start creates.
//!
//! Never decides who may do that, and never gives a deleted organization's id to another one.

use cofferdam_contract::OrganizationId;
use cofferdam_core::{OrganizationLimits, now};
use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row, Transaction, query, query_as, query_scalar};

use crate::columns::{Columns, unsigned};
use crate::keys::{insert_key, small};
use crate::room::{count, take_turn};
use crate::{Added, Error, KeyRow, Store};

/// The environment that every organization has.
pub(crate) const LOCAL_ENVIRONMENT: &str = "local";

/// An organization that is not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationRow {
    pub id: OrganizationId,
    /// The name that people read; empty if there is none besides the id.
    pub name: String,
    pub limits: OrganizationLimits,
    /// Unix time in seconds.
    pub disabled_at: Option<i64>,
    pub created_at: i64,
}

impl FromRow<'_, AnyRow> for OrganizationRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let id: OrganizationId = row.id("id")?;
        let name: String = row.try_get("display_name")?;
        Ok(Self {
            // Organizations of older versions have none.
            name: if name.is_empty() { id.as_str().to_owned() } else { name },
            id,
            limits: OrganizationLimits {
                requests_per_minute: small(row, "requests_per_minute")?,
                max_concurrent_runs: small(row, "max_concurrent_runs")?,
                max_concurrent_tasks: small(row, "max_concurrent_tasks")?,
            },
            disabled_at: row.try_get("disabled_at")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// The things of an organization that run or are kept for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Running {
    /// Container agents that are not stopped.
    pub agents: u64,
    pub sessions: u64,
    /// Tasks that have not ended.
    pub tasks: u64,
}

impl Running {
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// The outcome of deleting an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationDeleted {
    Done,
    Missing,
    /// Things of it run.
    Busy(Running),
}

/// Selects an [`OrganizationRow`].
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, display_name, requests_per_minute, max_concurrent_runs, max_concurrent_tasks, disabled_at, \
             created_at FROM organizations WHERE deleted_at IS NULL ",
            $which
        )
    };
}

impl Store {
    /// Creates the organization `default` with its environment `local`, if they do not exist.
    pub(crate) async fn ensure_default_organization(&self) -> Result<(), Error> {
        let organization = OrganizationId::default_organization();
        self.ensure_organization(&organization).await?;
        query(
            "INSERT INTO environments (id, organization, name, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(LOCAL_ENVIRONMENT)
        .bind(organization.as_str())
        .bind(LOCAL_ENVIRONMENT)
        .bind(now())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Creates an organization, if it does not exist.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ensure_organization(&self, organization: &OrganizationId) -> Result<(), Error> {
        query("INSERT INTO organizations (id, name, created_at) VALUES ($1, $1, $2) ON CONFLICT DO NOTHING")
            .bind(organization.as_str())
            .bind(now())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Adds an organization with its first key, unless its id was ever used, or there are `max`.
    pub async fn add_organization(&self, row: &OrganizationRow, key: &KeyRow, max: u64) -> Result<Added, Error> {
        let mut tx = self.pool.begin().await?;
        take_turn(&mut tx, &OrganizationId::default_organization()).await?;
        let sql = "SELECT COUNT(*) FROM organizations WHERE deleted_at IS NULL";
        let there: i64 = query_scalar(sql).fetch_one(&mut *tx).await?;
        if unsigned(there) >= max {
            tx.rollback().await?;
            return Ok(Added::Full);
        }
        let done = query(
            "INSERT INTO organizations (id, name, created_at, display_name, requests_per_minute, max_concurrent_runs, \
             max_concurrent_tasks) VALUES ($1, $1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(row.id.as_str())
        .bind(row.created_at)
        .bind(row.name.as_str())
        .bind(row.limits.requests_per_minute.map(i64::from))
        .bind(row.limits.max_concurrent_runs.map(i64::from))
        .bind(row.limits.max_concurrent_tasks.map(i64::from))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(Added::Taken);
        }
        insert_key(&mut tx, key).await?;
        tx.commit().await?;
        Ok(Added::Done)
    }

    pub async fn organization(&self, id: &OrganizationId) -> Result<Option<OrganizationRow>, Error> {
        Ok(query_as(select!("AND id = $1")).bind(id.as_str()).fetch_optional(&self.pool).await?)
    }

    /// The organizations with an id above `after`, in the order of their ids.
    pub async fn organizations(&self, after: &str, limit: i64) -> Result<Vec<OrganizationRow>, Error> {
        let sql = select!("AND id > $1 ORDER BY id LIMIT $2");
        Ok(query_as(sql).bind(after).bind(limit).fetch_all(&self.pool).await?)
    }

    /// Writes an organization's name, limits, and since when it is disabled. Returns false if there is none.
    pub async fn change_organization(&self, row: &OrganizationRow) -> Result<bool, Error> {
        let done = query(
            "UPDATE organizations SET display_name = $1, requests_per_minute = $2, max_concurrent_runs = $3, \
             max_concurrent_tasks = $4, disabled_at = $5, changed_at = $6 WHERE id = $7 AND deleted_at IS NULL",
        )
        .bind(row.name.as_str())
        .bind(row.limits.requests_per_minute.map(i64::from))
        .bind(row.limits.max_concurrent_runs.map(i64::from))
        .bind(row.limits.max_concurrent_tasks.map(i64::from))
        .bind(row.disabled_at)
        .bind(now())
        .bind(row.id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes an organization: its keys and run tokens end, its secrets, models' settings, connectors and their logins are gone. With
    /// `force` its agents are taken down and its sessions end; without it nothing happens while any of these or tasks run. Tasks are
    /// stopped by [`Store::close_tasks`].
    pub async fn delete_organization(&self, id: &OrganizationId, force: bool) -> Result<OrganizationDeleted, Error> {
        let mut tx = self.begin_counted(id).await?;
        let exists: i64 = query_scalar("SELECT COUNT(*) FROM organizations WHERE id = $1 AND deleted_at IS NULL")
            .bind(id.as_str())
            .fetch_one(&mut *tx)
            .await?;
        if exists == 0 {
            tx.rollback().await?;
            return Ok(OrganizationDeleted::Missing);
        }
        let running = running(&mut tx, id).await?;
        if running.any() && !force {
            tx.rollback().await?;
            return Ok(OrganizationDeleted::Busy(running));
        }
        for sql in [
            "UPDATE organizations SET deleted_at = $2, changed_at = $2 WHERE id = $1",
            "UPDATE api_keys SET revoked_at = $2, changed_at = $2 WHERE organization = $1 AND revoked_at IS NULL",
            "UPDATE run_tokens SET ended_at = $2 WHERE organization = $1 AND ended_at IS NULL",
            "UPDATE sessions SET ends_at = $2 WHERE organization = $1 AND ends_at > $2",
            "UPDATE agents SET wanted = 'delete', active = 1, dirty = dirty + 1, updated_at = $2 \
             WHERE organization = $1 AND wanted IN ('run', 'stop')",
        ] {
            query(sql).bind(id.as_str()).bind(now()).execute(&mut *tx).await?;
        }
        for sql in [
            "DELETE FROM secrets WHERE organization = $1",
            "DELETE FROM model_settings WHERE organization = $1",
            "DELETE FROM connector_logins WHERE organization = $1",
            "DELETE FROM connector_tokens WHERE organization = $1",
            "DELETE FROM connector_clients WHERE organization = $1",
            "DELETE FROM connectors WHERE organization = $1",
        ] {
            query(sql).bind(id.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(OrganizationDeleted::Done)
    }
}

async fn running(tx: &mut Transaction<'static, Any>, id: &OrganizationId) -> Result<Running, Error> {
    let sessions: i64 = query_scalar(
        "SELECT COUNT(*) FROM sessions WHERE organization = $1 AND ends_at > $2 AND last_used_at + ttl_s > $2",
    )
    .bind(id.as_str())
    .bind(now())
    .fetch_one(&mut **tx)
    .await?;
    let agents = "SELECT COUNT(*) FROM agents WHERE organization = $1 AND wanted = 'run'";
    let tasks = "SELECT COUNT(*) FROM tasks WHERE organization = $1 AND status IN ('pending', 'executing', 'paused')";
    Ok(Running {
        agents: count(tx, agents, id).await?,
        sessions: unsigned(sessions),
        tasks: count(tx, tasks, id).await?,
    })
}
