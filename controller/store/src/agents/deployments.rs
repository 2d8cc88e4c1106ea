//! An agent's deployments within a change: added, written with their events, and forgotten when there are too many.

use cofferdam_core::{now, now_ms};
use sqlx::{query, query_as, query_scalar};

use super::rows::reason_text;
use super::{AgentChange, DeploymentRow};
use crate::Error;
use crate::columns::{json, signed};

/// The number of ended deployments of an agent that are kept.
pub const KEPT_DEPLOYMENTS: u64 = 50;
/// The most events of a deployment. Final states are recorded up to twice as many.
pub const MAX_EVENTS: u64 = 250;
/// The longest detail, in bytes.
const MAX_DETAIL: usize = 4 << 10;

impl AgentChange {
    /// All deployments of the agent that are kept, by number.
    pub async fn deployments(&mut self) -> Result<Vec<DeploymentRow>, Error> {
        let query = query_as("SELECT * FROM deployments WHERE organization = $1 AND agent = $2 ORDER BY number");
        let query = query.bind(self.agent.organization.as_str()).bind(self.agent.id.as_str());
        Ok(query.fetch_all(&mut *self.tx).await?)
    }

    pub async fn deployment(&mut self, number: u64) -> Result<Option<DeploymentRow>, Error> {
        let query = query_as("SELECT * FROM deployments WHERE organization = $1 AND agent = $2 AND number = $3");
        let query = query.bind(self.agent.organization.as_str()).bind(self.agent.id.as_str()).bind(signed(number));
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    /// Adds a deployment under the next number, with its sealed variables, and forgets the oldest ended ones.
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
        .bind(json(&row.source)?)
        .bind(row.image.as_str())
        .bind(row.architecture.as_str())
        .bind(row.run_as.map_or(0, i64::from))
        .bind(signed(row.size_bytes))
        .bind(json(&row.spec)?)
        .bind(row.since_ms)
        .bind(row.created_at)
        .execute(&mut *self.tx)
        .await?;
        if let Some(sealed) = variables {
            self.set_variables(row, sealed).await?;
        }
        let until = self.agent.last_number.saturating_sub(KEPT_DEPLOYMENTS);
        self.delete_deployments("AND live = 0 AND number <= $3", until).await
    }

    /// Replaces a deployment's sealed variables.
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

    /// A deployment's sealed variables.
    pub async fn variables(&mut self, row: &DeploymentRow) -> Result<Option<String>, Error> {
        let query = query_scalar("SELECT sealed FROM deployment_variables WHERE deployment = $1");
        Ok(query.bind(row.id.as_str()).fetch_optional(&mut *self.tx).await?)
    }

    /// Writes the mutable fields of a deployment. If `told`, it is recorded as an event as well.
    pub async fn put(&mut self, row: &mut DeploymentRow, told: bool) -> Result<(), Error> {
        cut(&mut row.detail);
        row.updated_at = now();
        let limit = if row.state.is_settled() { MAX_EVENTS * 2 } else { MAX_EVENTS };
        if told && row.events < limit {
            self.record(row).await?;
        }
        query(
            "UPDATE deployments SET turn = $1, state = $2, reason = $3, detail = $4, exit_code = $5, last_lines = $6, \
             image = $7, architecture = $8, size_bytes = $9, received_bytes = $10, spec = $11, placed = $12, \
             live = $13, attempts = $14, retry_at_ms = $15, since_ms = $16, up_at_ms = $17, crashes = $18, \
             events = $19, updated_at = $20, run_as = $21, observed = $22 WHERE id = $23",
        )
        .bind(signed(row.turn))
        .bind(row.state.name())
        .bind(reason_text(row.reason))
        .bind(row.detail.as_str())
        .bind(row.exit_code.map(i64::from))
        .bind(json(&row.last_lines)?)
        .bind(row.image.as_str())
        .bind(row.architecture.as_str())
        .bind(signed(row.size_bytes))
        .bind(signed(row.received_bytes))
        .bind(json(&row.spec)?)
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
        .bind(json(&row.observed)?)
        .bind(row.id.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Adds an event.
    async fn record(&mut self, row: &mut DeploymentRow) -> Result<(), Error> {
        row.events += 1;
        query(
            "INSERT INTO deployment_events (deployment, seq, at_ms, state, reason, detail) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.id.as_str())
        .bind(signed(row.events))
        .bind(now_ms())
        .bind(row.state.name())
        .bind(reason_text(row.reason))
        .bind(row.detail.as_str())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Deletes the agent with its deployments, and with the versions and memories of a definition.
    pub async fn delete_agent(mut self) -> Result<(), Error> {
        self.delete_deployments("AND number <= $3", self.agent.last_number.max(1)).await?;
        for sql in [
            "DELETE FROM agent_versions WHERE organization = $1 AND agent = $2",
            "DELETE FROM agent_memories WHERE organization = $1 AND agent = $2",
            "DELETE FROM agents WHERE organization = $1 AND id = $2",
        ] {
            query(sql)
                .bind(self.agent.organization.as_str())
                .bind(self.agent.id.as_str())
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(self.tx.commit().await?)
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
}

/// Makes a detail fit into its column.
fn cut(detail: &mut String) {
    if detail.len() > MAX_DETAIL {
        let end = detail.floor_char_boundary(MAX_DETAIL);
        detail.truncate(end);
        detail.push_str(" ...");
    }
    // PostgreSQL rejects NUL in a text, and SQLite cuts the text there.
    if detail.contains('\0') {
        *detail = detail.replace('\0', "\u{fffd}");
    }
}
