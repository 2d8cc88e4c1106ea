//! Notifies clients that the list of tools has changed: through subscriptions, and on the stream that older clients
//! open with `GET /mcp`. A stream depends on nothing but the client's key, so any controller can serve it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::{OrganizationId, Problem};
use futures_util::stream;
use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL};
use tokio::sync::{Semaphore, SemaphorePermit};

use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_tools::Tools;

/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The interval of keep-alive comments on a silent stream.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Concurrent streams, of all clients together.
const MAX_STREAMS: usize = 1_024;

const NOTICE: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// Watches one organization's tools for changes.
pub(crate) struct Watch {
    tools: Arc<Tools>,
    organization: OrganizationId,
    /// `None` before the first check.
    revision: Option<i64>,
}

impl Watch {
    pub(crate) fn new(tools: &Arc<Tools>, caller: &Caller) -> Self {
        Self { tools: Arc::clone(tools), organization: caller.organization.clone(), revision: None }
    }

    /// True if the tools have changed since the last call.
    async fn look(&mut self) -> bool {
        // While the store cannot be read, no change is detected.
        let Ok(shelf) = self.tools.shelf(&self.organization).await else { return false };
        self.revision.replace(shelf.revision).is_some_and(|before| before != shelf.revision)
    }

    /// Returns once the tools have changed.
    pub(crate) async fn changed(&mut self) {
        while !self.look().await {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}

struct Listening {
    watch: Watch,
    _place: SemaphorePermit<'static>,
}

/// `GET /mcp`: server-sent events, one per change.
///
/// # Errors
/// A client that does not accept events, or too many streams.
pub(crate) async fn changes(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    static PLACES: Semaphore = Semaphore::const_new(MAX_STREAMS);
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        return Err(Problem::invalid("GET /mcp is a stream of events: send Accept: text/event-stream.").into());
    }
    let place = PLACES.try_acquire().map_err(|_| Problem::overloaded("Too many clients listen for changes."))?;
    let listening = Listening { watch: Watch::new(&tools, &caller), _place: place };
    let events = stream::unfold(listening, |mut listening| async move {
        listening.watch.changed().await;
        Some((Ok::<_, Infallible>(Event::default().event("message").data(NOTICE)), listening))
    });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL));
    Ok(([(CACHE_CONTROL, "no-store")], events).into_response())
}
