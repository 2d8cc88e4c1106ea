//! MCP at `/mcp` (streamable HTTP): `run_code`, every deployed tool, and every active agent (`ask_ID`). It keeps no sessions, so any controller behind
//! a load balancer can answer any request; a call is cancelled when its connection closes, but for an agent's
//! task, which goes on.
//!
//! Never authenticates: the API has put the caller into the request's extensions.

mod agents;
mod calls;
mod changes;
mod error;
mod handler;
mod run_code;
mod tools;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, read_body};
use cofferdam_sandbox::Sandboxes;
use cofferdam_tools::Tools;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

pub use agents::{ActiveAgents, AgentTool, Agents, Failed, NoAgents, Running, Step};
use calls::Calls;
pub use error::Error;
use handler::Mcp;

/// The longest message, in bytes: a run with its files and the JSON around it. Tool arguments have a limit of their
/// own.
const MAX_MESSAGE: usize = MAX_REQUEST_BYTES + (64 << 10);

#[derive(Clone, FromRef)]
struct McpState {
    service: McpService,
    watched: changes::Watched,
}

/// The route `/mcp` over these services.
pub fn router(sandboxes: Arc<Sandboxes>, tools: Arc<Tools>, agents: Arc<dyn Agents>) -> Router {
    let watched = changes::Watched { tools, agents };
    let service = McpService::new(sandboxes, watched.clone());
    Router::new().route("/mcp", post(message).get(changes::changes)).with_state(McpState { service, watched })
}

/// The MCP service of one controller.
#[derive(Clone)]
struct McpService {
    service: StreamableHttpService<Mcp, NeverSessionManager>,
    calls: Arc<Calls>,
}

impl McpService {
    fn new(sandboxes: Arc<Sandboxes>, watched: changes::Watched) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(MAX_MESSAGE)
            // Every request needs a key, which a page of another origin does not have.
            .disable_allowed_hosts();
        let calls = Arc::new(Calls::default());
        let known = Arc::clone(&calls);
        let handler = move || Ok(Mcp::new(Arc::clone(&sandboxes), watched.clone(), Arc::clone(&known)));
        Self { service: StreamableHttpService::new(handler, Arc::default(), config), calls }
    }
}

/// `POST /mcp`.
///
/// # Errors
/// A body that is too large or too slow; every other failure is answered as an MCP error.
async fn message(
    State(mcp): State<McpService>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, MAX_MESSAGE).await?;
    let client = mcp.calls.look(&caller, &parts.headers, &body)?;
    let request = Request::from_parts(parts, Body::from(body));
    let mut response = mcp.service.handle(request).await.map(Body::new);
    if let Some(client) = client.filter(|_| response.status().is_success()) {
        response.headers_mut().insert(calls::CLIENT, client);
    }
    Ok(response)
}
