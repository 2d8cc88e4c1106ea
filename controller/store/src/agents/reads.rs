//! Reads agents and deployments. An organization sees only its own.

use std::collections::HashMap;

use cofferdam_contract::{AgentId, DeploymentId, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{query, query_as, query_scalar};

use super::{AgentRow, DeploymentRow, EventRow};
use crate::columns::{Columns, signed, unsigned};
use crate::{Error, Store};

/// Counts the deployments in progress of the organization `$1`. An image that waits to be deployed is not in progress, nor is
/// a link under which nothing was sent: their number is bounded by agent.
pub(super) const UNSETTLED: &str = "SELECT COUNT(*) FROM deployments WHERE live = 1 AND organization = $1 \
                                    AND state IN ('Uploading', 'Pushing', 'Applying', 'Starting') \
                                    AND (turn > 0 OR (image = '' AND (state != 'Uploading' OR received_bytes > 0)))";

impl Store {
    pub async fn agent(&self, organization: &OrganizationId, id: &AgentId) -> Result<Option<AgentRow>, Error> {
        let query = query_as("SELECT * FROM agents WHERE organization = $1 AND id = $2");
        Ok(query.bind(organization.as_str()).bind(id.as_str()).fetch_optional(&self.pool).await?)
    }

    /// The next `limit` agents after the id `after`, by id.
    pub async fn agents(&self, organization: &OrganizationId, after: &str, limit: u64) -> Result<Vec<AgentRow>, Error> {
        let query = query_as("SELECT * FROM agents WHERE organization = $1 AND id > $2 ORDER BY id LIMIT $3");
        let query = query.bind(organization.as_str()).bind(after).bind(signed(limit));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// The number of an organization's deployments in progress. Others may begin at any time: only
    /// [`AgentChange::count_unsettled`](super::AgentChange::count_unsettled) is a reason to begin one.
    pub async fn count_unsettled(&self, organization: &OrganizationId) -> Result<u64, Error> {
        Ok(unsigned(query_scalar(UNSETTLED).bind(organization.as_str()).fetch_one(&self.pool).await?))
    }

    pub async fn deployment_by_id(&self, id: &DeploymentId) -> Result<Option<DeploymentRow>, Error> {
        let query = query_as("SELECT * FROM deployments WHERE id = $1");
        Ok(query.bind(id.as_str()).fetch_optional(&self.pool).await?)
    }

    pub async fn deployment(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        number: u64,
    ) -> Result<Option<DeploymentRow>, Error> {
        let query = query_as("SELECT * FROM deployments WHERE organization = $1 AND agent = $2 AND number = $3");
        let query = query.bind(organization.as_str()).bind(agent.as_str()).bind(signed(number));
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// The next `limit` deployments of an agent below the number `before`, newest first.
    pub async fn deployments(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        before: u64,
        limit: u64,
    ) -> Result<Vec<DeploymentRow>, Error> {
        let query = query_as(
            "SELECT * FROM deployments WHERE organization = $1 AND agent = $2 AND number < $3 \
             ORDER BY number DESC LIMIT $4",
        );
        let query = query.bind(organization.as_str()).bind(agent.as_str()).bind(signed(before)).bind(signed(limit));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// An agent's deployments that are not over, or that the cluster may still have objects of.
    pub async fn live_deployments(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
    ) -> Result<Vec<DeploymentRow>, Error> {
        let query = query_as(
            "SELECT * FROM deployments WHERE live = 1 AND organization = $1 AND agent = $2 ORDER BY turn, number",
        );
        Ok(query.bind(organization.as_str()).bind(agent.as_str()).fetch_all(&self.pool).await?)
    }

    /// The serving and the newest deployment of each agent on a page that is ordered by id.
    pub async fn agents_deployments(
        &self,
        organization: &OrganizationId,
        agents: &[AgentRow],
    ) -> Result<HashMap<(AgentId, u64), DeploymentRow>, Error> {
        let (Some(first), Some(last)) = (agents.first(), agents.last()) else { return Ok(HashMap::new()) };
        let rows: Vec<DeploymentRow> = query_as(
            "SELECT d.* FROM deployments d JOIN agents a ON a.organization = d.organization AND a.id = d.agent \
             WHERE d.organization = $1 AND d.agent >= $2 AND d.agent <= $3 \
             AND (d.number = a.serving OR d.number = a.last_number)",
        )
        .bind(organization.as_str())
        .bind(first.id.as_str())
        .bind(last.id.as_str())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| ((row.agent.clone(), row.number), row)).collect())
    }

    /// The next `limit` events of a deployment after the number `after`, oldest first.
    pub async fn deployment_events(&self, id: &DeploymentId, after: u64, limit: u64) -> Result<Vec<EventRow>, Error> {
        let query =
            query_as("SELECT * FROM deployment_events WHERE deployment = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        Ok(query.bind(id.as_str()).bind(signed(after)).bind(signed(limit)).fetch_all(&self.pool).await?)
    }

    /// The agents of an environment.
    pub async fn agents_in(&self, organization: &OrganizationId, environment: &str) -> Result<Vec<AgentId>, Error> {
        let sql = "SELECT id FROM agents WHERE organization = $1 AND environment = $2 ORDER BY id";
        let rows = query(sql).bind(organization.as_str()).bind(environment).fetch_all(&self.pool).await?;
        rows.iter().map(|row: &AnyRow| Ok(row.id("id")?)).collect()
    }

    /// A deployment's own variables, sealed.
    pub async fn deployment_variables(&self, id: &DeploymentId) -> Result<Option<String>, Error> {
        let query = query_scalar("SELECT sealed FROM deployment_variables WHERE deployment = $1");
        Ok(query.bind(id.as_str()).fetch_optional(&self.pool).await?)
    }

    /// Records the progress of an upload. Returns whether the deployment still waits for it.
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

    /// At most `limit` deployments that wait for their image and have not changed since `before`, or have it, wait to be
    /// deployed and have not changed since `unused`.
    pub async fn silent_uploads(&self, before: i64, unused: i64, limit: u64) -> Result<Vec<DeploymentRow>, Error> {
        let query = query_as(
            "SELECT * FROM deployments WHERE state IN ('Uploading', 'Pushing') \
             AND ((image = '' AND updated_at < $1) OR (image <> '' AND updated_at < $2)) ORDER BY updated_at LIMIT $3",
        );
        Ok(query.bind(before).bind(unused).bind(signed(limit)).fetch_all(&self.pool).await?)
    }

    /// At most `limit` deployments whose image was on its way from a client and that have not changed since `before`. Those
    /// that are carried from a bucket are not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn broken_uploads(&self, before: i64, limit: u64) -> Result<Vec<DeploymentRow>, Error> {
        let query = query_as(
            "SELECT * FROM deployments WHERE state = 'Pushing' AND image = '' AND updated_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM carriages WHERE carriages.deployment = deployments.id) \
             ORDER BY updated_at LIMIT $2",
        );
        Ok(query.bind(before).bind(signed(limit)).fetch_all(&self.pool).await?)
    }

    /// The numbers of an agent's deployments that the cluster may have objects of.
    pub async fn placed_versions(&self, organization: &OrganizationId, agent: &AgentId) -> Result<Vec<u64>, Error> {
        let query =
            query_scalar("SELECT number FROM deployments WHERE organization = $1 AND agent = $2 AND placed = 1");
        let numbers: Vec<i64> = query.bind(organization.as_str()).bind(agent.as_str()).fetch_all(&self.pool).await?;
        Ok(numbers.into_iter().map(unsigned).collect())
    }
}
