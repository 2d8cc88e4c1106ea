//! One follower: stored events, then those of the channel, each once and in order. A slow client costs no memory: it is its place
//! in the thread, and what it missed is read from the store when it asks.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{EventInfo, EventType};
use cofferdam_contract::{OrganizationId, TaskId, ThreadId};
use cofferdam_core::{backoff, chain};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::channel::After;
use super::event::Event;
use super::hub::{Hub, PAGE, Place};
use crate::Error;

/// Events of the channel that are taken at once.
const MAX_TAKEN: usize = 64;
/// Reads of the store that may fail one after another; the waits between them. About a minute.
const MAX_FAILURES: u32 = 18;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// It has none: until the client leaves.
    Never,
    /// The last event of the task, which comes after this number.
    Finished(TaskId, u64),
    /// This number was reached: the task had ended before.
    Number(TaskId, u64),
}

impl Until {
    /// Only events of this task are shown.
    fn task(&self) -> Option<&TaskId> {
        match self {
            Self::Never => None,
            Self::Finished(task, _) | Self::Number(task, _) => Some(task),
        }
    }

    fn is_reached(&self, event: &EventInfo) -> bool {
        match self {
            Self::Never => false,
            Self::Finished(task, beyond) => {
                event.kind == EventType::TaskFinished && event.task_id == *task && event.id > *beyond
            }
            Self::Number(_, last) => event.id >= *last,
        }
    }
}

/// A follower of a thread. Ends after the last event of its task, when the thread's process shuts down, or when the store was away
/// for too long; a client goes on elsewhere with the number of the last event that it saw.
pub struct Follow {
    hub: Arc<Hub>,
    place: Place,
    news: watch::Receiver<u64>,
    position: u64,
    until: Until,
    done: bool,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "follower of {} after {}", self.place.channel.thread, self.position)
    }
}

impl Follow {
    /// A follower of a thread whose newest event is `have`, after an event.
    pub(crate) fn new(
        hub: &Arc<Hub>,
        (organization, thread): (&OrganizationId, &ThreadId),
        have: u64,
        after: u64,
        until: Until,
    ) -> Result<Self, Error> {
        let place = hub.join(thread, organization, have)?;
        let news = place.channel.news();
        let done = matches!(until, Until::Number(_, last) if after >= last);
        Ok(Self { hub: Arc::clone(hub), place, news, position: after, until, done })
    }

    /// The number of the last event that it has passed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Waits for the next events; `None` at the end. Safe to drop while it waits.
    ///
    /// # Errors
    /// The store was away for too long. The stream is over.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<Event>>, Error>> {
        let closing = self.hub.closing.clone();
        let mut failures = 0;
        while !self.done && !closing.is_cancelled() {
            // Before the look, so that nothing that comes after it is slept through.
            self.news.mark_unchanged();
            match self.place.channel.after(self.position, MAX_TAKEN) {
                After::Events(events) => {
                    let shown = self.pass(events);
                    if !shown.is_empty() {
                        return Some(Ok(shown));
                    }
                }
                After::InStore => match self.hub.read(&self.place.channel, self.position, PAGE).await {
                    Ok(events) if events.is_empty() => {
                        // Its events were deleted: the channel's are the next ones.
                        self.position = self.position.max(self.place.channel.begin());
                    }
                    Ok(events) => {
                        failures = 0;
                        let shown = self.pass(events);
                        if !shown.is_empty() {
                            return Some(Ok(shown));
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        if failures > MAX_FAILURES {
                            tracing::warn!(error = chain(&error), "a stream of events ends: they cannot be read");
                            self.done = true;
                            return Some(Err(error));
                        }
                        tokio::select! {
                            () = tokio::time::sleep(backoff(FIRST_BACKOFF, MAX_BACKOFF, failures)) => {}
                            () = closing.cancelled() => {}
                        }
                    }
                },
                After::Nothing => {
                    if matches!(self.until, Until::Number(_, last) if self.position >= last) {
                        break;
                    }
                    tokio::select! {
                        changed = self.news.changed() => if changed.is_err() { break },
                        () = closing.cancelled() => {}
                    }
                }
            }
        }
        None
    }

    /// Goes past events. Returns those that are shown.
    fn pass(&mut self, events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            self.position = event.id;
            let ends = self.until.is_reached(&event);
            if self.until.task().is_none_or(|task| event.task_id == *task) {
                shown.push(event);
            }
            if ends {
                self.done = true;
                break;
            }
        }
        self.hub.metrics.events_sent.inc_by(shown.len() as u64);
        shown
    }

    /// The events as a stream, one at a time.
    pub fn into_stream(self) -> impl Stream<Item = Result<Arc<Event>, Error>> + Send {
        stream::unfold((self, Vec::new().into_iter()), |(mut follow, mut page)| async move {
            loop {
                if let Some(event) = page.next() {
                    return Some((Ok(event), (follow, page)));
                }
                match follow.next().await? {
                    Ok(events) => page = events.into_iter(),
                    Err(error) => return Some((Err(error), (follow, page))),
                }
            }
        })
    }
}
