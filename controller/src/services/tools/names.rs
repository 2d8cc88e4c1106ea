//! The names under which MCP clients see a tool's functions: `{tool}-{function}`, or `{tool}` where it has one.

use cofferdam_contract::ToolFunction;

/// In the order of the functions.
pub fn published(tool: &str, functions: &[ToolFunction]) -> Vec<String> {
    match functions {
        [_] => vec![tool.to_owned()],
        several => several.iter().map(|function| format!("{tool}-{}", function.name)).collect(),
    }
}
