//! Idempotency keys: requests with the same key are carried out once.

use cofferdam_contract::OrganizationId;
use cofferdam_core::now;
use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row, Transaction, query, query_as};

use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// An idempotency key with the request that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceKey {
    pub name: String,
    /// SHA-256 of the request, in hex.
    pub request: String,
}

/// The first request with an idempotency key, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnceRow {
    pub request: String,
    pub agent: String,
    /// A deployment's number; 0 if the request was about the agent.
    pub number: u64,
}

impl FromRow<'_, AnyRow> for OnceRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self { request: row.try_get("request")?, agent: row.try_get("agent")?, number: row.count("number")? })
    }
}

/// Selects the [`OnceRow`] of the organization `$1` and the key `$2`.
const SELECT: &str = "SELECT request, agent, number FROM idempotency_keys WHERE organization = $1 AND name = $2";

/// Takes the key within a change, or returns the earlier request that has it. Of two at once, the second waits until
/// the first is committed or rolled back.
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
    let before = query_as(SELECT).bind(organization.as_str()).bind(once.name.as_str()).fetch_one(&mut **tx).await?;
    Ok(Some(before))
}

impl Store {
    /// The earlier request with this key.
    pub async fn once(&self, organization: &OrganizationId, name: &str) -> Result<Option<OnceRow>, Error> {
        Ok(query_as(SELECT).bind(organization.as_str()).bind(name).fetch_optional(&self.pool).await?)
    }

    /// Deletes keys that are older than `before`.
    pub async fn forget_once(&self, before: i64) -> Result<(), Error> {
        query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(before).execute(&self.pool).await?;
        Ok(())
    }
}
