//! The tools that serve, in memory, so that a call needs no database. What is changed here is seen at once; what another
//! controller changes, within [`FRESH`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use cofferdam_contract::{Grants, Limits, LimitsRequest, OrganizationId, ToolFunction};
use tokio::sync::Mutex;

use super::names;
use crate::Error;
use crate::config::LimitsConfig;
use crate::policy::{Limited, OperatorPolicy, effective};
use crate::store::{Store, ToolVersionRow};

/// So long it is believed that nothing has changed.
const FRESH: Duration = Duration::from_secs(1);
/// Above so many changed tools all are read at once.
const ONE_BY_ONE: usize = 16;

/// A tool's version that serves, ready to be called.
#[derive(Debug)]
pub struct Tool {
    pub row: ToolVersionRow,
    /// What was asked for and is allowed.
    pub grants: Grants,
    pub limited: Vec<Limited>,
    pub limits: Limits,
    functions: HashMap<String, usize>,
}

impl Tool {
    pub fn new(row: ToolVersionRow, policy: &OperatorPolicy, limits: &LimitsConfig) -> Self {
        let (grants, mut limited) = effective(&row.grants, policy);
        let effective_limits = within(&row.limits, limits, &mut limited);
        let functions =
            row.component.functions.iter().enumerate().map(|(at, function)| (function.name.clone(), at)).collect();
        Self { row, grants, limited, limits: effective_limits, functions }
    }

    pub fn function(&self, name: &str) -> Option<&ToolFunction> {
        self.functions.get(name).and_then(|at| self.row.component.functions.get(*at))
    }

    pub fn functions(&self) -> &[ToolFunction] {
        &self.row.component.functions
    }
}

/// The limits of a tool's calls: what was asked for, at most the operator's maximum.
fn within(asked: &LimitsRequest, operator: &LimitsConfig, limited: &mut Vec<Limited>) -> Limits {
    let most = &operator.maximum;
    let mut one = |name: &str, asked: Option<u64>, usual: u64, most: u64| {
        if let Some(asked) = asked
            && asked > most
        {
            limited.push(Limited {
                grant: format!("limits.{name}"),
                by: "operator's maximum".to_owned(),
                detail: format!("{most} instead of {asked}"),
            });
        }
        asked.unwrap_or(usual).clamp(1, most.max(1))
    };
    let usual = &operator.default;
    Limits {
        wall_ms: one("wall_ms", asked.wall_ms, usual.wall_ms, most.wall_ms),
        cpu_ms: one("cpu_ms", asked.cpu_ms, usual.cpu_ms, most.cpu_ms),
        memory_bytes: one("memory_bytes", asked.memory_bytes, usual.memory_bytes, most.memory_bytes),
        output_bytes: one("output_bytes", asked.output_bytes, usual.output_bytes, most.output_bytes),
        disk_bytes: one("disk_bytes", asked.disk_bytes, usual.disk_bytes, most.disk_bytes),
        files: one("files", asked.files, usual.files, most.files),
    }
}

/// An organization's tools at one moment.
#[derive(Debug, Default)]
pub struct Shelf {
    pub revision: i64,
    pub tools: BTreeMap<String, Arc<Tool>>,
    /// By the name that MCP clients see: the tool and its function.
    published: BTreeMap<String, (Arc<Tool>, usize)>,
}

impl Shelf {
    fn new(revision: i64, tools: BTreeMap<String, Arc<Tool>>) -> Self {
        let mut published = BTreeMap::new();
        for tool in tools.values() {
            for (at, name) in names::published(&tool.row.tool, tool.functions()).into_iter().enumerate() {
                published.insert(name, (Arc::clone(tool), at));
            }
        }
        Self { revision, tools, published }
    }

    /// The tool and the function that MCP clients see under this name.
    pub fn published(&self, name: &str) -> Option<(&Arc<Tool>, &ToolFunction)> {
        let (tool, at) = self.published.get(name)?;
        Some((tool, tool.functions().get(*at)?))
    }

    /// In the order of their names, those after `after`.
    pub fn published_after(&self, after: &str) -> impl Iterator<Item = (&str, &Arc<Tool>, &ToolFunction)> {
        use std::ops::Bound;
        let range = self.published.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        range.filter_map(|(name, (tool, at))| Some((name.as_str(), tool, tool.functions().get(*at)?)))
    }
}

struct Seen {
    shelf: Arc<Shelf>,
    checked: Instant,
}

pub struct Catalogue {
    store: Store,
    policy: Arc<OperatorPolicy>,
    limits: LimitsConfig,
    seen: RwLock<HashMap<OrganizationId, Seen>>,
    /// Held while the store is read: one reader at a time, the others do with what is there.
    reading: Mutex<()>,
}

impl Catalogue {
    pub fn new(store: Store, policy: Arc<OperatorPolicy>, limits: LimitsConfig) -> Self {
        Self { store, policy, limits, seen: RwLock::default(), reading: Mutex::new(()) }
    }

    fn known(&self, organization: &OrganizationId) -> Option<(Arc<Shelf>, bool)> {
        let seen = self.seen.read().unwrap_or_else(|e| e.into_inner());
        seen.get(organization).map(|seen| (Arc::clone(&seen.shelf), seen.checked.elapsed() < FRESH))
    }

    /// The organization's tools.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn shelf(&self, organization: &OrganizationId) -> Result<Arc<Shelf>, Error> {
        let known = self.known(organization);
        let _turn = match known {
            Some((shelf, true)) => return Ok(shelf),
            // Somebody looks already.
            Some((shelf, false)) => match self.reading.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(shelf),
            },
            None => self.reading.lock().await,
        };
        if let Some((shelf, true)) = self.known(organization) {
            return Ok(shelf);
        }
        self.read(organization).await
    }

    /// Reads again what has changed: after a change of our own.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn refresh(&self, organization: &OrganizationId) -> Result<Arc<Shelf>, Error> {
        let _turn = self.reading.lock().await;
        self.read(organization).await
    }

    /// `reading` is held.
    async fn read(&self, organization: &OrganizationId) -> Result<Arc<Shelf>, Error> {
        // The time from before the question: what changes while it is answered is seen the next time.
        let checked = Instant::now();
        let revision = self.store.tools_revision(organization).await?;
        let old = self.known(organization).map(|(shelf, _)| shelf).unwrap_or_default();
        let shelf =
            if old.revision == revision { old } else { Arc::new(self.changed(organization, &old, revision).await?) };
        let mut seen = self.seen.write().unwrap_or_else(|e| e.into_inner());
        seen.insert(organization.clone(), Seen { shelf: Arc::clone(&shelf), checked });
        Ok(shelf)
    }

    async fn changed(&self, organization: &OrganizationId, old: &Shelf, revision: i64) -> Result<Shelf, Error> {
        let heads = self.store.tool_heads(organization).await?;
        let mut tools = BTreeMap::new();
        let mut missing = Vec::new();
        for head in heads {
            let same = |tool: &&Arc<Tool>| (tool.row.number, tool.row.made) == (head.number, head.made);
            match old.tools.get(&head.tool).filter(same) {
                Some(same) => drop(tools.insert(head.tool, Arc::clone(same))),
                None => missing.push(head),
            }
        }
        let rows = if missing.len() > ONE_BY_ONE {
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
        Ok(Shelf::new(revision, tools))
    }
}
