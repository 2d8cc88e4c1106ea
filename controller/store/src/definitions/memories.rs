//! The memories of agents, which last over threads: short texts, of a person or of the agent itself.

use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::now_ms;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row, query, query_as, query_scalar};

use crate::columns::{signed, unsigned};
use crate::{Error, Store};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRow {
    pub id: String,
    /// Empty where it is of the agent itself.
    pub person: String,
    pub content: String,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

impl FromRow<'_, AnyRow> for MemoryRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            person: row.try_get("person")?,
            content: row.try_get("content")?,
            created_at_ms: row.try_get("created_at_ms")?,
            updated_at_ms: row.try_get("updated_at_ms")?,
        })
    }
}

/// The outcome of adding a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryAdded {
    Done,
    /// There are as many as are allowed.
    Full,
}

impl Store {
    /// Adds a memory, or changes the one with this id.
    pub async fn put_memory(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        row: &MemoryRow,
        max: u64,
    ) -> Result<MemoryAdded, Error> {
        let mut tx = self.begin_counted(organization).await?;
        let sql =
            "SELECT COUNT(*) FROM agent_memories WHERE organization = $1 AND agent = $2 AND person = $3 AND id <> $4";
        let has: i64 = query_scalar(sql)
            .bind(organization.as_str())
            .bind(agent.as_str())
            .bind(row.person.as_str())
            .bind(row.id.as_str())
            .fetch_one(&mut *tx)
            .await?;
        if unsigned(has) >= max {
            tx.rollback().await?;
            return Ok(MemoryAdded::Full);
        }
        query(
            "INSERT INTO agent_memories (id, organization, agent, person, content, created_at_ms, updated_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (id) DO UPDATE SET content = excluded.content, \
             updated_at_ms = excluded.updated_at_ms WHERE agent_memories.organization = excluded.organization \
             AND agent_memories.agent = excluded.agent AND agent_memories.person = excluded.person",
        )
        .bind(row.id.as_str())
        .bind(organization.as_str())
        .bind(agent.as_str())
        .bind(row.person.as_str())
        .bind(row.content.as_str())
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(MemoryAdded::Done)
    }

    /// The newest memories of a person, or of the agent itself where `person` is empty.
    pub async fn memories(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        person: &str,
        limit: u64,
    ) -> Result<Vec<MemoryRow>, Error> {
        let query = query_as(
            "SELECT * FROM agent_memories WHERE organization = $1 AND agent = $2 AND person = $3 \
             ORDER BY updated_at_ms DESC, id LIMIT $4",
        );
        let query = query.bind(organization.as_str()).bind(agent.as_str()).bind(person).bind(signed(limit));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// Deletes a memory. Returns whether it existed.
    pub async fn delete_memory(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        person: &str,
        id: &str,
    ) -> Result<bool, Error> {
        let sql = "DELETE FROM agent_memories WHERE organization = $1 AND agent = $2 AND person = $3 AND id = $4";
        let done = query(sql).bind(organization.as_str()).bind(agent.as_str()).bind(person).bind(id);
        Ok(done.execute(&self.pool).await?.rows_affected() == 1)
    }
}
