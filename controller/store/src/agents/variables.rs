//! Variables of all of an organization's agents. They are sealed; this crate cannot open them.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as};

use crate::room::count;
use crate::{Error, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableRow {
    pub name: String,
    pub sealed: String,
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for VariableRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self { name: row.try_get("name")?, sealed: row.try_get("sealed")?, updated_at: row.try_get("updated_at")? })
    }
}

impl Store {
    /// Sets and deletes variables, all or none. Returns false, and changes nothing, if there would be more than
    /// `limit`.
    pub async fn sync_variables(
        &self,
        organization: &OrganizationId,
        set: &[VariableRow],
        delete: &[String],
        limit: u64,
    ) -> Result<bool, Error> {
        let mut tx = self.begin_counted(organization).await?;
        for name in delete {
            query("DELETE FROM agent_variables WHERE organization = $1 AND name = $2")
                .bind(organization.as_str())
                .bind(name.as_str())
                .execute(&mut *tx)
                .await?;
        }
        for row in set {
            query(
                "INSERT INTO agent_variables (organization, name, sealed, updated_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (organization, name) DO UPDATE SET sealed = excluded.sealed, \
                 updated_at = excluded.updated_at",
            )
            .bind(organization.as_str())
            .bind(row.name.as_str())
            .bind(row.sealed.as_str())
            .bind(row.updated_at)
            .execute(&mut *tx)
            .await?;
        }
        let all = "SELECT COUNT(*) FROM agent_variables WHERE organization = $1";
        if !set.is_empty() && count(&mut tx, all, organization).await? > limit {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// An organization's variables, by name.
    pub async fn variables(&self, organization: &OrganizationId) -> Result<Vec<VariableRow>, Error> {
        let query =
            query_as("SELECT name, sealed, updated_at FROM agent_variables WHERE organization = $1 ORDER BY name");
        Ok(query.bind(organization.as_str()).fetch_all(&self.pool).await?)
    }
}
