//! Authenticates a group of routes: 401 without a known key, 403 for a key that lacks the scope. A key that is revoked
//! while its request is under way ends it, and so does a stream.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::Problem;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use cofferdam_core::{Caller, Scope};
use cofferdam_http::ApiError;
use cofferdam_identity::Keyring;

const REVOKED: &str = "This API key was revoked while its request was under way.";
/// Characters of a parameter's name that a client is shown.
const MAX_SHOWN: usize = 80;
/// Shorter answers are not watched.
const MAX_SENT_AT_ONCE: u64 = 64 << 10;

/// A connection's mark, in the extensions of its requests: the key of the last one, if that was valid. Clones share the
/// mark. Connections without it are the first to be closed when there is no room for another one.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<AtomicU64>);

impl Known {
    /// The last request had this key.
    pub fn mark(&self, key: &str) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.0.store(hasher.finish() | 1, Ordering::Relaxed);
    }

    /// The last request had no valid key.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// A number for the key, never 0; two keys may share one.
    pub fn key(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|key| *key != 0)
    }
}

/// The key that a request carries: `x-api-key`, or `Authorization: Bearer`.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok();
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The caller, if its key is known.
async fn caller(keyring: &Keyring, headers: &HeaderMap) -> Result<Arc<Caller>, ApiError> {
    let Some(key) = presented_key(headers) else {
        return Err(Problem::unauthorized("Send an API key as `x-api-key` or `Authorization: Bearer`.").into());
    };
    let unknown = || Problem::unauthorized("This API key is not known; it may have been revoked.").into();
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

/// Refuses an address with a NUL character: no database can look it up, and nothing has such a name.
///
/// # Errors
/// [`Problem::not_found`] for one in the path, [`Problem::malformed`] that names the parameter for one in the query.
fn refuse_nul(uri: &Uri) -> Result<(), ApiError> {
    let escaped = |text: &str| text.contains("%00");
    if escaped(uri.path()) {
        return Err(Problem::not_found("The address has a NUL character, and nothing has one in its name.").into());
    }
    match uri.query().and_then(|query| query.split('&').find(|part| escaped(part))) {
        Some(part) => {
            let name: String = part.split(['=', '%']).next().unwrap_or_default().chars().take(MAX_SHOWN).collect();
            let detail = format!("`{name}` in the query has a NUL character, which no text here may have.");
            Err(Problem::malformed(detail).into())
        }
        None => Ok(()),
    }
}

/// Middleware for routes that need `scope`; handlers find the [`Caller`] in the request's extensions.
pub(crate) async fn require(
    State((keyring, scope)): State<(Arc<Keyring>, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = caller(&keyring, request.headers()).await;
    match (request.extensions().get::<Known>(), &caller) {
        (Some(known), Ok(caller)) => known.mark(&caller.key),
        (Some(known), Err(_)) => known.forget(),
        (None, _) => {}
    }
    let allowed = caller.and_then(|caller| {
        cover(&caller, scope)?;
        refuse_nul(request.uri())?;
        Ok(caller)
    });
    match allowed {
        Ok(caller) => {
            let revoked = keyring.watch(&caller);
            request.extensions_mut().insert(caller);
            let response = tokio::select! {
                biased;
                response = next.run(request) => response,
                () = revoked.cancelled() => return ApiError::from(Problem::unauthorized(REVOKED)).into_response(),
            };
            response.map(|body| watched(body, &revoked))
        }
        Err(error) => error.into_response(),
    }
}

/// A body that breaks off when the key is revoked. Short ones are on their way already.
fn watched(body: Body, revoked: &Arc<CancellationToken>) -> Body {
    if body.size_hint().upper().is_some_and(|bytes| bytes <= MAX_SENT_AT_ONCE) {
        return body;
    }
    let ended = Box::pin(CancellationToken::clone(revoked).cancelled_owned());
    Body::new(Watched { body, ended, _key: Arc::clone(revoked) })
}

struct Watched {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Keeps the key among those that are watched.
    _key: Arc<CancellationToken>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(Problem::unauthorized(REVOKED).detail))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
