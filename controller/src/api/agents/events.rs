//! A deployment's changes as server-sent events, from the first one or from where a client has been. A client that is gone
//! releases everything; one that stays is looked at for an hour.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::{AgentId, Problem};
use futures_util::stream;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::agent_id;
use crate::Error;
use crate::agents::{self, DeploymentEvent, Listener};
use crate::auth::Caller;
use crate::services::App;

/// Streams at once, of everybody.
const MOST: usize = 1_024;
static PLACES: Semaphore = Semaphore::const_new(MOST);
/// Changes that other controllers have made are found within this time.
const LOOK: Duration = Duration::from_secs(2);
/// A comment is sent after so much silence, so that nobody takes the stream for dead.
const ALIVE: Duration = Duration::from_secs(15);
const LIFE: Duration = Duration::from_secs(3_600);
/// Events of one look.
const PAGE: u64 = 100;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Go on after the deployment has settled, with what happens to it then.
    #[serde(default)]
    follow: bool,
    /// Events after this one; `Last-Event-ID` says the same.
    after: Option<u64>,
}

/// Follow a deployment's changes.
///
/// Events `state` carry a [`DeploymentEvent`]; the last, `end`, comes when it is `Up`, `Failed` or `Stopped`, unless
/// `follow` is set.
#[utoipa::path(get, path = "/v1/agents/{id}/deployments/{number}/events", tag = "agents",
    params(("id" = String, Path), ("number" = u64, Path), Asked,
        ("last-event-id" = Option<u64>, Header, description = "Go on after this event")),
    responses((status = 200, description = "Events `state`, `end`", body = DeploymentEvent, content_type = "text/event-stream"),
        (status = 429, description = "Too many listen; see Retry-After", body = Problem, content_type = "application/problem+json")))]
pub async fn deployment_events(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, number)): Path<(String, u64)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let id = agent_id(&id)?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let after = header.or(asked.after).unwrap_or(0);
    let place = PLACES.try_acquire().map_err(|_| Problem::overloaded("Too many follow deployments; try again."))?;
    let listener = app.agents.listen(&caller.organization, &id);
    let mut following = Following {
        app,
        caller,
        id,
        number,
        after,
        follow: asked.follow,
        listener,
        ready: VecDeque::new(),
        done: false,
        began: Instant::now(),
        said: Instant::now(),
        _place: place,
    };
    // What cannot be followed is said with a status.
    following.look().await?;
    let events = stream::unfold(following, |mut following| async move {
        let text = following.next().await?;
        Some((Ok::<_, Infallible>(text), following))
    });
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((head, Body::from_stream(events)).into_response())
}

struct Following {
    app: App,
    caller: Arc<Caller>,
    id: AgentId,
    number: u64,
    after: u64,
    follow: bool,
    listener: Listener,
    ready: VecDeque<Bytes>,
    done: bool,
    began: Instant,
    said: Instant,
    _place: SemaphorePermit<'static>,
}

impl Following {
    /// Reads what is new.
    async fn look(&mut self) -> Result<(), Error> {
        let (events, settled) =
            agents::events_after(&self.app, &self.caller, &self.id, self.number, self.after, PAGE).await?;
        let more = events.len() as u64 == PAGE;
        for event in events {
            self.after = event.seq;
            self.ready.push_back(text(&event));
        }
        if settled && !more && !self.follow {
            self.ready.push_back(Bytes::from_static(b"event: end\ndata: {}\n\n"));
            self.done = true;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                self.said = Instant::now();
                return Some(text);
            }
            if self.done || self.began.elapsed() >= LIFE {
                return None;
            }
            self.listener.wait(LOOK).await;
            match self.look().await {
                Ok(()) => {}
                // The agent was deleted, with all that happened to it.
                Err(Error::Refused(_)) => return None,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "a deployment's events cannot be read; tried again");
                    tokio::time::sleep(LOOK).await;
                }
            }
            if self.ready.is_empty() && self.said.elapsed() >= ALIVE {
                self.ready.push_back(Bytes::from_static(b": alive\n\n"));
            }
        }
    }
}

fn text(event: &DeploymentEvent) -> Bytes {
    let data = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("id: {}\nevent: state\ndata: {data}\n\n", event.seq))
}
