//! MCP at `/mcp` (streamable HTTP): `run_code` and every deployed tool. Without sessions of its own, so that any
//! controller behind a load balancer answers any request; a call that is dropped is cancelled.

mod changes;
mod handler;
mod run_code;
mod tools;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::services::App;
use cofferdam_contract::tool::MAX_ARGUMENTS_BYTES;

pub use changes::changes;
use handler::Mcp;

/// What is around a call's arguments.
const FRAME: usize = 64 << 10;

/// MCP's service for one controller.
#[derive(Clone)]
pub struct McpService {
    service: StreamableHttpService<Mcp, NeverSessionManager>,
}

impl McpService {
    pub fn new(app: &App) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(MAX_ARGUMENTS_BYTES + FRAME)
            // A page of another origin has no key to send, and without one nothing is answered.
            .disable_allowed_hosts();
        let app = Arc::clone(app);
        let handler = move || Ok(Mcp::new(Arc::clone(&app)));
        Self { service: StreamableHttpService::new(handler, Arc::default(), config) }
    }
}

/// `POST /mcp`. The caller is in the request's extensions by now.
pub async fn post(State(mcp): State<McpService>, request: Request) -> Response {
    mcp.service.handle(request).await.map(Body::new)
}
