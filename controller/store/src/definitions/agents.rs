//! Agents with their versions. A change is a transaction that first locks the agent's row, so that changes of an agent run one
//! after another on either database.

use std::collections::HashMap;

use cofferdam_contract::work::{AgentDefinition, AgentKind, AgentStatus};
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::{now, now_ms};
use sqlx::any::AnyRow;
use sqlx::{Any, FromRow, Row, Transaction, query, query_as, query_scalar};

use crate::columns::{Columns, json, signed, unknown};
use crate::organizations::LOCAL_ENVIRONMENT;
use crate::room::count;
use crate::{Error, Store};

/// An agent as far as its definition goes.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinedRow {
    pub organization: OrganizationId,
    pub id: AgentId,
    pub name: String,
    pub kind: AgentKind,
    pub status: AgentStatus,
    /// The version that tasks use; 0 where there is none.
    pub active_version: u64,
    /// The version that can be changed; 0 where there is none.
    pub draft_version: u64,
    pub last_version: u64,
    /// Counted up with each change.
    pub revision: u64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl FromRow<'_, AnyRow> for DefinedRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (kind, status): (String, String) = (row.try_get("kind")?, row.try_get("status")?);
        Ok(Self {
            organization: row.id("organization")?,
            id: row.id("id")?,
            name: row.try_get("name")?,
            kind: kind.parse().map_err(|_| unknown("kind", kind))?,
            status: status.parse().map_err(|_| unknown("status", status))?,
            active_version: row.count("active_version")?,
            draft_version: row.count("draft_version")?,
            last_version: row.count("last_version")?,
            revision: row.count("revision")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// A version of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRow {
    pub version: u64,
    pub status: AgentStatus,
    pub definition: AgentDefinition,
    /// SHA-256 of the definition's canonical JSON, in hex.
    pub digest: String,
    pub note: String,
    /// The id of the key that made it.
    pub created_by: String,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

impl FromRow<'_, AnyRow> for VersionRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let status: String = row.try_get("status")?;
        Ok(Self {
            version: row.count("version")?,
            status: status.parse().map_err(|_| unknown("status", status))?,
            definition: row.json("definition")?,
            digest: row.try_get("digest")?,
            note: row.try_get("note")?,
            created_by: row.try_get("created_by")?,
            created_at_ms: row.try_get("created_at_ms")?,
            updated_at_ms: row.try_get("updated_at_ms")?,
        })
    }
}

/// The outcome of adding an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    Done,
    /// The id is taken.
    Taken,
    /// The organization has as many agents as it may have.
    Full,
}

/// A change of one agent's definition. Nothing is written until [`commit`](Self::commit).
pub struct DefinitionChange {
    tx: Transaction<'static, Any>,
    pub agent: DefinedRow,
}

/// Selects a [`DefinedRow`].
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT organization, id, name, kind, status, active_version, draft_version, last_version, revision, created_at, \
             updated_at FROM agents ",
            $which
        )
    };
}

impl Store {
    /// Adds an agent with its first version.
    pub async fn define_agent(&self, row: &DefinedRow, version: &VersionRow, max: u64) -> Result<Defined, Error> {
        let mut tx = self.begin_counted(&row.organization).await?;
        let done = query(
            "INSERT INTO agents (organization, id, name, environment, wanted, last_number, last_turn, serving, active, \
             dirty, lease_owner, lease_until_ms, created_at, updated_at, kind, status, active_version, draft_version, \
             last_version, revision) VALUES ($1, $2, $3, $4, 'run', 0, 0, 0, 0, 0, '', 0, $5, $5, $6, $7, $8, $9, $10, 1) \
             ON CONFLICT DO NOTHING",
        )
        .bind(row.organization.as_str())
        .bind(row.id.as_str())
        .bind(row.name.as_str())
        .bind(LOCAL_ENVIRONMENT)
        .bind(row.created_at)
        .bind(<&'static str>::from(row.kind))
        .bind(row.status.name())
        .bind(signed(row.active_version))
        .bind(signed(row.draft_version))
        .bind(signed(row.last_version))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(Defined::Taken);
        }
        if count(&mut tx, "SELECT COUNT(*) FROM agents WHERE organization = $1", &row.organization).await? > max {
            tx.rollback().await?;
            return Ok(Defined::Full);
        }
        insert_version(&mut tx, &row.organization, &row.id, version).await?;
        tx.commit().await?;
        Ok(Defined::Done)
    }

    /// An agent of either kind.
    pub async fn defined_agent(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
    ) -> Result<Option<DefinedRow>, Error> {
        let query = query_as(select!("WHERE organization = $1 AND id = $2"));
        Ok(query.bind(organization.as_str()).bind(id.as_str()).fetch_optional(&self.pool).await?)
    }

    /// The next `limit` agents after the id `after`, of either kind, by id.
    pub async fn defined_agents(
        &self,
        organization: &OrganizationId,
        after: &str,
        limit: u64,
    ) -> Result<Vec<DefinedRow>, Error> {
        let query = query_as(select!("WHERE organization = $1 AND id > $2 ORDER BY id LIMIT $3"));
        Ok(query.bind(organization.as_str()).bind(after).bind(signed(limit)).fetch_all(&self.pool).await?)
    }

    /// The first `limit` agents from the id `first` on, each with its active version, or its draft.
    pub async fn agents_with_versions(
        &self,
        organization: &OrganizationId,
        first: &AgentId,
        limit: u64,
    ) -> Result<Vec<(DefinedRow, Option<VersionRow>)>, Error> {
        let listed = query_as(select!("WHERE organization = $1 AND id >= $2 ORDER BY id LIMIT $3"));
        let rows: Vec<DefinedRow> =
            listed.bind(organization.as_str()).bind(first.as_str()).bind(signed(limit)).fetch_all(&self.pool).await?;
        let sql = "SELECT v.* FROM agent_versions v, (SELECT id, active_version, draft_version FROM agents \
                   WHERE organization = $1 AND id >= $2 ORDER BY id LIMIT $3) a WHERE v.organization = $1 AND v.agent = a.id \
                   AND v.version = CASE WHEN a.active_version > 0 THEN a.active_version ELSE a.draft_version END";
        let found = query(sql).bind(organization.as_str()).bind(first.as_str()).bind(signed(limit));
        let mut versions = HashMap::new();
        for row in found.fetch_all(&self.pool).await? {
            versions.insert(row.try_get::<String, _>("agent")?, VersionRow::from_row(&row)?);
        }
        Ok(rows.into_iter().map(|row| (row.clone(), versions.remove(row.id.as_str()))).collect())
    }

    /// Agents of any organization that were changed since this time in seconds: those that memories may be wrong about.
    pub async fn agents_changed_since(&self, since: i64, limit: u64) -> Result<Vec<(OrganizationId, AgentId)>, Error> {
        let sql = "SELECT organization, id FROM agents WHERE updated_at >= $1 AND kind = 'serverless' LIMIT $2";
        let rows = query(sql).bind(since).bind(signed(limit)).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((row.id("organization")?, row.id("id")?))).collect()
    }

    pub async fn agent_version(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        version: u64,
    ) -> Result<Option<VersionRow>, Error> {
        let query = query_as("SELECT * FROM agent_versions WHERE organization = $1 AND agent = $2 AND version = $3");
        let query = query.bind(organization.as_str()).bind(id.as_str()).bind(signed(version));
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// The versions below `before`, newest first.
    pub async fn agent_versions(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        before: u64,
        limit: u64,
    ) -> Result<Vec<VersionRow>, Error> {
        let query = query_as(
            "SELECT * FROM agent_versions WHERE organization = $1 AND agent = $2 AND version < $3 \
             ORDER BY version DESC LIMIT $4",
        );
        let query = query.bind(organization.as_str()).bind(id.as_str()).bind(signed(before)).bind(signed(limit));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// Locks an agent's row. Returns `None` if there is no such agent.
    pub async fn change_definition(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
    ) -> Result<Option<DefinitionChange>, Error> {
        let mut tx = self.pool.begin().await?;
        let locked =
            query("UPDATE agents SET revision = revision + 1, updated_at = $1 WHERE organization = $2 AND id = $3")
                .bind(now())
                .bind(organization.as_str())
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
        if locked.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        let found = query_as(select!("WHERE organization = $1 AND id = $2"));
        let agent = found.bind(organization.as_str()).bind(id.as_str()).fetch_one(&mut *tx).await?;
        Ok(Some(DefinitionChange { tx, agent }))
    }

    /// Deletes a serverless agent with its versions and memories. Its threads stay until their time is over.
    pub async fn delete_defined_agent(&self, organization: &OrganizationId, id: &AgentId) -> Result<bool, Error> {
        let mut tx = self.pool.begin().await?;
        let deleted = query("DELETE FROM agents WHERE organization = $1 AND id = $2 AND kind = 'serverless'")
            .bind(organization.as_str())
            .bind(id.as_str())
            .execute(&mut *tx)
            .await?;
        if deleted.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        for sql in [
            "DELETE FROM agent_versions WHERE organization = $1 AND agent = $2",
            "DELETE FROM agent_memories WHERE organization = $1 AND agent = $2",
        ] {
            query(sql).bind(organization.as_str()).bind(id.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

async fn insert_version(
    tx: &mut Transaction<'static, Any>,
    organization: &OrganizationId,
    id: &AgentId,
    version: &VersionRow,
) -> Result<(), Error> {
    query(
        "INSERT INTO agent_versions (organization, agent, version, status, definition, digest, note, created_by, \
         created_at_ms, updated_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(organization.as_str())
    .bind(id.as_str())
    .bind(signed(version.version))
    .bind(version.status.name())
    .bind(json(&version.definition)?)
    .bind(version.digest.as_str())
    .bind(version.note.as_str())
    .bind(version.created_by.as_str())
    .bind(version.created_at_ms)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl DefinitionChange {
    pub async fn version(&mut self, version: u64) -> Result<Option<VersionRow>, Error> {
        let query = query_as("SELECT * FROM agent_versions WHERE organization = $1 AND agent = $2 AND version = $3");
        let query = query.bind(self.agent.organization.as_str()).bind(self.agent.id.as_str()).bind(signed(version));
        Ok(query.fetch_optional(&mut *self.tx).await?)
    }

    /// Adds a version.
    pub async fn add(&mut self, version: &VersionRow) -> Result<(), Error> {
        insert_version(&mut self.tx, &self.agent.organization.clone(), &self.agent.id.clone(), version).await
    }

    /// Changes the draft.
    pub async fn redraft(
        &mut self,
        version: u64,
        definition: &AgentDefinition,
        digest: &str,
        note: &str,
    ) -> Result<(), Error> {
        query(
            "UPDATE agent_versions SET definition = $1, digest = $2, note = $3, updated_at_ms = $4 \
             WHERE organization = $5 AND agent = $6 AND version = $7 AND status = 'DRAFT'",
        )
        .bind(json(definition)?)
        .bind(digest)
        .bind(note)
        .bind(now_ms())
        .bind(self.agent.organization.as_str())
        .bind(self.agent.id.as_str())
        .bind(signed(version))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    pub async fn set_status(&mut self, version: u64, status: AgentStatus) -> Result<(), Error> {
        query("UPDATE agent_versions SET status = $1 WHERE organization = $2 AND agent = $3 AND version = $4")
            .bind(status.name())
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .bind(signed(version))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Deletes the oldest inactive versions beyond `kept`.
    pub async fn trim(&mut self, kept: u64) -> Result<(), Error> {
        let sql = "SELECT version FROM agent_versions WHERE organization = $1 AND agent = $2 AND status = 'INACTIVE' \
                   ORDER BY version DESC LIMIT 1000 OFFSET $3";
        let old: Vec<i64> = query_scalar(sql)
            .bind(self.agent.organization.as_str())
            .bind(self.agent.id.as_str())
            .bind(signed(kept))
            .fetch_all(&mut *self.tx)
            .await?;
        for version in old {
            query("DELETE FROM agent_versions WHERE organization = $1 AND agent = $2 AND version = $3")
                .bind(self.agent.organization.as_str())
                .bind(self.agent.id.as_str())
                .bind(version)
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Writes the agent and commits everything.
    pub async fn commit(mut self) -> Result<DefinedRow, Error> {
        query(
            "UPDATE agents SET name = $1, kind = $2, status = $3, active_version = $4, draft_version = $5, last_version = $6 \
             WHERE organization = $7 AND id = $8",
        )
        .bind(self.agent.name.as_str())
        .bind(<&'static str>::from(self.agent.kind))
        .bind(self.agent.status.name())
        .bind(signed(self.agent.active_version))
        .bind(signed(self.agent.draft_version))
        .bind(signed(self.agent.last_version))
        .bind(self.agent.organization.as_str())
        .bind(self.agent.id.as_str())
        .execute(&mut *self.tx)
        .await?;
        self.tx.commit().await?;
        Ok(self.agent)
    }

    /// Rolls everything back.
    pub async fn abandon(self) -> Result<(), Error> {
        Ok(self.tx.rollback().await?)
    }
}
