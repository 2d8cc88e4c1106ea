//! The front of a worker for other machines: checks the token and passes the worker's wire on unchanged. It knows no
//! keys and no sessions. `/health` without the token says only that the process lives.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::header::AUTHORIZATION;

use crate::Error;
use crate::auth::{Hash, hash};
use crate::config::Secret;
use crate::workers::Worker;

#[derive(Clone)]
struct Front {
    worker: Arc<Worker>,
    token: Hash,
}

/// The router of `serve --role code-runner`.
pub fn front(worker: Arc<Worker>, token: &Secret) -> Router {
    Router::new().fallback(pass).with_state(Front { worker, token: hash(token.expose()) })
}

fn has_token(front: &Front, request: &Request) -> bool {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    // Hashes are compared, so the time tells nothing of the token.
    given.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| hash(token) == front.token)
}

async fn pass(State(front): State<Front>, request: Request) -> Result<Response, Error> {
    if !has_token(&front, &request) {
        if request.uri().path() == "/health" {
            return Ok(axum::Json(serde_json::json!({ "status": "ok" })).into_response());
        }
        return Err(Problem::unauthorized("This is a worker: it takes only its controllers' token.").into());
    }
    let (mut head, body) = front.worker.pass(request).await?.into_parts();
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Body::new(body)))
}
