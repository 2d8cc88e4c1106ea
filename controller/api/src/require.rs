//! Authenticates a group of routes: 401 without a known key, 403 for a key that lacks the scope. A key that is revoked or over
//! while its request is under way ends it, and so does a stream. A run token opens none of these routes.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};

use cofferdam_core::{Caller, Scope};
use cofferdam_http::{ApiError, Known, presented_key, refuse_nul_in, unless_ended};
use cofferdam_identity::{Found, Keyring, RUN_TOKEN_PREFIX, Rates, Refusal, TooOften};

use crate::observe::Peer;

const REVOKED: &str = "This API key was revoked, narrowed or over while its request was under way.";
const NO_KEY: &str = "Send an API key as `x-api-key`, `x-xpander-api-key` or `Authorization: Bearer`.";
const RUN_TOKEN: &str = "This is a run token: it opens the addresses of models and nothing else. Send an API key.";

/// The caller with the request's key; `no_key` says that it is missing. A refusal is counted for the audit log.
pub(crate) async fn find_caller(
    keyring: &Keyring,
    headers: &HeaderMap,
    address: Option<IpAddr>,
    no_key: &str,
) -> Result<Arc<Caller>, ApiError> {
    let Some(key) = presented_key(headers)? else {
        keyring.refusals().count(Refusal::unknown("no key", address));
        return Err(Problem::unauthorized(no_key).into());
    };
    match keyring.look(key).await? {
        Found::Caller(caller) => Ok(caller),
        Found::Ended { key, organization, why } => {
            keyring.refusals().count(Refusal::of(&key, &organization, why.as_str(), address));
            Err(Problem::unauthorized(why.sentence()).into())
        }
        Found::Unknown => {
            let (reason, detail) = match key.starts_with(RUN_TOKEN_PREFIX) {
                true => ("run token", RUN_TOKEN),
                false => ("unknown", "This API key is not known."),
            };
            keyring.refusals().count(Refusal::unknown(reason, address));
            Err(Problem::unauthorized(detail).into())
        }
    }
}

/// Refuses a caller whose key has none of the scopes.
fn cover(keyring: &Keyring, caller: &Caller, needs: &[Scope], address: Option<IpAddr>) -> Result<(), ApiError> {
    if caller.scopes.cover_any(needs) {
        return Ok(());
    }
    keyring.refusals().count(Refusal::of(&caller.key, &caller.organization, "scope", address));
    let names: Vec<String> = needs.iter().map(|scope| format!("`{}`", scope.as_str())).collect();
    let detail = format!("This call needs the scope {}, which the key does not have.", names.join(" or "));
    Err(Problem::forbidden(detail).into())
}

/// The answer to a request too many.
fn too_many(too_often: TooOften) -> Response {
    let seconds = too_often.retry_after_s;
    let mut response = ApiError::from(Problem::from(too_often)).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Middleware for routes that need one of the scopes; handlers find the [`Caller`] in the request's extensions.
pub(crate) async fn require(
    State((keyring, rates, needs)): State<(Arc<Keyring>, Arc<Rates>, &'static [Scope])>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let caller = find_caller(&keyring, request.headers(), address, NO_KEY).await;
    match (request.extensions().get::<Known>(), &caller) {
        (Some(known), Ok(caller)) => known.mark(&caller.key),
        (Some(known), Err(_)) => known.forget(),
        (None, _) => {}
    }
    // Refusals of the caller's own making count as well.
    if let Ok(caller) = &caller
        && let Err(too_often) = rates.check(&caller.key, &caller.organization, &caller.limits).await
    {
        return too_many(too_often);
    }
    let allowed = caller.and_then(|caller| {
        cover(&keyring, &caller, needs, address)?;
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
