//! A deployment: everything that can go wrong with a version is found out before the one transaction that switches to
//! it. Until then nobody sees it, and the version before serves.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::grants::{MAX_FOLDER_BYTES, MAX_FOLDER_FILES};
use cofferdam_contract::tool::{ExportPath, MAX_COMPONENT_BYTES, ToolCall};
use cofferdam_contract::{Grants, Limits, LimitsRequest, Problem, RunId, Status, ToolOutcome};

use super::catalogue::Tool;
use super::names;
use crate::Error;
use crate::auth::Caller;
use crate::clock::{now, random_bits};
use crate::gateway::NO_MODELS;
use crate::policy::{self, ToolPolicy};
use crate::services::App;
use crate::store::{Switched, ToolVersionRow};

/// The most tools of one organization.
const MAX_TOOLS: usize = 5_000;
/// A component has this time to be instantiated, and to say what its functions are.
const TRIAL_MS: u64 = 5_000;
/// The longest limits that a request may name are the operator's; these are for trials.
const TRIAL_OUTPUT: u64 = 1 << 20;

/// What is handed over.
#[derive(Debug)]
pub struct Deployment {
    pub component: Bytes,
    pub asked: ToolPolicy,
    /// The reference it was pulled from; empty where it was uploaded.
    pub source: String,
}

/// Grants as a request may give them: as they are, or as a policy.
#[derive(Debug, Default)]
pub struct Wanted {
    pub grants: Option<Grants>,
    pub policy: Option<String>,
    pub limits: LimitsRequest,
}

impl Wanted {
    /// # Errors
    /// What is wrong with them, and where.
    pub fn read(self) -> Result<ToolPolicy, Error> {
        let mut asked = match (self.grants, self.policy) {
            (Some(_), Some(_)) => return Err(Problem::invalid("Give either `grants` or `policy`, not both.").into()),
            (Some(grants), None) => {
                policy::check_grants(&grants).map_err(|e| Problem::invalid(format!("grants.{e}")))?;
                ToolPolicy { grants, ..ToolPolicy::default() }
            }
            (None, Some(text)) => {
                ToolPolicy::parse(&text).map_err(|e| Problem::invalid(format!("The policy is refused: {e}")))?
            }
            (None, None) => ToolPolicy::default(),
        };
        if let Some(files) = asked.grants.files
            && (files.max_bytes > MAX_FOLDER_BYTES || files.max_files > MAX_FOLDER_FILES)
        {
            let detail = format!(
                "grants.files: max_bytes is at most {MAX_FOLDER_BYTES} and max_files at most {MAX_FOLDER_FILES}, \
                 because each call gets the whole folder; a tool that keeps more uses grants.keyvalue or a server."
            );
            return Err(Problem::invalid(detail).into());
        }
        asked.limits = over(self.limits, asked.limits);
        Ok(asked)
    }
}

/// What the request says, else what the policy says.
fn over(request: LimitsRequest, policy: LimitsRequest) -> LimitsRequest {
    LimitsRequest {
        wall_ms: request.wall_ms.or(policy.wall_ms),
        cpu_ms: request.cpu_ms.or(policy.cpu_ms),
        memory_bytes: request.memory_bytes.or(policy.memory_bytes),
        output_bytes: request.output_bytes.or(policy.output_bytes),
        disk_bytes: request.disk_bytes.or(policy.disk_bytes),
        files: request.files.or(policy.files),
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if policy::tool_name(name) {
        return Ok(());
    }
    let detail = "A tool's name has 1 to 64 of a-z, 0-9 and `-`, and neither begins nor ends with `-`.";
    Err(Problem::invalid(detail).into())
}

/// Deploys a version; the tool as it serves now, and whether it is new.
///
/// # Errors
/// What is wrong with the component or its grants. Nothing has changed then.
pub async fn deploy(app: &App, caller: &Caller, name: &str, what: Deployment) -> Result<(Arc<Tool>, bool), Error> {
    check_name(name)?;
    if what.component.is_empty() {
        return Err(Problem::bad_component("The component has no bytes.").into());
    }
    if what.component.len() > MAX_COMPONENT_BYTES {
        return Err(Problem::too_large(format!("A component may have at most {MAX_COMPONENT_BYTES} bytes.")).into());
    }
    let shelf = app.tools.catalogue.shelf(&caller.organization).await?;
    if shelf.tools.len() >= MAX_TOOLS && !shelf.tools.contains_key(name) {
        return Err(Problem::overloaded(format!("There are {MAX_TOOLS} tools already; delete some.")).into());
    }
    let digest = app.tools.blobs.put(what.component.clone()).await?;
    let component = app.tool_workers.ensure(&digest, what.component.clone()).await?;
    let row = ToolVersionRow {
        organization: caller.organization.clone(),
        tool: name.to_owned(),
        number: 0,
        component,
        grants: what.asked.grants,
        limits: what.asked.limits,
        warnings: what.asked.warnings,
        source: what.source,
        created_at: now(),
        current: false,
        made: 0,
    };
    let mut tool = Tool::new(row, &app.policy, &app.config.limits);
    if tool.grants.llm.is_some() && !app.gateway.has_models() {
        tool.row.warnings.push(format!("grants.llm: {NO_MODELS}"));
    }
    try_out(app, &mut tool, what.component).await?;
    let done = app.store.deploy_tool(&tool.row, &names::published(name, tool.functions())).await?;
    switched(app, tool.row, done).await
}

/// Goes back to a version that is kept: to this one (a digest or a number), or to the one before.
///
/// # Errors
/// [`Problem::not_found`], or what keeps that version from serving now.
pub async fn rollback(app: &App, caller: &Caller, name: &str, version: Option<&str>) -> Result<Arc<Tool>, Error> {
    let rows = app.store.tool_versions(&caller.organization, name).await?;
    let Some(current) = rows.iter().find(|row| row.current).map(|row| row.number) else {
        return Err(super::no_tool(name));
    };
    let wanted = |row: &&ToolVersionRow| match version {
        None => row.number < current,
        Some(version) => row.component.digest == version || row.number.to_string() == version,
    };
    let others = rows.iter().filter(|row| !row.current);
    let Some(row) = others.filter(wanted).max_by_key(|row| row.number) else {
        let detail = match version {
            None => format!("There is no version of {name:?} before the one that serves."),
            Some(_) => format!("No other version of {name:?} with that digest or number is kept."),
        };
        return Err(Problem::not_found(detail).into());
    };
    let bytes = component(app, &row.component.digest).await?;
    let mut tool = Tool::new(row.clone(), &app.policy, &app.config.limits);
    app.tool_workers.ensure(&row.component.digest, bytes.clone()).await?;
    try_out(app, &mut tool, bytes).await?;
    let published = names::published(name, tool.functions());
    let done = app.store.switch_tool(&caller.organization, name, row.number, &published).await?;
    Ok(switched(app, row.clone(), done).await?.0)
}

/// The component's bytes, for a worker that has not seen it.
pub(super) async fn component(app: &App, digest: &str) -> Result<Bytes, Error> {
    match app.tools.blobs.read(digest).await? {
        Some(bytes) => Ok(bytes),
        None => Err(Problem::internal("The component's file is gone from this server; deploy the tool again.").into()),
    }
}

/// What the switch to this row's version has come to.
async fn switched(app: &App, row: ToolVersionRow, done: Switched) -> Result<(Arc<Tool>, bool), Error> {
    match done {
        Switched::Done { number, made } => {
            // It serves whether we can read it back or not; callers find it at the latest a second from now.
            if let Err(error) = app.tools.catalogue.refresh(&row.organization).await {
                tracing::warn!(error = %error.chain(), "the tools could not be read again");
            }
            tracing::info!(tool = row.tool, number, version = %row.component.digest, "a version of a tool serves");
            let row = ToolVersionRow { number, current: true, ..row };
            Ok((Arc::new(Tool::new(row, &app.policy, &app.config.limits)), made))
        }
        Switched::Collision { name: taken, tool: other } => {
            let detail = format!(
                "The name {taken:?}, under which MCP clients would see a function of {:?}, is taken by the tool \
                 {other:?}. Give this tool another name.",
                row.tool
            );
            Err(Problem::conflict(detail).into())
        }
        Switched::Missing => Err(super::no_tool(&row.tool)),
    }
}

/// Checks the imports against what is granted, instantiates the component, asks it what its functions are.
async fn try_out(app: &App, tool: &mut Tool, bytes: Bytes) -> Result<(), Error> {
    covered(tool)?;
    let outcome = trial(app, tool, tool.grants.clone(), None, &bytes).await?;
    if outcome.status != Status::Ok {
        return Err(Problem::bad_component(format!("It does not start: {}", why(&outcome))).into());
    }
    if let Some(export) = tool.row.component.describe.clone() {
        let outcome = trial(app, tool, tool.grants.clone(), Some(export), &bytes).await?;
        if outcome.status != Status::Ok {
            let detail = format!("Its own `describe` function failed: {}", why(&outcome));
            return Err(Problem::bad_component(detail).into());
        }
        let said = outcome.result.as_deref().map_or("[]", |raw| raw.get());
        let said = serde_json::from_str(said).map_err(|e| {
            Problem::bad_component(format!("Its own `describe` function returned what is no description: {e}"))
        })?;
        tool.row.component.take_in(said);
    }
    Ok(())
}

fn covered(tool: &Tool) -> Result<(), Error> {
    let missing = cofferdam_contract::tool::uncovered(&tool.row.component.imports, &tool.grants);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().take(16).map(ToString::to_string).collect();
    let mut detail = format!("It {}.", lines.join("; it "));
    if !tool.limited.is_empty() {
        let limits: Vec<String> =
            tool.limited.iter().take(8).map(|l| format!("{} ({}: {})", l.grant, l.by, l.detail)).collect();
        detail.push_str(&format!(" Asked for, but not allowed: {}.", limits.join(", ")));
    }
    Err(Problem::bad_component(detail).into())
}

/// Starts the component with what it may link, but without a token: nothing leaves the sandbox before it is deployed.
async fn trial(
    app: &App,
    tool: &Tool,
    grants: Grants,
    export: Option<ExportPath>,
    bytes: &Bytes,
) -> Result<ToolOutcome, Error> {
    let limits = Limits {
        wall_ms: TRIAL_MS.min(tool.limits.wall_ms),
        cpu_ms: TRIAL_MS.min(tool.limits.cpu_ms),
        output_bytes: TRIAL_OUTPUT,
        ..tool.limits
    };
    let env = grants.config.clone();
    let call = ToolCall {
        id: RunId::from_random(random_bits()?),
        tool: tool.row.tool.clone(),
        digest: tool.row.component.digest.clone(),
        export,
        arguments: serde_json::value::RawValue::from_string("{}".to_owned()).map_err(|e| Error::Wire(e.to_string()))?,
        limits,
        grants,
        env,
        token: None,
        depth: 0,
    };
    app.tool_workers.call(&tool.row.organization, &call, || async { Ok(bytes.clone()) }).await
}

/// Why a call ended as it did, in one line.
fn why(outcome: &ToolOutcome) -> String {
    let said = outcome.error.as_ref().map(|error| format!("{}: {}", error.name, error.message));
    let text = match (outcome.status, said) {
        (Status::Timeout, _) => format!("it took more than {TRIAL_MS} ms"),
        (_, Some(said)) => said,
        (status, None) => format!("{status:?}").to_lowercase(),
    };
    text.lines().next().unwrap_or_default().chars().take(500).collect()
}
