//! The service: agents by their names, from memory where they were asked for lately.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{AgentDefinition, AgentKind, AgentStatus};
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_store::{DefinedRow, Store, VersionRow};
use moka::sync::Cache;

use crate::Error;

/// The most agents, or versions, in one page of a list.
pub const MAX_AGENT_PAGE: u32 = 1_000;
/// The time after which a change elsewhere is seen here. A version never changes, but its agent can be deleted, and another one made
/// with the same id and versions of the same numbers.
const KNOWN_TTL: Duration = Duration::from_secs(1);
/// Agents, and versions, kept in memory. Others are read for each task.
const MAX_KNOWN: u64 = 10_000;

/// One version of an agent, as tasks use it.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAgent {
    pub organization: OrganizationId,
    pub id: AgentId,
    pub name: String,
    /// The version's number, as text.
    pub version: String,
    pub kind: AgentKind,
    /// The agent's own state.
    pub status: AgentStatus,
    pub definition: AgentDefinition,
}

type Name = (OrganizationId, AgentId);

/// The agents of all organizations.
pub struct Agents {
    pub(crate) store: Store,
    active: Cache<Name, Option<Arc<ActiveAgent>>>,
    versions: Cache<(OrganizationId, AgentId, u64), Arc<ActiveAgent>>,
}

impl Agents {
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            active: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN_TTL).build(),
            versions: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN_TTL).build(),
        })
    }

    /// The active version of a serverless agent; `None` if there is no such agent, or none of its versions is active.
    ///
    /// # Errors
    /// The store failed.
    pub async fn active(&self, organization: &OrganizationId, id: &AgentId) -> Result<Option<Arc<ActiveAgent>>, Error> {
        let name = (organization.clone(), id.clone());
        if let Some(known) = self.active.get(&name) {
            return Ok(known);
        }
        let found = match self.store.defined_agent(organization, id).await? {
            Some(row) if row.active_version > 0 && row.status == AgentStatus::Active => {
                self.read(&row, row.active_version).await?
            }
            _ => None,
        };
        self.active.insert(name, found.clone());
        Ok(found)
    }

    /// A version of an agent, also one that is not active; `None` if there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn version(
        &self,
        organization: &OrganizationId,
        id: &AgentId,
        version: &str,
    ) -> Result<Option<Arc<ActiveAgent>>, Error> {
        let Ok(version) = version.parse::<u64>() else { return Ok(None) };
        let name = (organization.clone(), id.clone(), version);
        if let Some(known) = self.versions.get(&name) {
            return Ok(Some(known));
        }
        match self.store.defined_agent(organization, id).await? {
            Some(row) => self.read(&row, version).await,
            None => Ok(None),
        }
    }

    async fn read(&self, row: &DefinedRow, version: u64) -> Result<Option<Arc<ActiveAgent>>, Error> {
        let found = self.store.agent_version(&row.organization, &row.id, version).await?;
        let Some(VersionRow { status, definition, .. }) = found else { return Ok(None) };
        let agent = Arc::new(ActiveAgent {
            organization: row.organization.clone(),
            id: row.id.clone(),
            name: row.name.clone(),
            version: version.to_string(),
            kind: row.kind,
            status: row.status,
            definition,
        });
        // A draft can change.
        if status != AgentStatus::Draft {
            self.versions.insert((row.organization.clone(), row.id.clone(), version), Arc::clone(&agent));
        }
        Ok(Some(agent))
    }

    /// Forgets what is in memory of an agent that was changed here.
    pub(crate) fn forget(&self, organization: &OrganizationId, id: &AgentId, deleted: bool) {
        self.active.invalidate(&(organization.clone(), id.clone()));
        if deleted {
            // Another agent may get the same id, with versions of the same numbers. Deletions are rare.
            self.versions.invalidate_all();
        }
    }
}
