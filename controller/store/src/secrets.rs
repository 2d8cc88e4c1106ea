//! Secrets: names, hosts, and a sealed value that this crate cannot open.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as, query_scalar};

use crate::columns::Columns;
use crate::room::count;
use crate::{Error, Put, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    pub organization: OrganizationId,
    pub name: String,
    /// Host patterns, as a JSON list.
    pub hosts: String,
    pub sealed: String,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for SecretRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            organization: row.id("organization")?,
            name: row.try_get("name")?,
            hosts: row.try_get("hosts")?,
            sealed: row.try_get("sealed")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// Selects a [`SecretRow`].
macro_rules! select {
    ($which:literal) => {
        concat!("SELECT organization, name, hosts, sealed, created_at, updated_at FROM secrets ", $which)
    };
}

impl Store {
    /// Adds a secret, unless the organization has `max`; or replaces value and hosts of the one with this name, whose
    /// `created_at` stays.
    pub async fn put_secret(&self, row: &SecretRow, max: u64) -> Result<Put, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        let before: Option<i64> = query_scalar("SELECT created_at FROM secrets WHERE organization = $1 AND name = $2")
            .bind(row.organization.as_str())
            .bind(row.name.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let all = "SELECT COUNT(*) FROM secrets WHERE organization = $1";
        if before.is_none() && count(&mut tx, all, &row.organization).await? >= max {
            tx.rollback().await?;
            return Ok(Put::Full);
        }
        query(
            "INSERT INTO secrets (organization, name, hosts, sealed, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, name) DO UPDATE SET hosts = excluded.hosts, \
             sealed = excluded.sealed, updated_at = excluded.updated_at",
        )
        .bind(row.organization.as_str())
        .bind(row.name.as_str())
        .bind(row.hosts.as_str())
        .bind(row.sealed.as_str())
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(before.map_or(Put::Added, |created_at| Put::Replaced { created_at }))
    }

    pub async fn secret(&self, organization: &OrganizationId, name: &str) -> Result<Option<SecretRow>, Error> {
        let sql = select!("WHERE organization = $1 AND name = $2");
        Ok(query_as(sql).bind(organization.as_str()).bind(name).fetch_optional(&self.pool).await?)
    }

    /// The first `limit` secrets of an organization, by name.
    pub async fn secrets(&self, organization: &OrganizationId, limit: i64) -> Result<Vec<SecretRow>, Error> {
        let sql = select!("WHERE organization = $1 ORDER BY name LIMIT $2");
        Ok(query_as(sql).bind(organization.as_str()).bind(limit).fetch_all(&self.pool).await?)
    }

    /// Some secrets of all organizations, the newest first.
    pub async fn some_secrets(&self, limit: i64) -> Result<Vec<SecretRow>, Error> {
        let sql = select!("ORDER BY updated_at DESC, name LIMIT $1");
        Ok(query_as(sql).bind(limit).fetch_all(&self.pool).await?)
    }

    /// Deletes a secret. Returns whether it existed.
    pub async fn delete_secret(&self, organization: &OrganizationId, name: &str) -> Result<bool, Error> {
        let done = query("DELETE FROM secrets WHERE organization = $1 AND name = $2")
            .bind(organization.as_str())
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
