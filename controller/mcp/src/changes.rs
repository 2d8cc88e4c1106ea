//! Notifies clients that the list of tools (or of active agents, which are tools as well) has changed: through subscriptions, and on the stream that older clients
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

use crate::agents::Agents;

/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The interval of keep-alive comments on a silent stream.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Concurrent streams, of all clients together.
const MAX_STREAMS: usize = 1_024;

const NOTICE: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// The services whose lists are watched.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) tools: Arc<Tools>,
    pub(crate) agents: Arc<dyn Agents>,
}

/// Watches one organization's tools and agents for changes.
pub(crate) struct Watch {
    watched: Watched,
    organization: OrganizationId,
    /// `None` before the first check.
    revision: Option<(i64, u64)>,
}

impl Watch {
    pub(crate) fn new(watched: &Watched, caller: &Caller) -> Self {
        Self { watched: watched.clone(), organization: caller.organization.clone(), revision: None }
    }

    /// True if the tools have changed since the last call.
    async fn look(&mut self) -> bool {
        // While the store cannot be read, no change is detected.
        let Ok(shelf) = self.watched.tools.shelf(&self.organization).await else { return false };
        let Ok(active) = self.watched.agents.active(&self.organization).await else { return false };
        let now = (shelf.revision, active.revision);
        self.revision.replace(now).is_some_and(|before| before != now)
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
    State(watched): State<Watched>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    static PLACES: Semaphore = Semaphore::const_new(MAX_STREAMS);
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        return Err(Problem::invalid("GET /mcp is a stream of events: send Accept: text/event-stream.").into());
    }
    let place = PLACES.try_acquire().map_err(|_| Problem::overloaded("Too many clients listen for changes."))?;
    let listening = Listening { watch: Watch::new(&watched, &caller), _place: place };
    let events = stream::unfold(listening, |mut listening| async move {
        listening.watch.changed().await;
        Some((Ok::<_, Infallible>(Event::default().event("message").data(NOTICE)), listening))
    });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL));
    Ok(([(CACHE_CONTROL, "no-store")], events).into_response())
}
