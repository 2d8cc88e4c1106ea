//! Tools called by tools and snippets: only granted ones, only so deep, in the caller's own name.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_CALL_DEPTH};
use cofferdam_contract::uplink::GrantedTool;
use cofferdam_contract::{OrganizationId, Problem, ToolOutcome};
use cofferdam_core::{Caller, Failure};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::Gateway;
use crate::admission::Admission;
use crate::body::GatewayBody;
use crate::refusal::Refusal;
use crate::serve::{json, read};
use crate::services::{Answer, Service};

/// Tools shown in a refusal.
const MAX_SHOWN_TOOLS: usize = 16;
/// Characters shown of a name that a guest wrote.
const MAX_SHOWN_NAME_CHARS: usize = 80;

/// A call that no worker took, or that was refused.
pub type ToolCallError = Box<dyn Failure>;

/// The tools of organizations, as the gateway needs them. Implemented by the crate of tools, which is above this one.
pub trait ToolCalls: Send + Sync {
    /// All functions that the organization's tools publish; the gateway filters them by the grants.
    fn list<'a>(&'a self, organization: &'a OrganizationId) -> BoxFuture<'a, Result<Vec<GrantedTool>, ToolCallError>>;

    /// Calls a function. `arguments` is the body as the guest sent it; `depth` counts the calls that this one is in.
    fn call<'a>(
        &'a self,
        caller: &'a Caller,
        tool: &'a str,
        function: &'a str,
        arguments: Bytes,
        depth: u32,
    ) -> BoxFuture<'a, Result<ToolOutcome, ToolCallError>>;
}

/// The place for the [`ToolCalls`], which are made after the gateway because they need it. The composition fills it
/// once; clones share the place. It keeps nothing alive.
#[derive(Clone, Default)]
pub struct ToolCallsSlot(Arc<OnceLock<Weak<dyn ToolCalls>>>);

impl ToolCallsSlot {
    /// Fills the slot. A second call changes nothing.
    pub fn set<T: ToolCalls + 'static>(&self, tools: &Arc<T>) {
        let weak: Weak<T> = Arc::downgrade(tools);
        // The slot was filled before.
        let _ = self.0.set(weak);
    }

    fn get(&self) -> Result<Arc<dyn ToolCalls>, Problem> {
        let tools = self.0.get().and_then(Weak::upgrade);
        tools.ok_or_else(|| Problem::unavailable("Tools cannot be called: the service is starting or shutting down."))
    }
}

/// Calls of tools.
pub(crate) struct ToolsService;

impl Service for ToolsService {
    fn serves(&self, path: &str) -> bool {
        path == "/tools" || path.starts_with("/tools/")
    }

    fn answer<'a>(
        &self,
        gateway: &'a Gateway,
        admission: &'a Arc<Admission>,
        request: Request<Incoming>,
    ) -> Answer<'a> {
        Box::pin(tools(gateway, admission, request))
    }
}

/// `/tools`, or `/tools/{tool}/functions/{function}`.
async fn tools(
    gateway: &Gateway,
    admission: &Admission,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Refusal> {
    let path = request.uri().path().to_owned();
    if path == "/tools" {
        return list(gateway, admission).await;
    }
    let rest = path.strip_prefix("/tools/").and_then(|rest| rest.split_once("/functions/"));
    let (tool, function) =
        rest.ok_or_else(|| Refusal::not_found("Tools are called at /tools/{tool}/functions/{function}."))?;
    let pass = &admission.pass;
    if !granted(admission, tool) {
        let shown: String = tool.chars().take(MAX_SHOWN_NAME_CHARS).collect();
        let has = pass.grants.tools.iter().take(MAX_SHOWN_TOOLS).cloned().collect::<Vec<_>>().join(", ");
        return Err(Refusal::policy(format!("No grant covers the tool {shown:?}; grants.tools has [{has}].")));
    }
    if pass.depth >= MAX_CALL_DEPTH {
        return Err(Refusal::policy(format!("Tools may call each other {MAX_CALL_DEPTH} deep, not deeper.")));
    }
    let _place = admission.place().await?;
    let arguments = read(request, MAX_ARGUMENTS_BYTES).await?;
    let called = gateway.tools.get()?.call(&pass.caller, tool, function, arguments, pass.depth + 1).await;
    json(&called.map_err(|error| Refusal::of(&*error))?)
}

fn granted(admission: &Admission, tool: &str) -> bool {
    admission.pass.grants.tools.iter().any(|name| name == "*" || name == tool)
}

async fn list(gateway: &Gateway, admission: &Admission) -> Result<Response<GatewayBody>, Refusal> {
    if admission.pass.grants.tools.is_empty() {
        return json(&Vec::<GrantedTool>::new());
    }
    let found = gateway.tools.get()?.list(&admission.pass.caller.organization).await;
    let mut found = found.map_err(|error| Refusal::of(&*error))?;
    found.retain(|function| granted(admission, &function.tool));
    json(&found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoTools;

    impl ToolCalls for NoTools {
        fn list<'a>(&'a self, _: &'a OrganizationId) -> BoxFuture<'a, Result<Vec<GrantedTool>, ToolCallError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn call<'a>(
            &'a self,
            _: &'a Caller,
            _: &'a str,
            _: &'a str,
            _: Bytes,
            _: u32,
        ) -> BoxFuture<'a, Result<ToolOutcome, ToolCallError>> {
            Box::pin(async { Err(Box::new(Problem::not_found("There is no tool.")) as ToolCallError) })
        }
    }

    #[test]
    fn a_slot_is_empty_before_its_tools_are_made_and_after_they_are_gone() {
        let slot = ToolCallsSlot::default();
        assert_eq!(slot.get().err().unwrap().kind(), "unavailable");
        let tools = Arc::new(NoTools);
        slot.clone().set(&tools);
        assert!(slot.get().is_ok());
        drop(tools);
        assert_eq!(slot.get().err().unwrap().kind(), "unavailable");
    }
}
