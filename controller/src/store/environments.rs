//! Environments as they are kept: settings, and a sealed part that this layer cannot open.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{Row, query};

use super::{Store, unsigned};
use crate::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRow {
    /// Opaque; what its sealed part is bound to.
    pub id: String,
    pub organization: OrganizationId,
    pub name: String,
    /// JSON; empty for the process's own.
    pub settings: String,
    pub sealed: String,
    pub created_at: i64,
    pub updated_at: i64,
}

fn read(row: &AnyRow) -> Result<EnvironmentRow, Error> {
    let organization: String = row.try_get("organization")?;
    Ok(EnvironmentRow {
        id: row.try_get("id")?,
        organization: OrganizationId::parse(&organization).map_err(|e| Error::Row(e.to_string()))?,
        name: row.try_get("name")?,
        settings: row.try_get("settings")?,
        sealed: row.try_get("sealed")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// Adds an environment, or gives the one of that name other settings; its id and the time of its making stay.
    pub async fn put_environment(&self, row: &EnvironmentRow) -> Result<(), Error> {
        query(
            "INSERT INTO environments (id, organization, name, settings, sealed, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (organization, name) DO UPDATE SET \
             settings = excluded.settings, sealed = excluded.sealed, updated_at = excluded.updated_at",
        )
        .bind(row.id.as_str())
        .bind(row.organization.as_str())
        .bind(row.name.as_str())
        .bind(row.settings.as_str())
        .bind(row.sealed.as_str())
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn environment(
        &self,
        organization: &OrganizationId,
        name: &str,
    ) -> Result<Option<EnvironmentRow>, Error> {
        let row = query("SELECT * FROM environments WHERE organization = $1 AND name = $2")
            .bind(organization.as_str())
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    pub async fn environments(&self, organization: &OrganizationId) -> Result<Vec<EnvironmentRow>, Error> {
        let rows = query("SELECT * FROM environments WHERE organization = $1 ORDER BY name")
            .bind(organization.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// Organizations and environments that have agents.
    pub async fn inhabited_environments(&self) -> Result<Vec<(OrganizationId, String)>, Error> {
        let rows = query("SELECT DISTINCT organization, environment FROM agents").fetch_all(&self.pool).await?;
        let read = |row: &AnyRow| {
            let organization: String = row.try_get("organization")?;
            let organization = OrganizationId::parse(&organization).map_err(|e| Error::Row(e.to_string()))?;
            Ok((organization, row.try_get("environment")?))
        };
        rows.iter().map(read).collect()
    }

    pub async fn count_environments(&self, organization: &OrganizationId) -> Result<u64, Error> {
        let row = query("SELECT COUNT(*) AS own FROM environments WHERE organization = $1")
            .bind(organization.as_str())
            .fetch_one(&self.pool)
            .await?;
        Ok(unsigned(row.try_get("own")?))
    }

    /// Deletes an environment that no agent is in; whether there was such a one.
    pub async fn delete_environment(&self, organization: &OrganizationId, name: &str) -> Result<bool, Error> {
        let done = query(
            "DELETE FROM environments WHERE organization = $1 AND name = $2 AND NOT EXISTS \
             (SELECT 1 FROM agents WHERE agents.organization = $1 AND agents.environment = $2)",
        )
        .bind(organization.as_str())
        .bind(name)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
