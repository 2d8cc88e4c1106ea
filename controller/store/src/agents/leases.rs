//! Leases: each agent is driven by one controller at a time. A lease that is not renewed in time is free.

use cofferdam_contract::{AgentId, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::query;

use crate::columns::{Columns, signed};
use crate::{Error, Store};

fn key(row: &AnyRow) -> Result<(OrganizationId, AgentId), Error> {
    Ok((row.id("organization")?, row.id("id")?))
}

impl Store {
    /// Claims at most `limit` active agents that have no driver.
    pub async fn claim_agents(
        &self,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
        limit: u64,
    ) -> Result<Vec<(OrganizationId, AgentId)>, Error> {
        // A read first: a write that claims nothing would cost an fsync each time.
        let free = query("SELECT organization, id FROM agents WHERE active = 1 AND lease_until_ms <= $1 LIMIT $2")
            .bind(now_ms)
            .bind(signed(limit))
            .fetch_all(&self.pool)
            .await?;
        let mut taken = Vec::new();
        for row in &free {
            let (organization, id) = key(row)?;
            if self.claim_agent(&organization, &id, owner, now_ms, until_ms).await? {
                taken.push((organization, id));
            }
        }
        Ok(taken)
    }

    /// Claims an active agent, unless another owner has it.
    pub async fn claim_agent(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<bool, Error> {
        let done = query(
            "UPDATE agents SET lease_owner = $1, lease_until_ms = $2 WHERE organization = $3 AND id = $4 \
             AND active = 1 AND (lease_until_ms <= $5 OR lease_owner = $1)",
        )
        .bind(owner)
        .bind(until_ms)
        .bind(organization.as_str())
        .bind(id.as_str())
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Renews an owner's leases that have not run out, and returns their agents.
    pub async fn prolong(
        &self,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<(OrganizationId, AgentId)>, Error> {
        let rows = query(
            "UPDATE agents SET lease_until_ms = $1 WHERE lease_owner = $2 AND lease_until_ms > $3 \
             RETURNING organization, id",
        )
        .bind(until_ms)
        .bind(owner)
        .bind(now_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(key).collect()
    }

    /// An owner's agents that have changed since it looked last.
    pub async fn dirty_agents(&self, owner: &str) -> Result<Vec<(OrganizationId, AgentId)>, Error> {
        let rows = query("SELECT organization, id FROM agents WHERE lease_owner = $1 AND dirty > 0 LIMIT 1000")
            .bind(owner)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(key).collect()
    }

    /// Records that the driver has seen this many changes. Does nothing if there are more by now.
    pub async fn clean_agent(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        owner: &str,
        seen: u64,
    ) -> Result<(), Error> {
        query("UPDATE agents SET dirty = 0 WHERE organization = $1 AND id = $2 AND lease_owner = $3 AND dirty = $4")
            .bind(organization.as_str())
            .bind(id.as_str())
            .bind(owner)
            .bind(signed(seen))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Releases an agent.
    pub async fn release_agent(&self, organization: &OrganizationId, id: &AgentId, owner: &str) -> Result<(), Error> {
        query(
            "UPDATE agents SET lease_owner = '', lease_until_ms = 0 \
             WHERE organization = $1 AND id = $2 AND lease_owner = $3",
        )
        .bind(organization.as_str())
        .bind(id.as_str())
        .bind(owner)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Releases all agents of an owner; without one, those of every owner, for a controller that runs alone.
    pub async fn release_agents(&self, owner: Option<&str>) -> Result<(), Error> {
        query(
            "UPDATE agents SET lease_owner = '', lease_until_ms = 0 \
             WHERE lease_owner <> '' AND ($1 = '' OR lease_owner = $1)",
        )
        .bind(owner.unwrap_or_default())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
