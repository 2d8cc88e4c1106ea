//! An organization's serving tools at one moment, by name and by the names that MCP clients see.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use cofferdam_contract::ToolFunction;

use crate::{Tool, names};

/// An organization's serving tools at one moment.
#[derive(Debug, Default)]
pub struct ToolShelf {
    /// Counts the changes of the organization's tools.
    pub revision: i64,
    pub(crate) tools: BTreeMap<String, Arc<Tool>>,
    /// By the name that MCP clients see: the tool and the index of its function.
    published: BTreeMap<String, (Arc<Tool>, usize)>,
}

impl ToolShelf {
    pub(crate) fn new(revision: i64, tools: BTreeMap<String, Arc<Tool>>) -> Self {
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

    /// The published functions in the order of their names, those after `after`.
    pub fn published_after(&self, after: &str) -> impl Iterator<Item = (&str, &Arc<Tool>, &ToolFunction)> {
        let range = self.published.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        range.filter_map(|(name, (tool, at))| Some((name.as_str(), tool, tool.functions().get(*at)?)))
    }
}
