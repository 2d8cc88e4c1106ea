//! Authenticates a group of routes: 401 without a known key, 403 for a key that lacks the scope. A key that is revoked
//! while its request is under way ends it, and so does a stream. A run token opens none of these routes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::HeaderMap;

use cofferdam_core::{Caller, Scope};
use cofferdam_http::{ApiError, Known, presented_key, refuse_nul_in, unless_ended};
use cofferdam_identity::{Keyring, RUN_TOKEN_PREFIX};

const REVOKED: &str = "This API key was revoked while its request was under way.";
const NO_KEY: &str = "Send an API key as `x-api-key`, `x-xpander-api-key` or `Authorization: Bearer`.";
const RUN_TOKEN: &str = "This is a run token: it opens the addresses of models and nothing else. Send an API key.";

/// The caller with the request's key; `no_key` says that it is missing.
pub(crate) async fn find_caller(keyring: &Keyring, headers: &HeaderMap, no_key: &str) -> Result<Arc<Caller>, ApiError> {
    let key = presented_key(headers)?.ok_or_else(|| Problem::unauthorized(no_key))?;
    let unknown = || match key.starts_with(RUN_TOKEN_PREFIX) {
        true => Problem::unauthorized(RUN_TOKEN).into(),
        false => Problem::unauthorized("This API key is not known; it may have been revoked.").into(),
    };
    keyring.find(key).await?.ok_or_else(unknown)
}

/// Refuses a caller whose key lacks the scope.
fn cover(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    if caller.scopes.cover(scope) {
        return Ok(());
    }
    let detail = format!("This call needs the scope `{}`, which the key does not have.", scope.as_str());
    Err(Problem::forbidden(detail).into())
}

/// Middleware for routes that need `scope`; handlers find the [`Caller`] in the request's extensions.
pub(crate) async fn require(
    State((keyring, scope)): State<(Arc<Keyring>, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = find_caller(&keyring, request.headers(), NO_KEY).await;
    match (request.extensions().get::<Known>(), &caller) {
        (Some(known), Ok(caller)) => known.mark(&caller.key),
        (Some(known), Err(_)) => known.forget(),
        (None, _) => {}
    }
    let allowed = caller.and_then(|caller| {
        cover(&caller, scope)?;
        refuse_nul_in(request.uri())?;
        Ok(caller)
    });
    match allowed {
        Ok(caller) => {
            let revoked = keyring.watch(&caller);
            request.extensions_mut().insert(caller);
            let ended = Arc::clone(&revoked);
            let answer = unless_ended(next.run(request), &ended, revoked).await;
            answer.unwrap_or_else(|| ApiError::from(Problem::unauthorized(REVOKED)).into_response())
        }
        Err(error) => error.into_response(),
    }
}
