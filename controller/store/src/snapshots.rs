//! Named snapshots: the key that owns each, and the name under which its worker keeps it.

use cofferdam_contract::{Language, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as, query_scalar};

use crate::columns::{Columns, signed, unsigned};
use crate::{Added, Error, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub organization: OrganizationId,
    /// The id of the key that created it. No other key sees it.
    pub api_key: String,
    /// Unique for the key.
    pub name: String,
    /// The worker's name for it.
    pub worker_key: String,
    pub language: Language,
    pub worker: String,
    /// The kernel that made it, as `name version`.
    pub kernel: String,
    pub size_bytes: u64,
    pub created_at: i64,
}

impl FromRow<'_, AnyRow> for SnapshotRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            organization: row.id("organization")?,
            api_key: row.try_get("api_key")?,
            name: row.try_get("name")?,
            worker_key: row.try_get("worker_key")?,
            language: row.name("language")?,
            worker: row.try_get("worker")?,
            kernel: row.try_get("kernel")?,
            size_bytes: row.count("size_bytes")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// Selects a [`SnapshotRow`].
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT organization, api_key, name, worker_key, language, worker, kernel, size_bytes, created_at \
             FROM snapshots ",
            $which
        )
    };
}

impl Store {
    /// Adds a snapshot, unless its name is taken or its key has `max`.
    pub async fn insert_snapshot(&self, row: &SnapshotRow, max: u64) -> Result<Added, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        let own: i64 = query_scalar("SELECT COUNT(*) FROM snapshots WHERE organization = $1 AND api_key = $2")
            .bind(row.organization.as_str())
            .bind(row.api_key.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let done = query(
            "INSERT INTO snapshots (organization, api_key, name, worker_key, language, worker, kernel, \
             size_bytes, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .bind(row.organization.as_str())
        .bind(row.api_key.as_str())
        .bind(row.name.as_str())
        .bind(row.worker_key.as_str())
        .bind(row.language.as_str())
        .bind(row.worker.as_str())
        .bind(row.kernel.as_str())
        .bind(signed(row.size_bytes))
        .bind(row.created_at)
        .execute(&mut *tx)
        .await?;
        let outcome = match done.rows_affected() {
            0 => Added::Taken,
            _ if unsigned(own) >= max => Added::Full,
            _ => Added::Done,
        };
        if outcome == Added::Done {
            tx.commit().await?
        } else {
            tx.rollback().await?
        }
        Ok(outcome)
    }

    /// Returns whether the snapshot was not deleted meanwhile.
    pub async fn set_snapshot_size(&self, worker_key: &str, size_bytes: u64) -> Result<bool, Error> {
        let done = query("UPDATE snapshots SET size_bytes = $1 WHERE worker_key = $2")
            .bind(signed(size_bytes))
            .bind(worker_key)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// At most `limit` snapshots that nobody sees any more: their keys are revoked.
    pub async fn orphaned_snapshots(&self, limit: i64) -> Result<Vec<SnapshotRow>, Error> {
        let sql = select!("WHERE api_key IN (SELECT id FROM api_keys WHERE revoked_at IS NOT NULL) LIMIT $1");
        Ok(query_as(sql).bind(limit).fetch_all(&self.pool).await?)
    }

    pub async fn snapshot(
        &self,
        organization: &OrganizationId,
        api_key: &str,
        name: &str,
    ) -> Result<Option<SnapshotRow>, Error> {
        let query = query_as(select!("WHERE organization = $1 AND api_key = $2 AND name = $3"));
        let query = query.bind(organization.as_str()).bind(api_key).bind(name);
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// A key's snapshots by name, at most 1,000.
    pub async fn snapshots(&self, organization: &OrganizationId, api_key: &str) -> Result<Vec<SnapshotRow>, Error> {
        let query = query_as(select!("WHERE organization = $1 AND api_key = $2 ORDER BY name LIMIT 1000"));
        Ok(query.bind(organization.as_str()).bind(api_key).fetch_all(&self.pool).await?)
    }

    pub async fn delete_snapshot(&self, worker_key: &str) -> Result<(), Error> {
        query("DELETE FROM snapshots WHERE worker_key = $1").bind(worker_key).execute(&self.pool).await?;
        Ok(())
    }
}
