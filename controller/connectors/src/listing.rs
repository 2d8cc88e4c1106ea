//! The tools of a server: read page by page, filtered, renamed, cleaned, bounded, kept for a while.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{ConnectorTool, McpVersion, ToolHints};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clean::{Scrub, clean_schema, said, weight};
use crate::error::CallError;
use crate::exchange::Wanted;
use crate::link::Link;
use crate::names::offered;

/// The most tools of one server.
pub const MAX_TOOLS: usize = 1_000;
/// The longest schema of a tool, as JSON.
pub const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// The longest descriptions and schemas of all tools of a server together.
pub const MAX_TOOLS_BYTES: usize = 4 << 20;
/// The most bytes of memory that schemas take, of one tool and of all tools of a server: short texts may be many values.
const MAX_TOOL_WEIGHT: usize = 1 << 20;
const MAX_TOOLS_WEIGHT: usize = 16 << 20;
/// The longest description of a tool, in characters.
const MAX_DESCRIPTION: usize = 8 << 10;
const MAX_TITLE: usize = 200;
const MAX_PAGES: usize = 200;
/// The longest page.
const MAX_PAGE_BYTES: usize = 8 << 20;
const MAX_CURSOR_BYTES: usize = 16 << 10;
/// Reasons that are kept for tools that are not offered.
const MAX_SKIPPED: usize = 100;
/// A list is asked for again after this time.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// A list that is older than this is not used even if the server fails.
const USED_FOR: Duration = Duration::from_secs(3_600);
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// The tools of a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolList {
    /// As models are offered them, by name.
    pub tools: Vec<ConnectorTool>,
    /// Tools that are not offered, each with the reason.
    pub skipped: Vec<String>,
    /// The server's name and version, as it says.
    pub server: String,
    pub protocol: McpVersion,
}

impl ToolList {
    /// The tool that is offered under this name.
    pub fn find(&self, name: &str) -> Option<&ConnectorTool> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

/// A list, and the time and the state of the server that it is of.
pub(crate) struct Listed {
    pub(crate) list: Arc<ToolList>,
    at: Instant,
    changes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTool<'a> {
    name: String,
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(borrow)]
    input_schema: &'a RawValue,
    #[serde(borrow)]
    output_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawHints {
    title: Option<String>,
    read_only_hint: Option<bool>,
    destructive_hint: Option<bool>,
    idempotent_hint: Option<bool>,
    open_world_hint: Option<bool>,
}

/// The tools of a server; from memory while they are fresh. `anew`: a list that is older than this is asked for again.
pub(crate) async fn tools(link: &Arc<Link>, anew: Option<Duration>) -> Result<Arc<ToolList>, CallError> {
    // One asks, the others wait for its list.
    let deadline = Instant::now() + LIST_TIMEOUT;
    let Ok(mut held) = tokio::time::timeout_at(deadline, link.listed.lock()).await else {
        return Err(CallError::not_sent("the server's tools were not listed in time"));
    };
    let kept_for = anew.unwrap_or(KEPT_FOR);
    if let Some(listed) =
        held.as_ref().filter(|listed| listed.changes == link.changes() && listed.at.elapsed() < kept_for)
    {
        return Ok(Arc::clone(&listed.list));
    }
    let changes = link.changes();
    match read(link, deadline).await {
        Ok(list) => {
            let list = Arc::new(list);
            *held = Some(Listed { list: Arc::clone(&list), at: Instant::now(), changes });
            Ok(list)
        }
        // Listing has no effect, so the list of before serves while the server is away.
        Err(failed @ (CallError::NotSent { .. } | CallError::Unknown(_))) => match held.as_ref() {
            Some(old) if old.at.elapsed() < USED_FOR => Ok(Arc::clone(&old.list)),
            _ => Err(match failed {
                CallError::Unknown(why) => CallError::not_sent(why),
                other => other,
            }),
        },
        Err(failed) => Err(failed),
    }
}

async fn read(link: &Arc<Link>, deadline: Instant) -> Result<ToolList, CallError> {
    let mut found = Found::default();
    let mut cursor: Option<String> = None;
    let mut seen = HashSet::new();
    for _ in 0..MAX_PAGES {
        let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
        let wanted = Wanted { deadline, max_bytes: MAX_PAGE_BYTES, progress: None, cancels: false };
        let (json, session) = link.request("tools/list", params, &wanted).await?;
        let page: Page<'_> = serde_json::from_str(&json)
            .map_err(|_| CallError::Answered("the server's list of tools cannot be read".to_owned()))?;
        for tool in page.tools {
            found.add(link, tool.get());
        }
        let next = page.next_cursor.filter(|next| !next.is_empty() && next.len() <= MAX_CURSOR_BYTES);
        // A cursor that comes again would never end.
        cursor = next.filter(|next| seen.insert(next.clone()));
        if cursor.is_none() || found.full {
            return Ok(found.list(session.server.clone(), session.version));
        }
    }
    Err(CallError::Answered(format!("the server's list of tools has more than {MAX_PAGES} pages")))
}

#[derive(Default)]
struct Found {
    tools: BTreeMap<String, ConnectorTool>,
    originals: HashSet<String>,
    skipped: Vec<String>,
    bytes: usize,
    weight: usize,
    full: bool,
}

impl Found {
    fn list(self, server: String, protocol: McpVersion) -> ToolList {
        ToolList { tools: self.tools.into_values().collect(), skipped: self.skipped, server, protocol }
    }

    fn skip(&mut self, link: &Link, name: &str, why: &str) {
        if self.skipped.len() < MAX_SKIPPED {
            let name = link.credentials.scrub().said(name);
            self.skipped.push(format!("{}: {why}", name.chars().take(80).collect::<String>()));
        }
    }

    fn add(&mut self, link: &Link, json: &str) {
        if self.tools.len() >= MAX_TOOLS {
            self.full = true;
            return;
        }
        let Ok(raw) = serde_json::from_str::<RawTool<'_>>(json) else {
            self.skip(link, "a tool", "it cannot be read");
            return;
        };
        let name = match offered(&link.spec, &raw.name) {
            Ok(Some(name)) => name,
            Ok(None) => return,
            Err(why) => return self.skip(link, &raw.name, why),
        };
        if !self.originals.insert(raw.name.clone()) {
            return self.skip(link, &raw.name, "the server has two tools of this name; the first one counts");
        }
        if self.tools.contains_key(&name) {
            let why = "another tool is offered under this name; give it another one with `rename`";
            return self.skip(link, &raw.name, why);
        }
        let tool = match tool(link, name, raw) {
            Ok(tool) => tool,
            Err((name, why)) => return self.skip(link, &name, why),
        };
        let schemas = || [Some(&tool.input_schema), tool.output_schema.as_ref()].into_iter().flatten();
        let bytes = tool.description.len() + schemas().map(|schema| schema.to_string().len()).sum::<usize>();
        let weight: usize = schemas().map(weight).sum();
        if self.bytes + bytes > MAX_TOOLS_BYTES || self.weight + weight > MAX_TOOLS_WEIGHT {
            self.full = true;
            return self.skip(link, &tool.original, "the descriptions of all tools are too long");
        }
        self.bytes += bytes;
        self.weight += weight;
        self.tools.insert(tool.name.clone(), tool);
    }
}

fn tool(link: &Link, name: String, raw: RawTool<'_>) -> Result<ConnectorTool, (String, &'static str)> {
    let long = |json: &RawValue| json.get().len() > MAX_SCHEMA_BYTES;
    if long(raw.input_schema) {
        return Err((raw.name, "its schema is too long"));
    }
    let schema = serde_json::from_str(raw.input_schema.get()).ok();
    let Some(Value::Object(mut schema)) = schema else { return Err((raw.name, "its schema is no object")) };
    match schema.get("type") {
        None => drop(schema.insert("type".to_owned(), json!("object"))),
        Some(kind) if kind == "object" => {}
        Some(_) => return Err((raw.name, "its schema is not that of an object")),
    }
    let mut input_schema = Value::Object(schema);
    let scrub = link.credentials.scrub();
    if weight(&input_schema) > MAX_TOOL_WEIGHT {
        return Err((raw.name, "its schema has too many parts"));
    }
    if !clean_schema(&mut input_schema, &scrub) {
        return Err((raw.name, "its schema has characters that are not seen"));
    }
    // Nobody needs it to call the tool.
    let output_schema = raw.output_schema.filter(|json| !long(json)).and_then(|json| output(json.get(), &scrub));
    let claims: RawHints = raw.annotations.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default();
    let title = raw.title.or(claims.title).map(|title| said(&scrub.shown(&title, MAX_TITLE)));
    Ok(ConnectorTool {
        name,
        original: raw.name,
        title: title.filter(|title| !title.is_empty()),
        description: scrub.shown(&raw.description.unwrap_or_default(), MAX_DESCRIPTION),
        input_schema,
        output_schema,
        hints: ToolHints {
            read_only: claims.read_only_hint,
            destructive: claims.destructive_hint,
            idempotent: claims.idempotent_hint,
            open_world: claims.open_world_hint,
        },
    })
}

/// The schema of a tool's results, if it is small and seen.
fn output(json: &str, scrub: &Scrub) -> Option<Value> {
    let mut schema: Value = serde_json::from_str(json).ok()?;
    (weight(&schema) <= MAX_TOOL_WEIGHT && clean_schema(&mut schema, scrub)).then_some(schema)
}
