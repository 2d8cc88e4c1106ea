//! Sessions: who owns them, where they are and when they end. Their state is the worker's.

use cofferdam_contract::{Grants, Language, Limits, OrganizationId, SessionId};
use sqlx::any::AnyRow;
use sqlx::{Row, query};

use super::{Store, signed, unsigned};
use crate::Error;

#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    pub id: SessionId,
    pub organization: OrganizationId,
    /// The id of the key that made it; no other key sees it.
    pub api_key: String,
    pub language: Language,
    /// The name of the worker that has it.
    pub worker: String,
    /// Idle seconds until it ends.
    pub ttl_s: u64,
    pub limits: Limits,
    /// Of every run that asks for nothing itself; the operator's policy is applied anew to each.
    pub grants: Grants,
    pub created_at: i64,
    pub last_used_at: i64,
    /// When it ends however much it is used.
    pub ends_at: i64,
}

fn text_of<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Row(e.to_string()))
}

/// A language is stored as its bare name.
pub(super) fn language(name: String) -> Result<Language, Error> {
    serde_json::from_value(serde_json::Value::String(name)).map_err(|e| Error::Row(e.to_string()))
}

fn read(row: &AnyRow) -> Result<SessionRow, Error> {
    let id: String = row.try_get("id")?;
    let organization: String = row.try_get("organization")?;
    let (limits, grants): (String, String) = (row.try_get("limits")?, row.try_get("grants")?);
    Ok(SessionRow {
        id: SessionId::parse(&id).map_err(|e| Error::Row(e.to_string()))?,
        organization: OrganizationId::parse(&organization).map_err(|e| Error::Row(e.to_string()))?,
        api_key: row.try_get("api_key")?,
        language: language(row.try_get("language")?)?,
        worker: row.try_get("worker")?,
        ttl_s: unsigned(row.try_get("ttl_s")?),
        limits: serde_json::from_str(&limits).map_err(|e| Error::Row(e.to_string()))?,
        grants: serde_json::from_str(&grants).map_err(|e| Error::Row(e.to_string()))?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        ends_at: row.try_get("ends_at")?,
    })
}

impl Store {
    /// Writes all of them or none.
    pub async fn insert_sessions(&self, rows: &[SessionRow]) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
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
            .bind(text_of(&row.limits)?)
            .bind(text_of(&row.grants)?)
            .bind(row.created_at)
            .bind(row.last_used_at)
            .bind(row.ends_at)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    pub async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, Error> {
        let row = query(
            "SELECT id, organization, api_key, language, worker, ttl_s, limits, grants, created_at, last_used_at, \
             ends_at FROM sessions WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// A page of a key's sessions in the order of their ids, after `after`.
    pub async fn sessions(
        &self,
        organization: &OrganizationId,
        api_key: &str,
        after: &str,
        most: i64,
    ) -> Result<Vec<SessionRow>, Error> {
        let rows = query(
            "SELECT id, organization, api_key, language, worker, ttl_s, limits, grants, created_at, last_used_at, \
             ends_at FROM sessions WHERE organization = $1 AND api_key = $2 AND id > $3 ORDER BY id LIMIT $4",
        )
        .bind(organization.as_str())
        .bind(api_key)
        .bind(after)
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// How many sessions there are: of all keys, and of this one.
    pub async fn count_sessions(&self, organization: &OrganizationId, api_key: &str) -> Result<(u64, u64), Error> {
        let row = query(
            "SELECT (SELECT COUNT(*) FROM sessions) AS every, \
             (SELECT COUNT(*) FROM sessions WHERE organization = $1 AND api_key = $2) AS own",
        )
        .bind(organization.as_str())
        .bind(api_key)
        .fetch_one(&self.pool)
        .await?;
        Ok((unsigned(row.try_get("every")?), unsigned(row.try_get("own")?)))
    }

    /// Sessions whose idle time or life is over, at most `most`.
    pub async fn expired_sessions(&self, now: i64, most: i64) -> Result<Vec<SessionRow>, Error> {
        let rows = query(
            "SELECT id, organization, api_key, language, worker, ttl_s, limits, grants, created_at, last_used_at, \
             ends_at FROM sessions WHERE ends_at <= $1 OR last_used_at + ttl_s <= $1 ORDER BY ends_at LIMIT $2",
        )
        .bind(now)
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
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
