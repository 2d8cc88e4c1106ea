//! Idempotency keys: a request that carries one is carried out once, however often it comes.

use cofferdam_contract::OrganizationId;
use sqlx::{Any, Row, Transaction, query};

use super::number;
use crate::Error;
use crate::clock::now;
use crate::store::{Store, signed};

/// A key, and what it is asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceKey {
    pub name: String,
    /// SHA-256 of the request, in hex.
    pub request: String,
}

/// What a key's first request was and came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceRow {
    pub request: String,
    pub agent: String,
    /// A deployment's number; 0 where it was about the agent.
    pub number: u64,
}

/// Takes the key within a change; what is there where it is taken. Two at once come one after the other: the second waits
/// until the first is durable or undone.
pub(super) async fn claim(
    tx: &mut Transaction<'static, Any>,
    organization: &OrganizationId,
    once: &OnceKey,
    agent: &str,
    deployment: u64,
) -> Result<Option<OnceRow>, Error> {
    let done = query(
        "INSERT INTO idempotency_keys (organization, name, request, agent, number, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(organization.as_str())
    .bind(once.name.as_str())
    .bind(once.request.as_str())
    .bind(agent)
    .bind(signed(deployment))
    .bind(now())
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(None);
    }
    let row = query("SELECT request, agent, number FROM idempotency_keys WHERE organization = $1 AND name = $2")
        .bind(organization.as_str())
        .bind(once.name.as_str())
        .fetch_one(&mut **tx)
        .await?;
    Ok(Some(OnceRow {
        request: row.try_get("request")?,
        agent: row.try_get("agent")?,
        number: number(&row, "number")?,
    }))
}

impl Store {
    /// What a key was used for before.
    pub async fn once(&self, organization: &OrganizationId, name: &str) -> Result<Option<OnceRow>, Error> {
        let row = query("SELECT request, agent, number FROM idempotency_keys WHERE organization = $1 AND name = $2")
            .bind(organization.as_str())
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        let read = |row: sqlx::any::AnyRow| {
            Ok(OnceRow {
                request: row.try_get("request")?,
                agent: row.try_get("agent")?,
                number: number(&row, "number")?,
            })
        };
        row.map(read).transpose()
    }

    /// Forgets keys that are older than `before`.
    pub async fn forget_once(&self, before: i64) -> Result<(), Error> {
        query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(before).execute(&self.pool).await?;
        Ok(())
    }
}
