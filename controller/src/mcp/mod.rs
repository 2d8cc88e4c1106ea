//! MCP at `/mcp` (streamable HTTP): `run_code` and every deployed tool. Without sessions of its own, so that any
//! controller behind a load balancer answers any request; a call that is dropped is cancelled.

mod calls;
mod changes;
mod handler;
mod run_code;
mod tools;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::Error;
use crate::api::read_body;
use crate::auth::Caller;
use crate::services::App;

use calls::Calls;
pub use changes::changes;
use handler::Mcp;

/// The longest message: a run with its files, and what is around it. Arguments of tools have a bound of their own.
const MOST: usize = MAX_REQUEST_BYTES + (64 << 10);

/// MCP's service for one controller.
#[derive(Clone)]
pub struct McpService {
    service: StreamableHttpService<Mcp, NeverSessionManager>,
    calls: Arc<Calls>,
}

impl McpService {
    pub fn new(app: &App) -> Self {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(MOST)
            // A page of another origin has no key to send, and without one nothing is answered.
            .disable_allowed_hosts();
        let (app, calls) = (Arc::clone(app), Arc::new(Calls::default()));
        let known = Arc::clone(&calls);
        let handler = move || Ok(Mcp::new(Arc::clone(&app), Arc::clone(&known)));
        Self { service: StreamableHttpService::new(handler, Arc::default(), config), calls }
    }
}

/// `POST /mcp`. The caller is in the request's extensions by now.
///
/// # Errors
/// A body that is too large or too slow; all else is said in MCP's own words.
pub async fn post(
    State(mcp): State<McpService>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, MOST).await?;
    let client = mcp.calls.look(&caller, &parts.headers, &body)?;
    let request = Request::from_parts(parts, Body::from(body));
    let mut response = mcp.service.handle(request).await.map(Body::new);
    if let Some(client) = client.filter(|_| response.status().is_success()) {
        response.headers_mut().insert(calls::CLIENT, client);
    }
    Ok(response)
}
