//! A change of one agent: a transaction that first locks the agent's row, so that changes of an agent run one after
//! another on either database. A driver whose lease has run out learns it here.

use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::{now, now_ms};
use sqlx::{Any, Transaction, query, query_as, query_scalar};

use super::once::claim;
use super::reads::UNSETTLED;
use super::{AgentRow, OnceKey, OnceRow};
use crate::columns::signed;
use crate::organizations::LOCAL_ENVIRONMENT;
use crate::room::{count, take_turn};
use crate::{Error, Store};

/// A change of one agent. Nothing is written until [`commit`](Self::commit).
pub struct AgentChange {
    pub(super) tx: Transaction<'static, Any>,
    pub agent: AgentRow,
}

impl Store {
    /// Locks an agent's row. Returns `None` if there is no such agent, or if its driver, `holder`, has lost the lease.
    pub async fn change_agent(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        holder: Option<&str>,
    ) -> Result<Option<AgentChange>, Error> {
        let mut tx = self.pool.begin().await?;
        // The driver knows its own changes; it has to look at everyone else's.
        let agent = match holder {
            Some(holder) => {
                query_as(
                    "UPDATE agents SET updated_at = $1 WHERE organization = $2 AND id = $3 AND lease_owner = $4 \
                     AND lease_until_ms > $5 RETURNING *",
                )
                .bind(now())
                .bind(organization.as_str())
                .bind(id.as_str())
                .bind(holder)
                .bind(now_ms())
                .fetch_optional(&mut *tx)
                .await?
            }
            None => {
                query_as(
                    "UPDATE agents SET updated_at = $1, dirty = dirty + 1 WHERE organization = $2 AND id = $3 \
                     RETURNING *",
                )
                .bind(now())
                .bind(organization.as_str())
                .bind(id.as_str())
                .fetch_optional(&mut *tx)
                .await?
            }
        };
        let Some(agent) = agent else {
            tx.rollback().await?;
            return Ok(None);
        };
        Ok(Some(AgentChange { tx, agent }))
    }

    /// Adds an agent to an environment, unless the organization has one with this id, or `max`.
    pub async fn insert_agent(&self, row: &AgentRow, once: Option<&OnceKey>, max: u64) -> Result<Inserted, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        // Of two equal requests at once, the second waits for the row of the idempotency key.
        if let Some(once) = once
            && let Some(before) = claim(&mut tx, &row.organization, once, row.id.as_str(), 0).await?
        {
            tx.rollback().await?;
            return Ok(Inserted::Before(before));
        }
        // The server's own environment has no row in most organizations. Another one may have been deleted meanwhile.
        let sql = "SELECT COUNT(*) FROM environments WHERE organization = $1 AND name = $2";
        let environment = query_scalar::<_, i64>(sql).bind(row.organization.as_str()).bind(row.environment.as_str());
        if row.environment != LOCAL_ENVIRONMENT && environment.fetch_one(&mut *tx).await? == 0 {
            tx.rollback().await?;
            return Ok(Inserted::NoEnvironment);
        }
        let done = query(
            "INSERT INTO agents (organization, id, name, environment, wanted, last_number, last_turn, serving, active, \
             dirty, lease_owner, lease_until_ms, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, 0, 0, 0, 0, 0, '', 0, $6, $6) ON CONFLICT DO NOTHING",
        )
        .bind(row.organization.as_str())
        .bind(row.id.as_str())
        .bind(row.name.as_str())
        .bind(row.environment.as_str())
        .bind(row.wanted.name())
        .bind(row.created_at)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(Inserted::Taken);
        }
        if count(&mut tx, "SELECT COUNT(*) FROM agents WHERE organization = $1", &row.organization).await? > max {
            tx.rollback().await?;
            return Ok(Inserted::Full);
        }
        tx.commit().await?;
        Ok(Inserted::Done)
    }
}

/// The outcome of [`Store::insert_agent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    Done,
    /// The id is taken.
    Taken,
    /// There are as many as are allowed.
    Full,
    /// Its environment does not exist.
    NoEnvironment,
    /// The idempotency key was used before.
    Before(OnceRow),
}

impl AgentChange {
    /// The number of the organization's deployments in progress. No other change begins one until this one ends.
    pub async fn count_unsettled(&mut self) -> Result<u64, Error> {
        take_turn(&mut self.tx, &self.agent.organization).await?;
        count(&mut self.tx, UNSETTLED, &self.agent.organization).await
    }

    /// Records the idempotency key of this request. Returns the outcome of an earlier request with the same key.
    pub async fn once(&mut self, once: &OnceKey, number: u64) -> Result<Option<OnceRow>, Error> {
        claim(&mut self.tx, &self.agent.organization, once, self.agent.id.as_str(), number).await
    }

    /// Writes the agent and commits everything.
    pub async fn commit(mut self) -> Result<AgentRow, Error> {
        self.agent.active = self.is_active().await?;
        query(
            "UPDATE agents SET name = $1, wanted = $2, last_number = $3, last_turn = $4, serving = $5, active = $6 \
             WHERE organization = $7 AND id = $8",
        )
        .bind(self.agent.name.as_str())
        .bind(self.agent.wanted.name())
        .bind(signed(self.agent.last_number))
        .bind(signed(self.agent.last_turn))
        .bind(signed(self.agent.serving))
        .bind(i64::from(self.agent.active))
        .bind(self.agent.organization.as_str())
        .bind(self.agent.id.as_str())
        .execute(&mut *self.tx)
        .await?;
        self.tx.commit().await?;
        Ok(self.agent)
    }

    async fn is_active(&mut self) -> Result<bool, Error> {
        let live: i64 =
            query_scalar("SELECT COUNT(*) FROM deployments WHERE live = 1 AND organization = $1 AND agent = $2")
                .bind(self.agent.organization.as_str())
                .bind(self.agent.id.as_str())
                .fetch_one(&mut *self.tx)
                .await?;
        Ok(live > 0 || self.agent.wanted.deletes())
    }

    /// Rolls everything back.
    pub async fn abandon(self) -> Result<(), Error> {
        Ok(self.tx.rollback().await?)
    }
}
