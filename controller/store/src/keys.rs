//! API keys: hashes and scopes. Never the text of a key.

use cofferdam_contract::OrganizationId;
use cofferdam_core::now;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, FromRow, Row, query, query_as, query_scalar};

use crate::columns::Columns;
use crate::room::count;
use crate::{Added, Error, Store};

/// Revoked keys of one organization that are kept; older ones are forgotten once nothing names them.
const KEPT_REVOKED: i64 = 1_000;
/// Controllers look for keys that were revoked lately, in seconds: a key is not forgotten before they have.
const MIN_REVOKED_S: i64 = 3_600;

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

impl FromRow<'_, AnyRow> for KeyRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            organization: row.id("organization")?,
            name: row.try_get("name")?,
            hash: row.try_get("hash")?,
            scopes: row.try_get("scopes")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// Selects a [`KeyRow`].
macro_rules! select {
    ($which:literal) => {
        concat!("SELECT id, organization, name, hash, scopes, created_at FROM api_keys ", $which)
    };
}

macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO api_keys (id, organization, name, hash, scopes, created_at) VALUES ($1, $2, $3, $4, $5, $6) ",
            $conflict
        )
    };
}

/// A statement of `insert!` with the key's values.
fn inserting<'q>(sql: &'static str, key: &KeyRow) -> Query<'q, Any, AnyArguments> {
    query(sql)
        .bind(key.id.to_string())
        .bind(key.organization.to_string())
        .bind(key.name.to_string())
        .bind(key.hash.to_string())
        .bind(key.scopes.to_string())
        .bind(key.created_at)
}

impl Store {
    /// Adds a key, unless its organization has `max` that are not revoked.
    pub async fn add_key(&self, key: &KeyRow, max: u64) -> Result<Added, Error> {
        let mut tx = self.begin_counted(&key.organization).await?;
        let sql = "SELECT COUNT(*) FROM api_keys WHERE organization = $1 AND revoked_at IS NULL";
        if count(&mut tx, sql, &key.organization).await? >= max {
            tx.rollback().await?;
            return Ok(Added::Full);
        }
        query(
            "DELETE FROM api_keys WHERE organization = $1 AND revoked_at < $2 \
             AND id NOT IN (SELECT id FROM api_keys WHERE organization = $1 AND revoked_at IS NOT NULL \
             ORDER BY revoked_at DESC, id LIMIT $3) \
             AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.api_key = api_keys.id) \
             AND NOT EXISTS (SELECT 1 FROM snapshots WHERE snapshots.api_key = api_keys.id)",
        )
        .bind(key.organization.as_str())
        .bind(now() - MIN_REVOKED_S)
        .bind(KEPT_REVOKED)
        .execute(&mut *tx)
        .await?;
        inserting(insert!(""), key).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Added::Done)
    }

    /// Adds a key without a limit, or replaces hash and scopes of the one with this id. Its sessions stay its own.
    pub async fn put_key(&self, key: &KeyRow) -> Result<(), Error> {
        let sql =
            insert!("ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes, revoked_at = NULL");
        inserting(sql, key).execute(&self.pool).await?;
        Ok(())
    }

    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<KeyRow>, Error> {
        let sql = select!("WHERE hash = $1 AND revoked_at IS NULL");
        Ok(query_as(sql).bind(hash).fetch_optional(&self.pool).await?)
    }

    /// The newest `limit` keys of all organizations.
    pub async fn all_keys(&self, limit: i64) -> Result<Vec<KeyRow>, Error> {
        let sql = select!("WHERE revoked_at IS NULL ORDER BY created_at DESC LIMIT $1");
        Ok(query_as(sql).bind(limit).fetch_all(&self.pool).await?)
    }

    pub async fn keys(&self, organization: &OrganizationId) -> Result<Vec<KeyRow>, Error> {
        let sql = select!("WHERE organization = $1 AND revoked_at IS NULL ORDER BY created_at, id");
        Ok(query_as(sql).bind(organization.as_str()).fetch_all(&self.pool).await?)
    }

    /// The ids of keys that were revoked since then.
    pub async fn revoked_keys(&self, since: i64) -> Result<Vec<String>, Error> {
        let sql = "SELECT id FROM api_keys WHERE revoked_at >= $1";
        Ok(query_scalar(sql).bind(since).fetch_all(&self.pool).await?)
    }

    /// Revokes a key. Returns whether it existed.
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
