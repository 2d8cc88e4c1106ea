//! Looking at agents and deployments. An organization sees its own.

use std::collections::HashMap;

use cofferdam_contract::{AgentId, DeploymentId, OrganizationId};
use sqlx::{Row, query};

use super::{AgentRow, DeploymentRow, EventRow, number, read_agent, read_deployment, read_event};
use crate::Error;
use crate::store::{Store, signed, unsigned};

impl Store {
    pub async fn agent(&self, organization: &OrganizationId, id: &AgentId) -> Result<Option<AgentRow>, Error> {
        let row = query("SELECT * FROM agents WHERE organization = $1 AND id = $2")
            .bind(organization.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_agent).transpose()
    }

    /// A page of agents after `after`, by id.
    pub async fn agents(&self, organization: &OrganizationId, after: &str, most: u64) -> Result<Vec<AgentRow>, Error> {
        let rows = query("SELECT * FROM agents WHERE organization = $1 AND id > $2 ORDER BY id LIMIT $3")
            .bind(organization.as_str())
            .bind(after)
            .bind(signed(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_agent).collect()
    }

    pub async fn count_agents(&self, organization: &OrganizationId) -> Result<u64, Error> {
        let row = query("SELECT COUNT(*) AS own FROM agents WHERE organization = $1")
            .bind(organization.as_str())
            .fetch_one(&self.pool)
            .await?;
        number(&row, "own")
    }

    /// Deployments of an organization that are on their way.
    pub async fn count_unsettled(&self, organization: &OrganizationId) -> Result<u64, Error> {
        let row = query(
            "SELECT COUNT(*) AS own FROM deployments WHERE live = 1 AND organization = $1 \
             AND state IN ('Uploading', 'Pushing', 'Applying', 'Starting')",
        )
        .bind(organization.as_str())
        .fetch_one(&self.pool)
        .await?;
        number(&row, "own")
    }

    pub async fn deployment_by_id(&self, id: &DeploymentId) -> Result<Option<DeploymentRow>, Error> {
        let row = query("SELECT * FROM deployments WHERE id = $1").bind(id.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(read_deployment).transpose()
    }

    pub async fn deployment(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        number: u64,
    ) -> Result<Option<DeploymentRow>, Error> {
        let row = query("SELECT * FROM deployments WHERE organization = $1 AND agent = $2 AND number = $3")
            .bind(organization.as_str())
            .bind(agent.as_str())
            .bind(signed(number))
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_deployment).transpose()
    }

    /// A page of an agent's deployments, the newest first, from below `before` on.
    pub async fn deployments(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        before: u64,
        most: u64,
    ) -> Result<Vec<DeploymentRow>, Error> {
        let rows = query(
            "SELECT * FROM deployments WHERE organization = $1 AND agent = $2 AND number < $3 \
             ORDER BY number DESC LIMIT $4",
        )
        .bind(organization.as_str())
        .bind(agent.as_str())
        .bind(signed(before))
        .bind(signed(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_deployment).collect()
    }

    /// An agent's deployments that are not settled for good, or of which something is left.
    pub async fn live_deployments(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
    ) -> Result<Vec<DeploymentRow>, Error> {
        let rows = query(
            "SELECT * FROM deployments WHERE live = 1 AND organization = $1 AND agent = $2 ORDER BY turn, number",
        )
        .bind(organization.as_str())
        .bind(agent.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_deployment).collect()
    }

    /// Of each agent in the page after `after`, the version that serves and the newest.
    pub async fn agents_deployments(
        &self,
        organization: &OrganizationId,
        agents: &[AgentRow],
    ) -> Result<HashMap<(AgentId, u64), DeploymentRow>, Error> {
        let (Some(first), Some(last)) = (agents.first(), agents.last()) else { return Ok(HashMap::new()) };
        let rows = query(
            "SELECT d.* FROM deployments d JOIN agents a ON a.organization = d.organization AND a.id = d.agent \
             WHERE d.organization = $1 AND d.agent >= $2 AND d.agent <= $3 \
             AND (d.number = a.serving OR d.number = a.last_number)",
        )
        .bind(organization.as_str())
        .bind(first.id.as_str())
        .bind(last.id.as_str())
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.iter().map(read_deployment);
        rows.map(|row| row.map(|row| ((row.agent.clone(), row.number), row))).collect()
    }

    /// Events of a deployment after `after`, oldest first.
    pub async fn deployment_events(&self, id: &DeploymentId, after: u64, most: u64) -> Result<Vec<EventRow>, Error> {
        let rows = query("SELECT * FROM deployment_events WHERE deployment = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(id.as_str())
            .bind(signed(after))
            .bind(signed(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_event).collect()
    }

    /// A deployment's own variables, sealed.
    pub async fn deployment_variables(&self, id: &DeploymentId) -> Result<Option<String>, Error> {
        let row = query("SELECT sealed FROM deployment_variables WHERE deployment = $1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("sealed")).transpose()?)
    }

    /// Writes how much of an upload has come; whether it still waits for more.
    pub async fn note_received(&self, id: &DeploymentId, bytes: u64, now: i64) -> Result<bool, Error> {
        let done = query(
            "UPDATE deployments SET received_bytes = $1, updated_at = $2 \
             WHERE id = $3 AND state IN ('Uploading', 'Pushing')",
        )
        .bind(signed(bytes))
        .bind(now)
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deployments without an image that nothing has happened to since `before`.
    pub async fn silent_uploads(&self, before: i64, most: u64) -> Result<Vec<DeploymentRow>, Error> {
        let rows = query(
            "SELECT * FROM deployments WHERE state IN ('Uploading', 'Pushing') AND updated_at < $1 \
             ORDER BY updated_at LIMIT $2",
        )
        .bind(before)
        .bind(signed(most))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_deployment).collect()
    }

    /// Versions of an agent that may be in the cluster.
    pub async fn placed_versions(&self, organization: &OrganizationId, agent: &AgentId) -> Result<Vec<u64>, Error> {
        let rows = query("SELECT number FROM deployments WHERE organization = $1 AND agent = $2 AND placed = 1")
            .bind(organization.as_str())
            .bind(agent.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(unsigned(row.try_get("number")?))).collect()
    }
}
