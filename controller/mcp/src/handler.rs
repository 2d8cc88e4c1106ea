//! Answers MCP requests. A handler lives as long as one request; its caller is in the HTTP request's extensions.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData as McpError, ServerHandler};
use tokio::time::Instant;

use super::calls::{Calls, UnderWay};
use super::{agents, changes, run_code, tools};
use cofferdam_core::{Caller, Failure, Scope, chain};
use cofferdam_sandbox::Sandboxes;

/// Tools per page of the list.
const PAGE: usize = 50;
/// The interval of progress notifications during a slow call.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

const INSTRUCTIONS: &str = "Runs code in WebAssembly sandboxes (`run_code`), calls the tools that are deployed here, and asks agents (`ask_...`). \
    Each call is confined to what its tool was granted. In `run_code`, state lasts only in a session: pass `session` \
    \"new\" once, then the id that is returned.";

pub(crate) struct Mcp {
    sandboxes: Arc<Sandboxes>,
    watched: changes::Watched,
    calls: Arc<Calls>,
}

/// The caller of a request.
fn caller(context: &RequestContext<RoleServer>) -> Result<Arc<Caller>, McpError> {
    let parts = context.extensions.get::<http::request::Parts>();
    let caller = parts.and_then(|parts| parts.extensions.get::<Arc<Caller>>());
    caller.cloned().ok_or_else(|| McpError::internal_error("the caller is not known", None))
}

pub(super) fn failed(error: &dyn Failure) -> McpError {
    tracing::error!(error = %chain(error), "an MCP request failed");
    McpError::internal_error("Internal failure; see the server's log.", None)
}

impl Mcp {
    pub(crate) fn new(sandboxes: Arc<Sandboxes>, watched: changes::Watched, calls: Arc<Calls>) -> Self {
        Self { sandboxes, watched, calls }
    }

    /// Registers this request, so that a notification can cancel it.
    fn begin(&self, caller: &Caller, context: &RequestContext<RoleServer>) -> UnderWay {
        let none = HeaderMap::new();
        let headers = context.extensions.get::<http::request::Parts>().map_or(&none, |parts| &parts.headers);
        self.calls.begin(caller, headers, &serde_json::to_value(&context.id).unwrap_or_default())
    }

    async fn call(&self, request: CallToolRequestParams, caller: &Caller) -> Result<CallToolResult, McpError> {
        if !caller.scopes.cover(Scope::Run) {
            return Err(McpError::invalid_params("calling this tool needs a key with the scope `run`", None));
        }
        if request.name == run_code::NAME {
            return run_code::call(&self.sandboxes, caller, request.arguments.unwrap_or_default()).await;
        }
        tools::call(&self.watched.tools, caller, &request.name, request.arguments.unwrap_or_default()).await
    }
}

impl ServerHandler for Mcp {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("cofferdam", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = caller(&context)?;
        let cursor = request.and_then(|request| request.cursor).unwrap_or_default();
        let mut listed = Vec::new();
        let mut next = None;
        // A key sees the tools that it may call; agents come after all others.
        if caller.scopes.cover(Scope::Run) && !cursor.starts_with(agents::PREFIX) {
            let shelf = self.watched.tools.shelf(&caller.organization).await.map_err(|e| failed(&e))?;
            if cursor.is_empty() {
                listed.push(run_code::tool());
            }
            let mut rest = shelf.published_after(&cursor);
            listed.extend(rest.by_ref().take(PAGE).map(|(name, tool, function)| tools::tool(name, tool, function)));
            next = listed.last().map(|tool| tool.name.to_string()).filter(|_| rest.next().is_some());
        }
        if caller.scopes.cover(Scope::Invoke) && next.is_none() {
            let active = self.watched.agents.active(&caller.organization).await.map_err(|e| failed(&*e))?;
            let after = cursor.strip_prefix(agents::PREFIX).unwrap_or_default();
            let mut last = after;
            let mut rest = active.agents.iter().filter(|agent| agent.id.as_str() > after).peekable();
            while let Some(agent) = rest.next_if(|_| listed.len() < PAGE) {
                listed.push(agents::tool(agent));
                last = agent.id.as_str();
            }
            next = rest.peek().map(|_| format!("{}{last}", agents::PREFIX));
        }
        Ok(ListToolsResult { next_cursor: next, ..ListToolsResult::with_all_items(listed) })
    }

    /// Dropping this future cancels the call, but for an agent's task, which goes on. It is dropped when the client disconnects.
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context)?;
        let progress = context.meta.get_progress_token();
        let started = Instant::now();
        let under_way = self.begin(&caller, &context);
        if let Some(id) = request.name.strip_prefix(agents::PREFIX) {
            let key = agents::idempotency_key(&serde_json::to_value(&context.meta).unwrap_or_default());
            let listener = agents::Listener::new(context.peer.clone(), progress, context.ct.clone());
            let arguments = request.arguments.unwrap_or_default();
            let agents = &*self.watched.agents;
            return Ok(agents::call(agents, &caller, id, arguments, key, listener, &under_way).await?.into());
        }
        let mut call = std::pin::pin!(self.call(request, &caller));
        loop {
            tokio::select! {
                result = &mut call => return Ok(result?.into()),
                () = under_way.cancelled() => return Err(McpError::internal_error("cancelled", None)),
                () = context.ct.cancelled() => return Err(McpError::internal_error("cancelled", None)),
                () = tokio::time::sleep(PROGRESS_INTERVAL), if progress.is_some() => {
                    let Some(token) = progress.clone() else { continue };
                    let seconds = started.elapsed().as_secs_f64();
                    let word = ProgressNotificationParam::new(token, seconds).with_message("running");
                    // A client that ignores progress still gets its answer.
                    let _ = context.peer.notify_progress(word).await;
                }
            }
        }
    }

    fn accepted_subscription_filter(&self, _: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let caller = caller(context.request_context())?;
        let mut watch = changes::Watch::new(&self.watched, &caller);
        loop {
            tokio::select! {
                () = watch.changed() => {
                    if context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
                () = context.cancelled() => return Ok(()),
            }
        }
    }
}
