//! Numbers for the lines of agents' logs. They are handed out in blocks that never overlap, whoever asks, so that no
//! number ever names two lines.

use cofferdam_contract::{AgentId, OrganizationId};
use sqlx::query_scalar;

use crate::columns::{signed, unsigned};
use crate::{Error, Store};

impl Store {
    /// Reserves `count` numbers above `above` and returns the first. They are never handed out again.
    pub async fn reserve_log_lines(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        count: u64,
        above: u64,
    ) -> Result<u64, Error> {
        let last: i64 = query_scalar(
            "INSERT INTO agent_logs (organization, agent, last_seq) VALUES ($1, $2, $3 + $4) \
             ON CONFLICT (organization, agent) DO UPDATE SET last_seq = $4 + CASE \
             WHEN agent_logs.last_seq < $3 THEN $3 ELSE agent_logs.last_seq END RETURNING last_seq",
        )
        .bind(organization.as_str())
        .bind(agent.as_str())
        .bind(signed(above))
        .bind(signed(count))
        .fetch_one(&self.pool)
        .await?;
        Ok(unsigned(last).saturating_sub(count) + 1)
    }
}
