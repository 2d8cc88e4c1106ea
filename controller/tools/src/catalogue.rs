//! The serving tools of every organization, in memory, so that a call needs no database. A change made here is visible at
//! once; a change made by another controller within [`FRESH_TIME`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;
use cofferdam_policy::{LimitsConfig, OperatorPolicy};
use cofferdam_store::Store;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::{Error, Tool, ToolShelf};

/// How long a cached catalogue is trusted.
const FRESH_TIME: Duration = Duration::from_secs(1);
/// Above this many changed tools all are read in one query.
const MAX_SINGLE_READS: usize = 16;

struct Seen {
    shelf: Arc<ToolShelf>,
    checked: Instant,
}

pub(crate) struct Catalogue {
    store: Store,
    policy: Arc<OperatorPolicy>,
    limits: LimitsConfig,
    seen: RwLock<HashMap<OrganizationId, Seen>>,
    /// Held while the store is read: one task reads at a time, the others use the cached catalogue.
    reading: Mutex<()>,
}

impl Catalogue {
    pub(crate) fn new(store: Store, policy: Arc<OperatorPolicy>, limits: LimitsConfig) -> Self {
        Self { store, policy, limits, seen: RwLock::default(), reading: Mutex::new(()) }
    }

    fn known(&self, organization: &OrganizationId) -> Option<(Arc<ToolShelf>, bool)> {
        let seen = self.seen.read();
        seen.get(organization).map(|seen| (Arc::clone(&seen.shelf), seen.checked.elapsed() < FRESH_TIME))
    }

    /// The organization's tools.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn shelf(&self, organization: &OrganizationId) -> Result<Arc<ToolShelf>, Error> {
        let known = self.known(organization);
        let _reading = match known {
            Some((shelf, true)) => return Ok(shelf),
            // Another task is refreshing.
            Some((shelf, false)) => match self.reading.try_lock() {
                Ok(reading) => reading,
                Err(_) => return Ok(shelf),
            },
            None => self.reading.lock().await,
        };
        if let Some((shelf, true)) = self.known(organization) {
            return Ok(shelf);
        }
        self.read(organization).await
    }

    /// Reads the changes at once, after one of our own.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn refresh(&self, organization: &OrganizationId) -> Result<Arc<ToolShelf>, Error> {
        let _reading = self.reading.lock().await;
        self.read(organization).await
    }

    /// The caller holds `reading`.
    async fn read(&self, organization: &OrganizationId) -> Result<Arc<ToolShelf>, Error> {
        // The time from before the query: a change during it is seen by the next one.
        let checked = Instant::now();
        let revision = self.store.tools_revision(organization).await?;
        let old = self.known(organization).map(|(shelf, _)| shelf).unwrap_or_default();
        let shelf =
            if old.revision == revision { old } else { Arc::new(self.changed(organization, &old, revision).await?) };
        self.seen.write().insert(organization.clone(), Seen { shelf: Arc::clone(&shelf), checked });
        Ok(shelf)
    }

    async fn changed(&self, organization: &OrganizationId, old: &ToolShelf, revision: i64) -> Result<ToolShelf, Error> {
        let mut tools = BTreeMap::new();
        let mut missing = Vec::new();
        for head in self.store.tool_heads(organization).await? {
            let same = |tool: &&Arc<Tool>| (tool.row.number, tool.row.made) == (head.number, head.made);
            match old.tools.get(&head.tool).filter(same) {
                Some(same) => drop(tools.insert(head.tool, Arc::clone(same))),
                None => missing.push(head),
            }
        }
        let rows = if missing.len() > MAX_SINGLE_READS {
            self.store.tools(organization).await?
        } else {
            let mut rows = Vec::with_capacity(missing.len());
            for head in missing {
                rows.extend(self.store.tool_version(organization, &head.tool, head.number).await?);
            }
            rows
        };
        for row in rows {
            let name = row.tool.clone();
            tools.entry(name).or_insert_with(|| Arc::new(Tool::new(row, &self.policy, &self.limits)));
        }
        Ok(ToolShelf::new(revision, tools))
    }
}
