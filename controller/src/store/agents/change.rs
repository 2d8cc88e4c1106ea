//! A change of one agent: a transaction that first takes the agent's row, so that changes of one agent come one after
//! another on either database, and who drives it by a lease finds out here that it has lost it.

use cofferdam_contract::{AgentId, OrganizationId};
use sqlx::{Any, Row, Transaction, query};

use super::{
    AgentRow, DeploymentRow, OnceKey, OnceRow, Wanted, number, read_agent, read_deployment, reason_text, text_of,
};
use crate::Error;
use crate::clock::{now, now_ms};
use crate::store::{Store, signed};

/// Deployments of an agent that are kept, beside those that are live.
pub const KEPT_DEPLOYMENTS: u64 = 50;
/// Events of a deployment: more are not written, apart from changes of its state up to twice as many.
pub const MAX_EVENTS: u64 = 250;
/// The longest detail, in bytes.
const MAX_DETAIL: usize = 4 << 10;

/// An agent that is being changed; nobody else changes it meanwhile. Nothing has happened until `commit`.
pub struct AgentChange {
    pub(super) tx: Transaction<'static, Any>,
    pub agent: AgentRow,
}

impl Store {
    /// Takes an agent's row; none where there is no such agent. `holder` is who drives it: none either where another has
    /// the lease now.
    pub async fn change_agent(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        holder: Option<&str>,
    ) -> Result<Option<AgentChange>, Error> {
        let mut tx = self.pool.begin().await?;
        // Where it is the driver who writes, it has seen what it writes; else the driver has to look.
        let row = match holder {
            Some(holder) => {
                query(
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
            None => query(
                "UPDATE agents SET updated_at = $1, dirty = dirty + 1 WHERE organization = $2 AND id = $3 RETURNING *",
            )
            .bind(now())
            .bind(organization.as_str())
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await?,
        };
        let Some(row) = row else {
            tx.rollback().await?;
            return Ok(None);
        };
        let agent = read_agent(&row)?;
        Ok(Some(AgentChange { tx, agent }))
    }

    /// Makes an agent, unless the organization has one of that id, or as many as it may have.
    pub async fn insert_agent(&self, row: &AgentRow, once: Option<&OnceKey>) -> Result<Inserted, Error> {
        let mut tx = self.pool.begin().await?;
        // The key's row is what two equal requests at once wait for.
        if let Some(once) = once
            && let Some(before) = super::once::claim(&mut tx, &row.organization, once, row.id.as_str(), 0).await?
        {
            tx.rollback().await?;
            return Ok(Inserted::Before(before));
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
        tx.commit().await?;
        Ok(Inserted::Done)
    }
}

/// What came of making an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    Done,
    /// There is one of that id.
    Taken,
    /// The idempotency key was used before.
    Before(OnceRow),
}

impl AgentChange {
    /// Notes the key of this request; what it came to where it was used before.
    pub async fn once(&mut self, once: &OnceKey, number: u64) -> Result<Option<OnceRow>, Error> {
        super::once::claim(&mut self.tx, &self.agent.organization, once, self.agent.id.as_str(), number).await
    }

    /// Every deployment that is kept, by number.
    pub async fn deployments(&mut self) -> Result<Vec<DeploymentRow>, Error> {
        let rows = query("SELECT * FROM deployments WHERE organization = $1 AND agent = $2 ORDER BY number")
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .fetch_all(&mut *self.tx)
            .await?;
        rows.iter().map(read_deployment).collect()
    }

    pub async fn deployment(&mut self, number: u64) -> Result<Option<DeploymentRow>, Error> {
        let row = query("SELECT * FROM deployments WHERE organization = $1 AND agent = $2 AND number = $3")
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .bind(signed(number))
            .fetch_optional(&mut *self.tx)
            .await?;
        row.as_ref().map(read_deployment).transpose()
    }

    /// Adds a deployment under the next number, with its sealed variables, and forgets those that are over and too many.
    pub async fn insert(&mut self, row: &mut DeploymentRow, variables: Option<&str>) -> Result<(), Error> {
        self.agent.last_number += 1;
        row.number = self.agent.last_number;
        query(
            "INSERT INTO deployments (id, organization, agent, number, turn, state, reason, detail, exit_code, \
             last_lines, source, image, architecture, run_as, size_bytes, received_bytes, spec, placed, live, \
             attempts, retry_at_ms, since_ms, up_at_ms, crashes, events, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, '', '', NULL, '[]', $7, $8, $9, $10, $11, 0, $12, 0, 1, 0, 0, $13, 0, 0, \
             0, $14, $14)",
        )
        .bind(row.id.as_str())
        .bind(row.organization.as_str())
        .bind(row.agent.as_str())
        .bind(signed(row.number))
        .bind(signed(row.turn))
        .bind(row.state.name())
        .bind(text_of(&row.source)?)
        .bind(row.image.as_str())
        .bind(row.architecture.as_str())
        .bind(row.run_as.map_or(0, i64::from))
        .bind(signed(row.size_bytes))
        .bind(text_of(&row.spec)?)
        .bind(row.since_ms)
        .bind(row.created_at)
        .execute(&mut *self.tx)
        .await?;
        if let Some(sealed) = variables {
            self.set_variables(row, sealed).await?;
        }
        self.forget().await
    }

    /// Gives a deployment other variables.
    pub async fn set_variables(&mut self, row: &DeploymentRow, sealed: &str) -> Result<(), Error> {
        query(
            "INSERT INTO deployment_variables (deployment, sealed) VALUES ($1, $2) \
             ON CONFLICT (deployment) DO UPDATE SET sealed = excluded.sealed",
        )
        .bind(row.id.as_str())
        .bind(sealed)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A deployment's variables, sealed.
    pub async fn variables(&mut self, row: &DeploymentRow) -> Result<Option<String>, Error> {
        let found = query("SELECT sealed FROM deployment_variables WHERE deployment = $1")
            .bind(row.id.as_str())
            .fetch_optional(&mut *self.tx)
            .await?;
        Ok(found.map(|row| row.try_get("sealed")).transpose()?)
    }

    /// Writes what may change of a deployment. Where `told`, it is an event as well.
    pub async fn put(&mut self, row: &mut DeploymentRow, told: bool) -> Result<(), Error> {
        cut(&mut row.detail);
        row.updated_at = now();
        let most = if row.state.is_settled() { MAX_EVENTS * 2 } else { MAX_EVENTS };
        if told && row.events < most {
            row.events += 1;
            query(
                "INSERT INTO deployment_events (deployment, seq, at_ms, state, reason, detail) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(row.id.as_str())
            .bind(signed(row.events))
            .bind(now_ms())
            .bind(row.state.name())
            .bind(reason_text(row.reason)?)
            .bind(row.detail.as_str())
            .execute(&mut *self.tx)
            .await?;
        }
        query(
            "UPDATE deployments SET turn = $1, state = $2, reason = $3, detail = $4, exit_code = $5, last_lines = $6, \
             image = $7, architecture = $8, size_bytes = $9, received_bytes = $10, spec = $11, placed = $12, \
             live = $13, attempts = $14, retry_at_ms = $15, since_ms = $16, up_at_ms = $17, crashes = $18, \
             events = $19, updated_at = $20, run_as = $21 WHERE id = $22",
        )
        .bind(signed(row.turn))
        .bind(row.state.name())
        .bind(reason_text(row.reason)?)
        .bind(row.detail.as_str())
        .bind(row.exit_code.map(i64::from))
        .bind(text_of(&row.last_lines)?)
        .bind(row.image.as_str())
        .bind(row.architecture.as_str())
        .bind(signed(row.size_bytes))
        .bind(signed(row.received_bytes))
        .bind(text_of(&row.spec)?)
        .bind(i64::from(row.placed))
        .bind(i64::from(row.is_live()))
        .bind(signed(row.attempts))
        .bind(row.retry_at_ms)
        .bind(row.since_ms)
        .bind(row.up_at_ms)
        .bind(signed(row.crashes))
        .bind(signed(row.events))
        .bind(row.updated_at)
        .bind(row.run_as.map_or(0, i64::from))
        .bind(row.id.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Deployments that are over, beyond those that are kept.
    async fn forget(&mut self) -> Result<(), Error> {
        let until = self.agent.last_number.saturating_sub(KEPT_DEPLOYMENTS);
        self.delete_deployments("AND live = 0 AND number <= $3", until).await
    }

    async fn delete_deployments(&mut self, which: &'static str, until: u64) -> Result<(), Error> {
        if until == 0 {
            return Ok(());
        }
        for table in ["deployment_events", "deployment_variables"] {
            let sql = format!(
                "DELETE FROM {table} WHERE deployment IN \
                 (SELECT id FROM deployments WHERE organization = $1 AND agent = $2 {which})"
            );
            self.delete(sql, until).await?;
        }
        self.delete(format!("DELETE FROM deployments WHERE organization = $1 AND agent = $2 {which}"), until).await
    }

    async fn delete(&mut self, sql: String, until: u64) -> Result<(), Error> {
        query(sqlx::AssertSqlSafe(sql))
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .bind(signed(until))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Deletes the agent with everything of it.
    pub async fn delete_agent(mut self) -> Result<(), Error> {
        self.delete_deployments("AND number <= $3", self.agent.last_number.max(1)).await?;
        query("DELETE FROM agents WHERE organization = $1 AND id = $2")
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }

    /// Whether any deployment is live.
    async fn is_active(&mut self) -> Result<bool, Error> {
        let row = query("SELECT COUNT(*) AS live FROM deployments WHERE live = 1 AND organization = $1 AND agent = $2")
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(number(&row, "live")? > 0 || self.agent.wanted == Wanted::Delete)
    }

    /// Makes it all happen.
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

    /// Undoes it all.
    pub async fn abandon(self) -> Result<(), Error> {
        Ok(self.tx.rollback().await?)
    }
}

fn cut(detail: &mut String) {
    if detail.len() > MAX_DETAIL {
        let end = detail.floor_char_boundary(MAX_DETAIL);
        detail.truncate(end);
        detail.push_str(" ...");
    }
    // Neither database keeps it in a text.
    if detail.contains('\0') {
        *detail = detail.replace('\0', "\u{fffd}");
    }
}
