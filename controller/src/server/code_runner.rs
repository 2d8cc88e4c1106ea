//! Serves a machine's workers to controllers on other machines: checks the token and forwards requests unchanged, those
//! for tools to the tool worker, the rest to the worker. It knows no API keys and no sessions. `/health` needs no token
//! and says only that the process is alive.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_contract::uplink::{GATEWAY_HEADER, UPGRADE};
use cofferdam_contract::{Component, Problem};
use http::header::{AUTHORIZATION, CONNECTION, UPGRADE as UPGRADE_HEADER};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use cofferdam_core::Secret;
use cofferdam_http::ApiError;
use cofferdam_http::Known;
use cofferdam_identity::{Hash, hash};
use cofferdam_workers::{ToolWorker, Worker};

#[derive(Clone)]
struct Front {
    worker: Arc<Worker>,
    tools: Option<Arc<ToolWorker>>,
    token: Hash,
}

/// The router of `serve --role code-runner`.
pub fn front(worker: Arc<Worker>, tools: Option<Arc<ToolWorker>>, token: &Secret) -> Router {
    Router::new()
        .route("/uplink", post(uplink))
        .route("/tools/uplink", post(tools_uplink))
        .route("/tools/components/{digest}", put(component))
        .fallback(pass)
        .with_state(Front { worker, tools, token: hash(token.expose()) })
}

impl Front {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        // Comparing hashes keeps the timing from revealing the token.
        match given.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| hash(token) == self.token) {
            true => {
                if let Some(known) = request.extensions().get::<Known>() {
                    known.mark("controller");
                }
                Ok(())
            }
            false => {
                Err(Problem::unauthorized("This is a code-runner: it only accepts its controllers' token.").into())
            }
        }
    }

    fn tools(&self) -> Result<&Arc<ToolWorker>, ApiError> {
        self.tools.as_ref().ok_or_else(|| Problem::not_found("This machine runs no tools.").into())
    }
}

async fn pass(State(front): State<Front>, request: Request) -> Result<Response, ApiError> {
    if let Err(refused) = front.check(&request) {
        if request.uri().path() == "/health" {
            return Ok(Json(serde_json::json!({ "status": "ok" })).into_response());
        }
        return Err(refused);
    }
    let answer = match request.uri().path().starts_with("/tools/") {
        true => front.tools()?.pass(request).await?,
        false => front.worker.pass(request).await?,
    };
    let (mut head, body) = answer.into_parts();
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Body::new(body)))
}

/// Compiles a component here, in a process of its own: the worker is not allowed to.
async fn component(
    State(front): State<Front>,
    Path(digest): Path<String>,
    request: Request,
) -> Result<Json<Component>, ApiError> {
    front.check(&request)?;
    let bytes = axum::body::to_bytes(request.into_body(), MAX_COMPONENT_BYTES).await;
    let bytes =
        bytes.map_err(|_| Problem::too_large(format!("A component may have at most {MAX_COMPONENT_BYTES} bytes.")))?;
    Ok(Json(front.tools()?.ensure(&digest, bytes).await?))
}

async fn uplink(State(front): State<Front>, request: Request) -> Result<Response, ApiError> {
    front.check(&request)?;
    let inner = front.worker.uplink("/uplink", gateway(&request)?).await?;
    Ok(tunnel(request, inner))
}

async fn tools_uplink(State(front): State<Front>, request: Request) -> Result<Response, ApiError> {
    front.check(&request)?;
    let inner = front.tools()?.uplink(gateway(&request)?).await?;
    Ok(tunnel(request, inner))
}

fn gateway(request: &Request) -> Result<&str, ApiError> {
    let name = request.headers().get(GATEWAY_HEADER).and_then(|value| value.to_str().ok());
    name.ok_or_else(|| Problem::malformed(format!("The header {GATEWAY_HEADER} is required.")).into())
}

/// Joins the caller's connection with the worker's once it is upgraded.
fn tunnel(mut request: Request, inner: Upgraded) -> Response {
    let outer = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match outer.await {
            Ok(outer) => {
                let (mut outer, mut inner) = (TokioIo::new(outer), TokioIo::new(inner));
                if let Err(error) = tokio::io::copy_bidirectional(&mut outer, &mut inner).await {
                    tracing::debug!(%error, "an uplink broke off");
                }
            }
            Err(error) => tracing::debug!(%error, "a caller requested an uplink and did not upgrade its connection"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE_HEADER, HeaderValue::from_static(UPGRADE));
    response
}
