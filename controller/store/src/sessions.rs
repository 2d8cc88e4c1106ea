//! Sessions: the key that owns each, the worker that has it, and when it ends. Its state is the worker's.

use cofferdam_contract::{Grants, Language, Limits, OrganizationId, SessionId};
use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row, Transaction, query, query_as};

use crate::columns::{Columns, json, signed, unsigned};
use crate::{Error, Store};

#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    pub id: SessionId,
    pub organization: OrganizationId,
    /// The id of the key that created it. No other key sees it.
    pub api_key: String,
    pub language: Language,
    /// The name of the worker that has it.
    pub worker: String,
    /// Idle seconds until it ends.
    pub ttl_s: u64,
    pub limits: Limits,
    /// The grants of a run that asks for none itself. The operator's policy is applied to each run again.
    pub grants: Grants,
    pub created_at: i64,
    pub last_used_at: i64,
    /// The end of its life, even if it is used.
    pub ends_at: i64,
}

/// The most sessions of all keys together, and of one key.
#[derive(Debug, Clone, Copy)]
pub struct MaxSessions {
    pub every: u64,
    pub own: u64,
}

/// The outcome of [`Store::insert_sessions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertedSessions {
    Done,
    /// There would be more than are allowed; there are this many.
    Full {
        every: u64,
        own: u64,
    },
}

impl FromRow<'_, AnyRow> for SessionRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id("id")?,
            organization: row.id("organization")?,
            api_key: row.try_get("api_key")?,
            language: row.name("language")?,
            worker: row.try_get("worker")?,
            ttl_s: row.count("ttl_s")?,
            limits: row.json("limits")?,
            grants: row.json("grants")?,
            created_at: row.try_get("created_at")?,
            last_used_at: row.try_get("last_used_at")?,
            ends_at: row.try_get("ends_at")?,
        })
    }
}

/// Selects a [`SessionRow`].
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, organization, api_key, language, worker, ttl_s, limits, grants, created_at, last_used_at, \
             ends_at FROM sessions ",
            $which
        )
    };
}

impl Store {
    /// Adds all of the sessions, which are one key's, or none: an error for an id that is taken.
    pub async fn insert_sessions(&self, rows: &[SessionRow], max: MaxSessions) -> Result<InsertedSessions, Error> {
        let Some(first) = rows.first() else { return Ok(InsertedSessions::Done) };
        // The sessions of all organizations count together, so all take the turn of the same one.
        let mut transaction = self.begin_counted(&OrganizationId::default_organization()).await?;
        let (every, own) = count(&mut transaction, first).await?;
        let more = rows.len() as u64;
        if every.saturating_add(more) > max.every || own.saturating_add(more) > max.own {
            transaction.rollback().await?;
            return Ok(InsertedSessions::Full { every, own });
        }
        for row in rows {
            query(
                "INSERT INTO sessions (id, organization, api_key, language, worker, ttl_s, limits, grants, created_at, \
                 last_used_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            )
            .bind(row.id.as_str())
            .bind(row.organization.as_str())
            .bind(row.api_key.as_str())
            .bind(row.language.as_str())
            .bind(row.worker.as_str())
            .bind(signed(row.ttl_s))
            .bind(json(&row.limits)?)
            .bind(json(&row.grants)?)
            .bind(row.created_at)
            .bind(row.last_used_at)
            .bind(row.ends_at)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(InsertedSessions::Done)
    }

    pub async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, Error> {
        Ok(query_as(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(&self.pool).await?)
    }

    /// The next `limit` sessions of a key after the id `after`, by id.
    pub async fn sessions(
        &self,
        organization: &OrganizationId,
        api_key: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<SessionRow>, Error> {
        let query = query_as(select!("WHERE organization = $1 AND api_key = $2 AND id > $3 ORDER BY id LIMIT $4"));
        let query = query.bind(organization.as_str()).bind(api_key).bind(after).bind(limit);
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// At most `limit` sessions that have been idle for too long or have reached the end of their life.
    pub async fn expired_sessions(&self, now: i64, limit: i64) -> Result<Vec<SessionRow>, Error> {
        let query = query_as(select!("WHERE ends_at <= $1 OR last_used_at + ttl_s <= $1 ORDER BY ends_at LIMIT $2"));
        Ok(query.bind(now).bind(limit).fetch_all(&self.pool).await?)
    }

    /// The next `limit` sessions after the id `after` that were made before `before` and not used since, by id.
    pub async fn unused_sessions(&self, before: i64, after: &str, limit: i64) -> Result<Vec<SessionRow>, Error> {
        let query =
            query_as(select!("WHERE created_at < $1 AND last_used_at = created_at AND id > $2 ORDER BY id LIMIT $3"));
        Ok(query.bind(before).bind(after).bind(limit).fetch_all(&self.pool).await?)
    }

    /// Moves `last_used_at` forward, never back.
    pub async fn touch_sessions(&self, uses: &[(SessionId, i64)]) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        for (id, at) in uses {
            query("UPDATE sessions SET last_used_at = $1 WHERE id = $2 AND last_used_at < $1")
                .bind(*at)
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    pub async fn delete_sessions(&self, ids: &[SessionId]) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        for id in ids {
            query("DELETE FROM sessions WHERE id = $1").bind(id.as_str()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// The number of all sessions, and of those of this one's key.
async fn count(tx: &mut Transaction<'static, Any>, of: &SessionRow) -> Result<(u64, u64), Error> {
    let (every, own) = query_as(
        "SELECT (SELECT COUNT(*) FROM sessions) AS every, \
         (SELECT COUNT(*) FROM sessions WHERE organization = $1 AND api_key = $2) AS own",
    )
    .bind(of.organization.as_str())
    .bind(of.api_key.as_str())
    .fetch_one(&mut **tx)
    .await?;
    Ok((unsigned(every), unsigned(own)))
}
