//! Which archives are to be brought from a bucket into a registry, and who has taken which. A lease that is not prolonged
//! in time is anybody's.

use cofferdam_contract::DeploymentId;
use sqlx::any::AnyRow;
use sqlx::{Row, query};

use crate::Error;
use crate::store::{Store, signed};

fn id(row: &AnyRow) -> Result<DeploymentId, Error> {
    DeploymentId::parse(&row.try_get::<String, _>("deployment")?).map_err(|e| Error::Row(e.to_string()))
}

impl Store {
    /// Asks for one, where that was not done before. Since when nobody has had it in hand: since it was asked for, or
    /// since the last lease of it ran out; later than `now_ms` where somebody has it.
    pub async fn ask_carriage(&self, deployment: &DeploymentId, now_ms: i64) -> Result<i64, Error> {
        let row = query("SELECT asked_ms, lease_until_ms FROM carriages WHERE deployment = $1")
            .bind(deployment.as_str())
            .fetch_optional(&self.pool)
            .await?;
        if let Some(row) = row {
            return Ok(row.try_get::<i64, _>("asked_ms")?.max(row.try_get("lease_until_ms")?));
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

    /// Those that nobody has, the oldest first.
    pub async fn free_carriages(&self, now_ms: i64, most: u64) -> Result<Vec<DeploymentId>, Error> {
        let rows =
            query("SELECT deployment FROM carriages WHERE lease_until_ms <= $1 ORDER BY asked_ms, deployment LIMIT $2")
                .bind(now_ms)
                .bind(signed(most))
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(id).collect()
    }

    /// Takes one, if nobody else has it.
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

    /// Prolongs all that an owner has and whose lease has not run out; which those are.
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

    /// Somebody is there who will take those that nobody has.
    pub async fn see_carriages(&self, now_ms: i64) -> Result<(), Error> {
        query("UPDATE carriages SET lease_until_ms = $1 WHERE lease_until_ms < $1 AND lease_owner = ''")
            .bind(now_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives one back, which nobody takes again before then.
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

    /// Gives all of an owner's back; everybody's where there is no owner: for who is the only one.
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

    /// It is done, or nobody wants it any more.
    pub async fn end_carriage(&self, deployment: &DeploymentId) -> Result<(), Error> {
        query("DELETE FROM carriages WHERE deployment = $1").bind(deployment.as_str()).execute(&self.pool).await?;
        Ok(())
    }
}
