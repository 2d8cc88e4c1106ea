//! Named snapshots: whose they are and under which key the worker keeps them.

use cofferdam_contract::{Language, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{Row, query};

use super::sessions::language;
use super::{Store, signed, unsigned};
use crate::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub organization: OrganizationId,
    /// The id of the key that made it; no other key sees it.
    pub api_key: String,
    /// Unique for the key.
    pub name: String,
    /// What the worker calls it.
    pub worker_key: String,
    pub language: Language,
    pub worker: String,
    /// The kernel that made it, as `name version`.
    pub kernel: String,
    pub size_bytes: u64,
    pub created_at: i64,
}

fn read(row: &AnyRow) -> Result<SnapshotRow, Error> {
    let organization: String = row.try_get("organization")?;
    Ok(SnapshotRow {
        organization: OrganizationId::parse(&organization).map_err(|e| Error::Row(e.to_string()))?,
        api_key: row.try_get("api_key")?,
        name: row.try_get("name")?,
        worker_key: row.try_get("worker_key")?,
        language: language(row.try_get("language")?)?,
        worker: row.try_get("worker")?,
        kernel: row.try_get("kernel")?,
        size_bytes: unsigned(row.try_get("size_bytes")?),
        created_at: row.try_get("created_at")?,
    })
}

impl Store {
    /// Whether the name was free and is now taken.
    pub async fn insert_snapshot(&self, row: &SnapshotRow) -> Result<bool, Error> {
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
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn set_snapshot_size(&self, worker_key: &str, size_bytes: u64) -> Result<(), Error> {
        query("UPDATE snapshots SET size_bytes = $1 WHERE worker_key = $2")
            .bind(signed(size_bytes))
            .bind(worker_key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn snapshot(
        &self,
        organization: &OrganizationId,
        api_key: &str,
        name: &str,
    ) -> Result<Option<SnapshotRow>, Error> {
        let row = query(
            "SELECT organization, api_key, name, worker_key, language, worker, kernel, size_bytes, created_at \
             FROM snapshots WHERE organization = $1 AND api_key = $2 AND name = $3",
        )
        .bind(organization.as_str())
        .bind(api_key)
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// A key's snapshots by name, at most 1,000.
    pub async fn snapshots(&self, organization: &OrganizationId, api_key: &str) -> Result<Vec<SnapshotRow>, Error> {
        let rows = query(
            "SELECT organization, api_key, name, worker_key, language, worker, kernel, size_bytes, created_at \
             FROM snapshots WHERE organization = $1 AND api_key = $2 ORDER BY name LIMIT 1000",
        )
        .bind(organization.as_str())
        .bind(api_key)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    pub async fn delete_snapshot(&self, worker_key: &str) -> Result<(), Error> {
        query("DELETE FROM snapshots WHERE worker_key = $1").bind(worker_key).execute(&self.pool).await?;
        Ok(())
    }
}
