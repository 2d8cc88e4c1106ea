//! Secrets as they are kept: names, hosts and a sealed value that this layer cannot open.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{Row, query};

use super::Store;
use crate::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    pub organization: OrganizationId,
    pub name: String,
    /// Patterns, as a JSON list.
    pub hosts: String,
    pub sealed: String,
    pub created_at: i64,
    pub updated_at: i64,
}

fn read(row: &AnyRow) -> Result<SecretRow, Error> {
    let organization: String = row.try_get("organization")?;
    Ok(SecretRow {
        organization: OrganizationId::parse(&organization).map_err(|e| Error::Row(e.to_string()))?,
        name: row.try_get("name")?,
        hosts: row.try_get("hosts")?,
        sealed: row.try_get("sealed")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// Adds a secret or gives it a new value and new hosts; the time of its making stays.
    pub async fn put_secret(&self, row: &SecretRow) -> Result<(), Error> {
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
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn secret(&self, organization: &OrganizationId, name: &str) -> Result<Option<SecretRow>, Error> {
        let row = query(
            "SELECT organization, name, hosts, sealed, created_at, updated_at FROM secrets \
             WHERE organization = $1 AND name = $2",
        )
        .bind(organization.as_str())
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The first `most` secrets of an organization, in the order of their names.
    pub async fn secrets(&self, organization: &OrganizationId, most: i64) -> Result<Vec<SecretRow>, Error> {
        let rows = query(
            "SELECT organization, name, hosts, sealed, created_at, updated_at FROM secrets \
             WHERE organization = $1 ORDER BY name LIMIT $2",
        )
        .bind(organization.as_str())
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    pub async fn count_secrets(&self, organization: &OrganizationId) -> Result<u64, Error> {
        let row = query("SELECT COUNT(*) AS own FROM secrets WHERE organization = $1");
        let row = row.bind(organization.as_str()).fetch_one(&self.pool).await?;
        Ok(super::unsigned(row.try_get("own")?))
    }

    /// Whether there was such a secret to delete.
    pub async fn delete_secret(&self, organization: &OrganizationId, name: &str) -> Result<bool, Error> {
        let done = query("DELETE FROM secrets WHERE organization = $1 AND name = $2")
            .bind(organization.as_str())
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
