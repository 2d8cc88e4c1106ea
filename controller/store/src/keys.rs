//! API keys: hashes, scopes, and how long and how often each may be used. Never the text of a key.

use cofferdam_contract::OrganizationId;
use cofferdam_core::{OrganizationLimits, Scope, now};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, FromRow, Row, Transaction, query, query_as, query_scalar};

use crate::columns::Columns;
use crate::room::count;
use crate::{Added, Error, Store};

/// Revoked keys of one organization that are kept; older ones are forgotten once nothing names them.
const KEPT_REVOKED: i64 = 1_000;
/// Controllers look for keys that were revoked lately, in seconds: a key is not forgotten before they have.
const MIN_REVOKED_S: i64 = 3_600;
/// The keys that one look for changes reads: of the keys' own, and of their organizations'.
const MAX_CHANGED: i64 = 10_000;
/// The keys whose last use one statement writes.
const MAX_USES_AT_ONCE: usize = 200;

/// A key.
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
    pub terms: KeyTerms,
}

/// The bounds of a key in time and rate, and its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyTerms {
    /// Unix time in seconds.
    pub expires_at: Option<i64>,
    /// Unix time in seconds, up to a minute late.
    pub last_used_at: Option<i64>,
    pub requests_per_minute: Option<u32>,
    /// The id of the key that made it; empty for that of `serve`.
    pub created_by: String,
    /// True for a key that may manage organizations.
    pub operator: bool,
    /// The number of its rotations.
    pub rotations: u32,
    /// The text before the last rotation, in its time of grace or after it.
    pub old: Option<OldText>,
}

/// A text of a key that a rotation has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldText {
    /// SHA-256 in hex.
    pub hash: String,
    /// Unix time in seconds.
    pub expires_at: i64,
}

/// A key with what decides about it besides its own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    pub row: KeyRow,
    pub revoked: bool,
    /// True if the organization is disabled or deleted.
    pub closed: bool,
    pub limits: OrganizationLimits,
}

/// The outcome of changing a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChanged {
    Done,
    /// It is not as the caller has read it, or it was revoked.
    Raced,
    /// It is the last key of its organization with the scope `admin`, and would not be any more.
    LastAdmin,
}

impl FromRow<'_, AnyRow> for KeyRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let old = match (row.try_get("old_hash")?, row.try_get("old_expires_at")?) {
            (Some(hash), Some(expires_at)) => Some(OldText { hash, expires_at }),
            _ => None,
        };
        Ok(Self {
            id: row.try_get("id")?,
            organization: row.id("organization")?,
            name: row.try_get("name")?,
            hash: row.try_get("hash")?,
            scopes: row.try_get("scopes")?,
            created_at: row.try_get("created_at")?,
            terms: KeyTerms {
                expires_at: row.try_get("expires_at")?,
                last_used_at: row.try_get("last_used_at")?,
                requests_per_minute: small(row, "requests_per_minute")?,
                created_by: row.try_get("created_by")?,
                operator: row.flag("operator")?,
                rotations: small(row, "rotations")?.unwrap_or_default(),
                old,
            },
        })
    }
}

impl FromRow<'_, AnyRow> for KeyState {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            row: KeyRow::from_row(row)?,
            revoked: row.try_get::<Option<i64>, _>("revoked_at")?.is_some(),
            closed: row.flag("closed")?,
            limits: OrganizationLimits {
                requests_per_minute: small(row, "all_requests_per_minute")?,
                max_concurrent_runs: small(row, "max_concurrent_runs")?,
                max_concurrent_tasks: small(row, "max_concurrent_tasks")?,
            },
        })
    }
}

/// A small number, or NULL.
pub(crate) fn small(row: &AnyRow, column: &str) -> Result<Option<u32>, sqlx::Error> {
    let value: Option<i64> = row.try_get(column)?;
    Ok(value.map(|value| u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })))
}

/// Selects a [`KeyRow`].
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, organization, name, hash, scopes, created_at, expires_at, last_used_at, requests_per_minute, \
             created_by, operator, rotations, old_hash, old_expires_at FROM api_keys ",
            $which
        )
    };
}

/// Selects a [`KeyState`].
macro_rules! select_state {
    ($which:literal) => {
        concat!(
            "SELECT k.id, k.organization, k.name, k.hash, k.scopes, k.created_at, k.expires_at, k.last_used_at, \
             k.requests_per_minute, k.created_by, k.operator, k.rotations, k.old_hash, k.old_expires_at, k.revoked_at, \
             CASE WHEN o.disabled_at IS NULL AND o.deleted_at IS NULL THEN 0 ELSE 1 END AS closed, \
             o.requests_per_minute AS all_requests_per_minute, o.max_concurrent_runs, o.max_concurrent_tasks \
             FROM api_keys k JOIN organizations o ON o.id = k.organization ",
            $which
        )
    };
}

macro_rules! insert {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO api_keys (id, organization, name, hash, scopes, created_at, expires_at, requests_per_minute, \
             created_by, operator, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ",
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
        .bind(key.terms.expires_at)
        .bind(key.terms.requests_per_minute.map(i64::from))
        .bind(key.terms.created_by.to_string())
        .bind(i64::from(key.terms.operator))
        .bind(now())
}

/// Adds a key within a transaction.
pub(crate) async fn insert_key(tx: &mut Transaction<'static, Any>, key: &KeyRow) -> Result<(), Error> {
    inserting(insert!(""), key).execute(&mut **tx).await?;
    Ok(())
}

/// Returns true if the scopes have `admin`.
fn is_admin(scopes: &str) -> bool {
    scopes.split(',').any(|scope| scope == Scope::Admin.as_str())
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
        insert_key(&mut tx, key).await?;
        tx.commit().await?;
        Ok(Added::Done)
    }

    /// Adds a key without a limit, or replaces hash and scopes of the one with this id. Its sessions stay its own.
    pub async fn put_key(&self, key: &KeyRow) -> Result<(), Error> {
        let sql = insert!(
            "ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes, \
                 operator = excluded.operator, expires_at = excluded.expires_at, changed_at = excluded.changed_at, \
                 revoked_at = NULL"
        );
        inserting(sql, key).execute(&self.pool).await?;
        Ok(())
    }

    /// The key with this hash, or with a text of this hash before its last rotation, whether it is valid or not.
    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<KeyState>, Error> {
        let sql = select_state!("WHERE k.hash = $1 OR k.old_hash = $1");
        Ok(query_as(sql).bind(hash).fetch_optional(&self.pool).await?)
    }

    /// The newest `limit` keys of all organizations that are neither revoked nor their organization's end.
    pub async fn all_keys(&self, limit: i64) -> Result<Vec<KeyState>, Error> {
        let sql = select_state!(
            "WHERE k.revoked_at IS NULL AND o.disabled_at IS NULL AND o.deleted_at IS NULL \
             ORDER BY k.created_at DESC LIMIT $1"
        );
        Ok(query_as(sql).bind(limit).fetch_all(&self.pool).await?)
    }

    /// The keys that were changed since then, themselves or their organization: the newest changes first.
    pub async fn changed_keys(&self, since: i64) -> Result<Vec<KeyState>, Error> {
        let own = select_state!("WHERE k.changed_at >= $1 ORDER BY k.changed_at DESC LIMIT $2");
        let mut keys: Vec<KeyState> = query_as(own).bind(since).bind(MAX_CHANGED).fetch_all(&self.pool).await?;
        let of_organization = select_state!("WHERE o.changed_at >= $1 ORDER BY o.changed_at DESC LIMIT $2");
        keys.extend(
            query_as::<_, KeyState>(of_organization).bind(since).bind(MAX_CHANGED).fetch_all(&self.pool).await?,
        );
        Ok(keys)
    }

    /// An organization's key that is not revoked.
    pub async fn key(&self, organization: &OrganizationId, id: &str) -> Result<Option<KeyRow>, Error> {
        let sql = select!("WHERE organization = $1 AND id = $2 AND revoked_at IS NULL");
        Ok(query_as(sql).bind(organization.as_str()).bind(id).fetch_optional(&self.pool).await?)
    }

    pub async fn keys(&self, organization: &OrganizationId) -> Result<Vec<KeyRow>, Error> {
        let sql = select!("WHERE organization = $1 AND revoked_at IS NULL ORDER BY created_at, id");
        Ok(query_as(sql).bind(organization.as_str()).fetch_all(&self.pool).await?)
    }

    /// Changes a key that is still as `before`, or revokes it (`after` is absent).
    pub async fn change_key(&self, before: &KeyRow, after: Option<&KeyRow>) -> Result<KeyChanged, Error> {
        let mut tx = self.begin_counted(&before.organization).await?;
        let sql = select!("WHERE organization = $1 AND id = $2 AND revoked_at IS NULL");
        let found: Option<KeyRow> =
            query_as(sql).bind(before.organization.as_str()).bind(before.id.as_str()).fetch_optional(&mut *tx).await?;
        let same = found.is_some_and(|mut found| {
            found.terms.last_used_at = before.terms.last_used_at;
            found == *before
        });
        if !same {
            tx.rollback().await?;
            return Ok(KeyChanged::Raced);
        }
        if is_admin(&before.scopes) && !after.is_some_and(|after| is_admin(&after.scopes)) {
            let others: i64 = query_scalar(
                "SELECT COUNT(*) FROM api_keys WHERE organization = $1 AND id <> $2 AND revoked_at IS NULL \
                 AND (expires_at IS NULL OR expires_at > $3) AND (scopes = 'admin' OR scopes LIKE 'admin,%')",
            )
            .bind(before.organization.as_str())
            .bind(before.id.as_str())
            .bind(now())
            .fetch_one(&mut *tx)
            .await?;
            if others == 0 {
                tx.rollback().await?;
                return Ok(KeyChanged::LastAdmin);
            }
        }
        let row = after.unwrap_or(before);
        query(
            "UPDATE api_keys SET name = $1, hash = $2, scopes = $3, expires_at = $4, requests_per_minute = $5, \
             rotations = $6, old_hash = $7, old_expires_at = $8, changed_at = $9, revoked_at = $10 WHERE id = $11",
        )
        .bind(row.name.as_str())
        .bind(row.hash.as_str())
        .bind(row.scopes.as_str())
        .bind(row.terms.expires_at)
        .bind(row.terms.requests_per_minute.map(i64::from))
        .bind(i64::from(row.terms.rotations))
        .bind(row.terms.old.as_ref().map(|old| old.hash.as_str()))
        .bind(row.terms.old.as_ref().map(|old| old.expires_at))
        .bind(now())
        .bind(after.is_none().then(now))
        .bind(row.id.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(KeyChanged::Done)
    }

    /// Notes when keys were used last: each an id and Unix seconds. Older times change nothing.
    pub async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<(), Error> {
        for some in uses.chunks(MAX_USES_AT_ONCE) {
            let pairs: Vec<String> = (0..some.len())
                .map(|n| format!("SELECT CAST(${} AS TEXT), CAST(${} AS BIGINT)", 2 * n + 1, 2 * n + 2))
                .collect();
            let sql = format!(
                "WITH used (id, at) AS ({}) \
                 UPDATE api_keys SET last_used_at = (SELECT used.at FROM used WHERE used.id = api_keys.id) \
                 WHERE EXISTS (SELECT 1 FROM used WHERE used.id = api_keys.id \
                 AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < used.at))",
                pairs.join(" UNION ALL ")
            );
            let mut statement = query(AssertSqlSafe(sql));
            for (id, at) in some {
                statement = statement.bind(id.as_str()).bind(*at);
            }
            statement.execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Revokes a key. Returns whether it existed.
    pub async fn revoke_key(&self, organization: &OrganizationId, id: &str) -> Result<bool, Error> {
        let done = query(
            "UPDATE api_keys SET revoked_at = $1, changed_at = $1 \
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
