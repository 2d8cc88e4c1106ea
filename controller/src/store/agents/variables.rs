//! Variables that every agent of an organization gets. Sealed; this layer cannot open them.

use cofferdam_contract::OrganizationId;
use sqlx::{Row, query};

use crate::Error;
use crate::store::{Store, unsigned};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableRow {
    pub name: String,
    pub sealed: String,
    pub updated_at: i64,
}

impl Store {
    /// Sets and deletes variables, all of it or nothing, unless there would be more than `most`. Whether it was done.
    pub async fn sync_variables(
        &self,
        organization: &OrganizationId,
        set: &[VariableRow],
        delete: &[String],
        most: u64,
    ) -> Result<bool, Error> {
        let mut tx = self.pool.begin().await?;
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
        let count = query("SELECT COUNT(*) AS own FROM agent_variables WHERE organization = $1")
            .bind(organization.as_str())
            .fetch_one(&mut *tx)
            .await?;
        if unsigned(count.try_get("own")?) > most && !set.is_empty() {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    pub async fn variables(&self, organization: &OrganizationId) -> Result<Vec<VariableRow>, Error> {
        let rows = query("SELECT name, sealed, updated_at FROM agent_variables WHERE organization = $1 ORDER BY name")
            .bind(organization.as_str())
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(VariableRow {
                name: row.try_get("name")?,
                sealed: row.try_get("sealed")?,
                updated_at: row.try_get("updated_at")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
