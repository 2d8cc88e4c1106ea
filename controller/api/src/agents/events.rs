//! A deployment's changes as server-sent events, from the first one or from where a client left off. A stream ends when
//! its client disconnects, or after an hour.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::{AgentId, Problem};
use futures_util::stream;
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::agent_id;
use crate::refusals::NotFound;
use cofferdam_core::{Caller, Failure, chain};
use cofferdam_deployments::{DeploymentEvent, Deployments, Listener};
use cofferdam_http::ApiError;

/// Concurrent streams, of all clients together.
const MAX_STREAMS: usize = 1_024;
static PLACES: Semaphore = Semaphore::const_new(MAX_STREAMS);
/// Changes made by other controllers are found within this time.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The interval of keep-alive comments on a silent stream.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const MAX_STREAM_TIME: Duration = Duration::from_secs(3_600);
/// Events per read of the store.
const PAGE: u64 = 100;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Continue after the deployment has settled.
    #[serde(default)]
    follow: bool,
    /// Return events after this one. `Last-Event-ID` has the same effect.
    after: Option<u64>,
}

/// Follow a deployment's changes.
///
/// Events `state` carry a [`DeploymentEvent`]; the last, `end`, comes when it is `Up`, `Failed` or `Stopped`, unless
/// `follow` is set.
#[utoipa::path(get, path = "/v1/agents/{id}/deployments/{number}/events", tag = "agents",
    params(("id" = String, Path), ("number" = u64, Path), Asked,
        ("last-event-id" = Option<u64>, Header, description = "Continue after this event")),
    responses((status = 200, description = "Events `state`, `end`", body = DeploymentEvent, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams; see Retry-After", body = Problem, content_type = "application/problem+json"), NotFound))]
pub(super) async fn deployment_events(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, number)): Path<(String, u64)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = agent_id(&id)?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let after = header.or(asked.after).unwrap_or(0);
    let place = PLACES.try_acquire().map_err(|_| Problem::overloaded("Too many clients follow deployments."))?;
    let listener = deployments.listen(&caller.organization, &id);
    let mut following = Following {
        deployments,
        caller,
        id,
        number,
        after,
        follow: asked.follow,
        listener,
        ready: VecDeque::new(),
        done: false,
        began: Instant::now(),
        _place: place,
    };
    // A deployment that cannot be followed is refused with a status, before the stream begins.
    following.look().await?;
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL).text("alive")).into_response())
}

struct Following {
    deployments: Arc<Deployments>,
    caller: Arc<Caller>,
    id: AgentId,
    number: u64,
    after: u64,
    follow: bool,
    listener: Listener,
    ready: VecDeque<Event>,
    done: bool,
    began: Instant,
    _place: SemaphorePermit<'static>,
}

impl Following {
    /// Reads the new events.
    async fn look(&mut self) -> Result<(), cofferdam_deployments::Error> {
        let (events, settled) =
            self.deployments.events_after(&self.caller, &self.id, self.number, self.after, PAGE).await?;
        let more = events.len() as u64 == PAGE;
        for event in events {
            self.after = event.seq;
            self.ready.push_back(shown(&event));
        }
        if settled && !more && !self.follow {
            self.ready.push_back(Event::default().event("end").data("{}"));
            self.done = true;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.done || self.began.elapsed() >= MAX_STREAM_TIME {
                return None;
            }
            self.listener.wait(POLL_INTERVAL).await;
            match self.look().await {
                Ok(()) => {}
                // The agent was deleted, with all that happened to it.
                Err(error) if error.refused().is_some() => return None,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a deployment's events cannot be read; retrying");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
    }
}

fn shown(event: &DeploymentEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default().id(event.seq.to_string()).event("state").data(data)
}
