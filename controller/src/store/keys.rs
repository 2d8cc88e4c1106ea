//! API keys: hashes and scopes. The key's own text is never here.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{Row, query};

use super::Store;
use crate::Error;
use crate::clock::now;

/// A key that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub id: String,
    pub organization: OrganizationId,
    pub name: String,
    /// SHA-256 in hex.
    pub hash: String,
    /// Names, separated by commas.
    pub scopes: String,
    pub created_at: i64,
}

fn read(row: &AnyRow) -> Result<KeyRow, Error> {
    let organization: String = row.try_get("organization")?;
    Ok(KeyRow {
        id: row.try_get("id")?,
        organization: OrganizationId::parse(&organization).map_err(|e| Error::Row(e.to_string()))?,
        name: row.try_get("name")?,
        hash: row.try_get("hash")?,
        scopes: row.try_get("scopes")?,
        created_at: row.try_get("created_at")?,
    })
}

impl Store {
    /// Adds a key, or gives the one with this id a new hash: the sessions it made stay its own when it is changed.
    pub async fn put_key(&self, key: &KeyRow) -> Result<(), Error> {
        query(
            "INSERT INTO api_keys (id, organization, name, hash, scopes, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes, revoked_at = NULL",
        )
        .bind(key.id.as_str())
        .bind(key.organization.as_str())
        .bind(key.name.as_str())
        .bind(key.hash.as_str())
        .bind(key.scopes.as_str())
        .bind(key.created_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<KeyRow>, Error> {
        let row = query(
            "SELECT id, organization, name, hash, scopes, created_at FROM api_keys \
             WHERE hash = $1 AND revoked_at IS NULL",
        )
        .bind(hash)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The newest `most` keys of every organization, for the cache.
    pub async fn all_keys(&self, most: i64) -> Result<Vec<KeyRow>, Error> {
        let rows = query(
            "SELECT id, organization, name, hash, scopes, created_at FROM api_keys \
             WHERE revoked_at IS NULL ORDER BY created_at DESC LIMIT $1",
        )
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    pub async fn keys(&self, organization: &OrganizationId) -> Result<Vec<KeyRow>, Error> {
        let rows = query(
            "SELECT id, organization, name, hash, scopes, created_at FROM api_keys \
             WHERE organization = $1 AND revoked_at IS NULL ORDER BY created_at, id",
        )
        .bind(organization.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Whether there was such a key to revoke.
    pub async fn revoke_key(&self, organization: &OrganizationId, id: &str) -> Result<bool, Error> {
        let done = query(
            "UPDATE api_keys SET revoked_at = $1 \
             WHERE organization = $2 AND id = $3 AND revoked_at IS NULL",
        )
        .bind(now())
        .bind(organization.as_str())
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
