//! Carriages: archives that wait in a bucket to be brought into a registry, each by one operator at a time. A lease that
//! is not renewed in time is free.

use cofferdam_contract::DeploymentId;
use sqlx::any::AnyRow;
use sqlx::{query, query_as};

use crate::columns::{Columns, signed};
use crate::{Error, Store};

fn id(row: &AnyRow) -> Result<DeploymentId, Error> {
    Ok(row.id("deployment")?)
}

impl Store {
    /// Requests a carriage, if it was not requested before. Returns the time since which it has been waiting: the time
    /// of the request, or the end of its last lease. That is later than `now_ms` if an operator has it.
    pub async fn ask_carriage(&self, deployment: &DeploymentId, now_ms: i64) -> Result<i64, Error> {
        let times: Option<(i64, i64)> =
            query_as("SELECT asked_ms, lease_until_ms FROM carriages WHERE deployment = $1")
                .bind(deployment.as_str())
                .fetch_optional(&self.pool)
                .await?;
        if let Some((asked_ms, lease_until_ms)) = times {
            return Ok(asked_ms.max(lease_until_ms));
        }
        query(
            "INSERT INTO carriages (deployment, asked_ms, lease_owner, lease_until_ms) VALUES ($1, $2, '', 0) \
             ON CONFLICT (deployment) DO NOTHING",
        )
        .bind(deployment.as_str())
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(now_ms)
    }

    /// At most `limit` carriages that no operator has, oldest first.
    pub async fn free_carriages(&self, now_ms: i64, limit: u64) -> Result<Vec<DeploymentId>, Error> {
        let rows =
            query("SELECT deployment FROM carriages WHERE lease_until_ms <= $1 ORDER BY asked_ms, deployment LIMIT $2")
                .bind(now_ms)
                .bind(signed(limit))
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(id).collect()
    }

    /// Claims a carriage, unless another operator has it.
    pub async fn claim_carriage(
        &self,
        deployment: &DeploymentId,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<bool, Error> {
        let done = query(
            "UPDATE carriages SET lease_owner = $1, lease_until_ms = $2 WHERE deployment = $3 AND lease_until_ms <= $4",
        )
        .bind(owner)
        .bind(until_ms)
        .bind(deployment.as_str())
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Renews an owner's leases that have not run out, and returns their carriages.
    pub async fn prolong_carriages(&self, owner: &str, now_ms: i64, until_ms: i64) -> Result<Vec<DeploymentId>, Error> {
        let rows = query(
            "UPDATE carriages SET lease_until_ms = $1 WHERE lease_owner = $2 AND lease_until_ms > $3 \
             RETURNING deployment",
        )
        .bind(until_ms)
        .bind(owner)
        .bind(now_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(id).collect()
    }

    /// Tells that an operator is running: carriages that were never claimed count as waiting only from now.
    pub async fn see_carriages(&self, now_ms: i64) -> Result<(), Error> {
        query("UPDATE carriages SET lease_until_ms = $1 WHERE lease_until_ms < $1 AND lease_owner = ''")
            .bind(now_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Releases a carriage. No operator claims it again before `not_before_ms`.
    pub async fn leave_carriage(
        &self,
        deployment: &DeploymentId,
        owner: &str,
        not_before_ms: i64,
    ) -> Result<(), Error> {
        query("UPDATE carriages SET lease_owner = '', lease_until_ms = $1 WHERE deployment = $2 AND lease_owner = $3")
            .bind(not_before_ms)
            .bind(deployment.as_str())
            .bind(owner)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Releases all carriages of an owner; without one, those of every owner, for an operator that runs alone.
    pub async fn leave_carriages(&self, owner: Option<&str>) -> Result<(), Error> {
        query(
            "UPDATE carriages SET lease_owner = '', lease_until_ms = 0 \
             WHERE lease_owner <> '' AND ($1 = '' OR lease_owner = $1)",
        )
        .bind(owner.unwrap_or_default())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a carriage that is done or no longer wanted.
    pub async fn end_carriage(&self, deployment: &DeploymentId) -> Result<(), Error> {
        query("DELETE FROM carriages WHERE deployment = $1").bind(deployment.as_str()).execute(&self.pool).await?;
        Ok(())
    }
}
