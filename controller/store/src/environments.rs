//! Environments: settings, and a sealed part that this crate cannot open.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as};

use crate::columns::Columns;
use crate::room::count;
use crate::{Error, Put, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRow {
    /// Opaque. The sealed part is bound to it.
    pub id: String,
    pub organization: OrganizationId,
    pub name: String,
    /// JSON; empty for the process's own environment.
    pub settings: String,
    pub sealed: String,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for EnvironmentRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            organization: row.id("organization")?,
            name: row.try_get("name")?,
            settings: row.try_get("settings")?,
            sealed: row.try_get("sealed")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl Store {
    /// Adds an environment, unless the organization has `max`; or replaces the settings of the one with this name, whose
    /// `created_at` stays. Returns `None`, and changes nothing, if that one has another id, to which the sealed part is
    /// not bound.
    pub async fn put_environment(&self, row: &EnvironmentRow, max: u64) -> Result<Option<Put>, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        let sql = "SELECT id, created_at FROM environments WHERE organization = $1 AND name = $2";
        let before: Option<(String, i64)> =
            query_as(sql).bind(row.organization.as_str()).bind(row.name.as_str()).fetch_optional(&mut *tx).await?;
        let outcome = match before {
            Some((id, _)) if id != row.id => {
                tx.rollback().await?;
                return Ok(None);
            }
            Some((_, created_at)) => Put::Replaced { created_at },
            None => Put::Added,
        };
        let all = "SELECT COUNT(*) FROM environments WHERE organization = $1";
        if outcome == Put::Added && count(&mut tx, all, &row.organization).await? >= max {
            tx.rollback().await?;
            return Ok(Some(Put::Full));
        }
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
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(outcome))
    }

    pub async fn environment(
        &self,
        organization: &OrganizationId,
        name: &str,
    ) -> Result<Option<EnvironmentRow>, Error> {
        let query = query_as("SELECT * FROM environments WHERE organization = $1 AND name = $2");
        Ok(query.bind(organization.as_str()).bind(name).fetch_optional(&self.pool).await?)
    }

    /// An organization's environments, by name.
    pub async fn environments(&self, organization: &OrganizationId) -> Result<Vec<EnvironmentRow>, Error> {
        let query = query_as("SELECT * FROM environments WHERE organization = $1 ORDER BY name");
        Ok(query.bind(organization.as_str()).fetch_all(&self.pool).await?)
    }

    /// The environments that have agents.
    pub async fn inhabited_environments(&self) -> Result<Vec<(OrganizationId, String)>, Error> {
        let rows = query("SELECT DISTINCT organization, environment FROM agents").fetch_all(&self.pool).await?;
        rows.iter().map(|row: &AnyRow| Ok((row.id("organization")?, row.try_get("environment")?))).collect()
    }

    /// Deletes an environment that has no agents. Returns whether there was one.
    pub async fn delete_environment(&self, organization: &OrganizationId, name: &str) -> Result<bool, Error> {
        // An agent that is being added takes its turn before or after.
        let mut tx = self.begin_counted(organization).await?;
        let done = query(
            "DELETE FROM environments WHERE organization = $1 AND name = $2 AND NOT EXISTS \
             (SELECT 1 FROM agents WHERE agents.organization = $1 AND agents.environment = $2)",
        )
        .bind(organization.as_str())
        .bind(name)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}
