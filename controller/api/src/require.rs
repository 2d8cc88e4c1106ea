//! Authenticates a group of routes: 401 without a known key, 403 for a key that lacks the scope.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use cofferdam_core::{Caller, Scope};
use cofferdam_http::ApiError;
use cofferdam_identity::Keyring;

/// The key that a request carries: `x-api-key`, or `Authorization: Bearer`.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok();
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The caller, if its key is known and covers the scope.
async fn caller(keyring: &Keyring, headers: &HeaderMap, scope: Scope) -> Result<Arc<Caller>, ApiError> {
    let Some(key) = presented_key(headers) else {
        return Err(Problem::unauthorized("Send an API key as `x-api-key` or `Authorization: Bearer`.").into());
    };
    let Some(caller) = keyring.find(key).await? else {
        return Err(Problem::unauthorized("This API key is not known; it may have been revoked.").into());
    };
    if !caller.scopes.cover(scope) {
        let detail = format!("This call needs the scope `{}`, which the key does not have.", scope.as_str());
        return Err(Problem::forbidden(detail).into());
    }
    Ok(caller)
}

/// Middleware for routes that need `scope`; handlers find the [`Caller`] in the request's extensions.
pub(crate) async fn require(
    State((keyring, scope)): State<(Arc<Keyring>, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller(&keyring, request.headers(), scope).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}
