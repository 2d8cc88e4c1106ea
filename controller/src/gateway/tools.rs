//! Tools called by tools and snippets: only those that are granted, only so deep, in the caller's own name.

use std::sync::Arc;

use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_CALL_DEPTH};
use cofferdam_contract::uplink::GrantedTool;
use http::{Request, Response};
use hyper::body::Incoming;

use super::admission::Admission;
use super::body::GatewayBody;
use super::refusal::Refusal;
use super::serve::{json, read};
use crate::services::{App, tools as services};

/// `/tools`, or `/tools/{tool}/functions/{function}`.
///
/// # Errors
/// A tool that is not granted or not there, and why no worker could take the call.
pub async fn tools(
    app: &App,
    admission: &Arc<Admission>,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let path = request.uri().path().to_owned();
    if path == "/tools" {
        return list(app, admission).await;
    }
    let rest = path.strip_prefix("/tools/").and_then(|rest| rest.split_once("/functions/"));
    let (tool, function) =
        rest.ok_or_else(|| Refusal::not_found("Calls are at /tools/{tool}/functions/{function}."))?;
    let pass = &admission.pass;
    if !granted(admission, tool) {
        let shown: String = tool.chars().take(80).collect();
        let has = pass.grants.tools.iter().take(16).cloned().collect::<Vec<_>>().join(", ");
        return Err(Refusal::policy(format!("No grant covers the tool {shown:?}; grants.tools has [{has}].")));
    }
    if pass.depth >= MAX_CALL_DEPTH {
        return Err(Refusal::policy(format!("Tools may call each other {MAX_CALL_DEPTH} deep, not deeper.")));
    }
    let _place = admission.places.acquire().await.map_err(|_| Refusal::token())?;
    let body = read(request, MAX_ARGUMENTS_BYTES).await?;
    let arguments = services::arguments(&body)?;
    let outcome = services::call(app, &pass.caller, tool, function, arguments, pass.depth + 1).await?;
    json(&outcome)
}

fn granted(admission: &Admission, tool: &str) -> bool {
    admission.pass.grants.tools.iter().any(|name| name == "*" || name == tool)
}

async fn list(app: &App, admission: &Arc<Admission>) -> Result<Response<GatewayBody>, Refusal> {
    if admission.pass.grants.tools.is_empty() {
        return json(&Vec::<GrantedTool>::new());
    }
    let shelf = app.tools.catalogue.shelf(&admission.pass.caller.organization).await?;
    let granted = shelf.published_after("").filter(|(_, tool, _)| granted(admission, &tool.row.tool));
    let describe = |(name, tool, function): (&str, &Arc<services::Tool>, &cofferdam_contract::ToolFunction)| {
        GrantedTool { name: name.to_owned(), tool: tool.row.tool.clone(), function: function.clone() }
    };
    json(&granted.map(describe).collect::<Vec<_>>())
}
