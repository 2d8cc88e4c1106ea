//! Run tokens: hashes, and the task that each is for. Never the text of a token.

use cofferdam_contract::OrganizationId;
use cofferdam_core::now;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as, query_scalar};

use crate::columns::{Columns, json, signed, unsigned};
use crate::room::count;
use crate::{Added, Error, Store};

/// The ended tokens that one look of a controller reads, the newest. It has read the others before.
const MAX_ENDED: i64 = 10_000;
/// Controllers look for tokens that were ended lately, in seconds: none is forgotten before they have.
const MIN_ENDED_S: i64 = 600;

/// A run token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTokenRow {
    pub id: String,
    pub organization: OrganizationId,
    /// SHA-256 in hex.
    pub hash: String,
    /// The id of the key that made it.
    pub key: String,
    pub agent: String,
    pub task: String,
    /// Patterns of models; absent: all.
    pub models: Option<Vec<String>>,
    pub max_tokens: Option<u64>,
    /// Unix time in seconds.
    pub created_at: i64,
    /// Unix time in seconds.
    pub expires_at: i64,
}

impl FromRow<'_, AnyRow> for RunTokenRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let limited = row.try_get::<Option<String>, _>("models")?.is_some();
        Ok(Self {
            id: row.try_get("id")?,
            organization: row.id("organization")?,
            hash: row.try_get("hash")?,
            key: row.try_get("api_key")?,
            agent: row.try_get("agent")?,
            task: row.try_get("task")?,
            models: limited.then(|| row.json("models")).transpose()?,
            max_tokens: row.try_get::<Option<i64>, _>("max_tokens")?.map(unsigned),
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    }
}

/// Selects living [`RunTokenRow`]s; `$1` is the time.
macro_rules! living {
    ($what:literal, $which:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM run_tokens WHERE ended_at IS NULL AND expires_at > $1 AND EXISTS (SELECT 1 FROM api_keys \
             WHERE api_keys.id = run_tokens.api_key AND api_keys.revoked_at IS NULL) ",
            $which
        )
    };
    ($which:literal) => {
        living!("id, organization, hash, api_key, agent, task, models, max_tokens, created_at, expires_at", $which)
    };
}

impl Store {
    /// Adds a token, unless its organization has `max` living ones.
    pub async fn add_run_token(&self, token: &RunTokenRow, max: u64) -> Result<Added, Error> {
        let mut tx = self.begin_counted(&token.organization).await?;
        let sql = "SELECT COUNT(*) FROM run_tokens WHERE organization = $1 AND ended_at IS NULL";
        // This counts some that are dead, and is cheap; the exact count is rarely needed.
        if count(&mut tx, sql, &token.organization).await? >= max {
            let sql = living!("COUNT(*)", "AND organization = $2");
            let exact: i64 =
                query_scalar(sql).bind(now()).bind(token.organization.as_str()).fetch_one(&mut *tx).await?;
            if unsigned(exact) >= max {
                tx.rollback().await?;
                return Ok(Added::Full);
            }
        }
        query(
            "INSERT INTO run_tokens (id, organization, hash, api_key, agent, task, models, max_tokens, created_at, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(token.id.as_str())
        .bind(token.organization.as_str())
        .bind(token.hash.as_str())
        .bind(token.key.as_str())
        .bind(token.agent.as_str())
        .bind(token.task.as_str())
        .bind(token.models.as_ref().map(json).transpose()?)
        .bind(token.max_tokens.map(signed))
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Added::Done)
    }

    /// The living token with this hash, whose key is not revoked.
    pub async fn run_token_by_hash(&self, hash: &str) -> Result<Option<RunTokenRow>, Error> {
        let sql = living!("AND hash = $2");
        Ok(query_as(sql).bind(now()).bind(hash).fetch_optional(&self.pool).await?)
    }

    /// An organization's living tokens with an id above `after`, in the order of their ids.
    pub async fn run_tokens(
        &self,
        organization: &OrganizationId,
        task: Option<&str>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<RunTokenRow>, Error> {
        // No task has an empty name.
        let sql = living!("AND organization = $2 AND id > $3 AND ($4 = '' OR task = $4) ORDER BY id LIMIT $5");
        let task = task.unwrap_or_default();
        let rows = query_as(sql).bind(now()).bind(organization.as_str()).bind(after).bind(task).bind(limit);
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// Ends a token. Returns false if there is none with this id that lives.
    pub async fn end_run_token(&self, organization: &OrganizationId, id: &str) -> Result<bool, Error> {
        let done = query(
            "UPDATE run_tokens SET ended_at = $1 \
             WHERE organization = $2 AND id = $3 AND ended_at IS NULL AND expires_at > $1",
        )
        .bind(now())
        .bind(organization.as_str())
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends all tokens of a task. Returns their ids.
    pub async fn end_run_tokens_of(&self, organization: &OrganizationId, task: &str) -> Result<Vec<String>, Error> {
        let sql = "UPDATE run_tokens SET ended_at = $1 \
                   WHERE organization = $2 AND task = $3 AND ended_at IS NULL AND expires_at > $1 RETURNING id";
        Ok(query_scalar(sql).bind(now()).bind(organization.as_str()).bind(task).fetch_all(&self.pool).await?)
    }

    /// The ids of tokens that were ended since then, the newest first.
    pub async fn ended_run_tokens(&self, since: i64) -> Result<Vec<String>, Error> {
        let sql = "SELECT id FROM run_tokens WHERE ended_at >= $1 ORDER BY ended_at DESC LIMIT $2";
        Ok(query_scalar(sql).bind(since).bind(MAX_ENDED).fetch_all(&self.pool).await?)
    }

    /// Forgets the tokens that ended or expired some time ago. Returns how many.
    pub async fn sweep_run_tokens(&self) -> Result<u64, Error> {
        let before = now() - MIN_ENDED_S;
        let done = query("DELETE FROM run_tokens WHERE expires_at < $1 OR ended_at < $1")
            .bind(before)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
