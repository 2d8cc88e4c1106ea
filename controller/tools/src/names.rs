//! The names of a tool's functions for MCP clients: `{tool}-{function}`, or `{tool}` for a tool with one function.

use cofferdam_contract::ToolFunction;

/// The names, in the order of the functions.
pub(crate) fn published(tool: &str, functions: &[ToolFunction]) -> Vec<String> {
    match functions {
        [_] => vec![tool.to_owned()],
        several => several.iter().map(|function| format!("{tool}-{}", function.name)).collect(),
    }
}
