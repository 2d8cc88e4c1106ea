//! Notice that the list of tools has changed: to subscriptions, and on the stream that older clients open with `GET /mcp`.
//! A stream knows nothing of the client but its key, so any controller can have it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::{OrganizationId, Problem};
use futures_util::stream;
use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Error;
use crate::auth::Caller;
use crate::services::App;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// A comment is sent after so many looks, so that nobody takes the stream for dead.
const ALIVE: u32 = 15;
/// Streams at once, of everybody.
const MOST: usize = 1_024;

const NOTICE: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";

/// Sees the changes of one organization's tools.
pub struct Watch {
    app: App,
    organization: OrganizationId,
    /// Not known before the first look.
    revision: Option<i64>,
}

impl Watch {
    pub fn new(app: &App, caller: &Caller) -> Self {
        Self { app: Arc::clone(app), organization: caller.organization.clone(), revision: None }
    }

    /// Whether something has changed since the last look.
    async fn look(&mut self) -> bool {
        // While the store cannot be read nothing can be seen.
        let Ok(shelf) = self.app.tools.catalogue.shelf(&self.organization).await else { return false };
        self.revision.replace(shelf.revision).is_some_and(|before| before != shelf.revision)
    }

    /// Returns when something has changed.
    pub async fn changed(&mut self) {
        while !self.look().await {
            tokio::time::sleep(EVERY).await;
        }
    }
}

struct Listening {
    watch: Watch,
    _place: SemaphorePermit<'static>,
}

impl Listening {
    async fn next(&mut self) -> &'static str {
        for _ in 0..ALIVE {
            if self.watch.look().await {
                return NOTICE;
            }
            tokio::time::sleep(EVERY).await;
        }
        ": \n\n"
    }
}

/// `GET /mcp`: server-sent events, one for each change.
///
/// # Errors
/// A client that does not take events, or too many streams.
pub async fn changes(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    static PLACES: Semaphore = Semaphore::const_new(MOST);
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        return Err(Problem::invalid("GET /mcp is a stream of events: send Accept: text/event-stream.").into());
    }
    let place = PLACES.try_acquire().map_err(|_| Problem::overloaded("Too many clients listen for changes."))?;
    let listening = Listening { watch: Watch::new(&app, &caller), _place: place };
    let events = stream::unfold(listening, |mut listening| async move {
        let event = listening.next().await;
        Some((Ok::<_, Infallible>(Bytes::from_static(event.as_bytes())), listening))
    });
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((head, Body::from_stream(events)).into_response())
}
