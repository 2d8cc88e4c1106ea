//! The audit log: what was changed, by whom, and which callers were refused. Entries are added and forgotten, never changed.
//!
//! Never decides what is worth an entry.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Row, query, query_as, query_scalar};

use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// The entries that one statement adds.
const MAX_AT_ONCE: usize = 100;
/// The columns of an entry.
const COLUMNS: usize = 9;
/// The entries that one statement forgets.
const MAX_FORGOTTEN: i64 = 10_000;
/// The pieces in which one sweep of an organization's entries forgets them.
const MAX_PIECES: usize = 100;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Ids are in the order of time.
    pub id: String,
    pub organization: OrganizationId,
    pub at_ms: i64,
    /// The id of the key; empty if it is not known.
    pub key: String,
    pub action: String,
    pub target: String,
    pub outcome: String,
    /// The peer's address; empty if it is not known.
    pub address: String,
    /// JSON.
    pub detail: String,
}

impl FromRow<'_, AnyRow> for AuditRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            organization: row.id("organization")?,
            at_ms: row.try_get("at_ms")?,
            key: row.try_get("api_key")?,
            action: row.try_get("action")?,
            target: row.try_get("target")?,
            outcome: row.try_get("outcome")?,
            address: row.try_get("address")?,
            detail: row.try_get("detail")?,
        })
    }
}

/// Entries to look for. An empty text looks for all.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Only ids above it.
    pub after: String,
    /// Only ids below it.
    pub before: String,
    /// The action, or its first part: `key` finds `key.create`.
    pub action: String,
    pub key: String,
}

impl Store {
    /// Adds entries, once each: one that was added before changes nothing.
    pub async fn add_audit(&self, rows: &[AuditRow]) -> Result<(), Error> {
        for some in rows.chunks(MAX_AT_ONCE) {
            let values: Vec<String> = (0..some.len())
                .map(|row| {
                    let places: Vec<String> =
                        (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
                    format!("({})", places.join(", "))
                })
                .collect();
            let sql = format!(
                "INSERT INTO audit (id, organization, at_ms, api_key, action, target, outcome, address, detail) \
                 VALUES {} ON CONFLICT DO NOTHING",
                values.join(", ")
            );
            let mut statement = query(AssertSqlSafe(sql));
            for row in some {
                statement = statement
                    .bind(row.id.as_str())
                    .bind(row.organization.as_str())
                    .bind(row.at_ms)
                    .bind(row.key.as_str())
                    .bind(row.action.as_str())
                    .bind(row.target.as_str())
                    .bind(row.outcome.as_str())
                    .bind(row.address.as_str())
                    .bind(row.detail.as_str());
            }
            statement.execute(&self.pool).await?;
        }
        Ok(())
    }

    /// An organization's entries, the newest first.
    pub async fn audit(
        &self,
        organization: &OrganizationId,
        query: &AuditQuery,
        limit: i64,
    ) -> Result<Vec<AuditRow>, Error> {
        // Letters, digits, `_` and `.` in an action; `_` finds any letter in a pattern, so the first part is compared.
        let sql = "SELECT id, organization, at_ms, api_key, action, target, outcome, address, detail FROM audit \
                   WHERE organization = $1 AND id > $2 AND ($3 = '' OR id < $3) \
                   AND ($4 = '' OR action = $4 OR SUBSTR(action, 1, LENGTH($4) + 1) = $4 || '.') \
                   AND ($5 = '' OR api_key = $5) ORDER BY id DESC LIMIT $6";
        let rows = query_as(sql)
            .bind(organization.as_str())
            .bind(query.after.as_str())
            .bind(query.before.as_str())
            .bind(query.action.as_str())
            .bind(query.key.as_str())
            .bind(limit);
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// Forgets the entries before a time, and of each organization all but the newest `max` of refused callers, or of all others.
    /// Returns how many.
    pub async fn sweep_audit(&self, before_ms: i64, refused: bool, max: u64) -> Result<u64, Error> {
        let mut forgotten = 0_u64;
        for _ in 0..MAX_PIECES {
            let sql = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_ms < $1 LIMIT $2)";
            let done = query(sql).bind(before_ms).bind(MAX_FORGOTTEN).execute(&self.pool).await?.rows_affected();
            forgotten = forgotten.saturating_add(done);
            if done == 0 {
                break;
            }
        }
        let sql = "SELECT organization FROM audit WHERE CASE WHEN outcome = 'refused' THEN 1 ELSE 0 END = $1 \
                   GROUP BY organization HAVING COUNT(*) > $2";
        let full: Vec<String> =
            query_scalar(sql).bind(i64::from(refused)).bind(signed(max)).fetch_all(&self.pool).await?;
        for organization in full {
            for _ in 0..MAX_PIECES {
                let done = query(
                    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE organization = $1 \
                     AND CASE WHEN outcome = 'refused' THEN 1 ELSE 0 END = $2 AND id <= (SELECT id FROM audit \
                     WHERE organization = $1 AND CASE WHEN outcome = 'refused' THEN 1 ELSE 0 END = $2 \
                     ORDER BY id DESC LIMIT 1 OFFSET $3) LIMIT $4)",
                )
                .bind(organization.as_str())
                .bind(i64::from(refused))
                .bind(signed(max))
                .bind(MAX_FORGOTTEN)
                .execute(&self.pool)
                .await?
                .rows_affected();
                forgotten = forgotten.saturating_add(done);
                if done == 0 {
                    break;
                }
            }
        }
        Ok(forgotten)
    }
}
