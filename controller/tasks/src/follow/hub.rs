//! The channels of the threads that somebody follows in this process, and what is told to others after a commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_cache::{Bus, Topic, Wake};
use cofferdam_contract::work::{EventInfo, Timestamp};
use cofferdam_contract::{OrganizationId, Problem, ThreadId};
use cofferdam_core::{chain, every, now_ms};
use cofferdam_store::{Lane, Store, Turn, Write, Written};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, share};
use super::event::{Event, is_about_task};
use crate::metrics::TaskMetrics;
use crate::{Error, TasksConfig};

/// Events that are read at once.
pub(super) const PAGE: u32 = 128;
/// Reads of the store for followers at the same time.
const MAX_READS: usize = 16;
/// The wait after a read that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The interval at which channels are compared with the store, in case a wake-up was lost. A few at a time.
const COMPARE_INTERVAL: Duration = Duration::from_secs(1);

struct Followed {
    channel: Arc<Channel>,
    followers: usize,
}

#[derive(Default)]
struct Channels {
    of: HashMap<ThreadId, Followed>,
    by_organization: HashMap<OrganizationId, usize>,
    followers: usize,
}

/// The channels of this process.
pub(crate) struct Hub {
    pub(super) store: Store,
    bus: Arc<dyn Bus>,
    channels: Mutex<Channels>,
    pub(super) reads: Semaphore,
    config: TasksConfig,
    pub(crate) metrics: TaskMetrics,
    /// Ends all streams.
    pub(crate) closing: CancellationToken,
}

/// A follower's place among those of its thread. Gives it back when it is dropped.
pub(super) struct Place {
    hub: Arc<Hub>,
    pub(super) channel: Arc<Channel>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.leave(&self.channel);
    }
}

impl Hub {
    pub(crate) fn new(store: Store, bus: Arc<dyn Bus>, config: TasksConfig, metrics: TaskMetrics) -> Arc<Self> {
        let (channels, reads, closing) = (Mutex::default(), Semaphore::new(MAX_READS), CancellationToken::new());
        Arc::new(Self { store, bus, channels, reads, config, metrics, closing })
    }

    /// Takes a place among a thread's followers; `have` is its newest event, for the first one.
    pub(super) fn join(
        self: &Arc<Self>,
        thread: &ThreadId,
        organization: &OrganizationId,
        have: u64,
    ) -> Result<Place, Error> {
        let mut channels = self.channels.lock();
        let own = channels.by_organization.get(organization).copied().unwrap_or_default();
        if channels.followers >= self.config.max_followers || own >= self.config.max_followers_of_organization {
            let detail = "Too many streams of events are open; close some, or try again later.";
            return Err(Problem::overloaded(detail).into());
        }
        channels.followers += 1;
        *channels.by_organization.entry(organization.clone()).or_default() += 1;
        let followed = channels.of.entry(thread.clone()).or_insert_with(|| Followed {
            channel: Arc::new(Channel::new(thread.clone(), organization.clone(), have)),
            followers: 0,
        });
        followed.followers += 1;
        let channel = Arc::clone(&followed.channel);
        drop(channels);
        self.metrics.followers.inc();
        self.announce_to(&channel, have);
        Ok(Place { hub: Arc::clone(self), channel })
    }

    fn leave(&self, channel: &Channel) {
        self.metrics.followers.dec();
        let mut channels = self.channels.lock();
        channels.followers = channels.followers.saturating_sub(1);
        if let Some(own) = channels.by_organization.get_mut(&channel.organization) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                channels.by_organization.remove(&channel.organization);
            }
        }
        if let Some(followed) = channels.of.get_mut(&channel.thread) {
            followed.followers = followed.followers.saturating_sub(1);
            if followed.followers == 0 {
                channels.of.remove(&channel.thread);
            }
        }
    }

    fn channel(&self, thread: &ThreadId) -> Option<Arc<Channel>> {
        self.channels.lock().of.get(thread).map(|followed| Arc::clone(&followed.channel))
    }

    /// The bytes of events that a channel may keep now.
    fn share(&self) -> usize {
        share(self.channels.lock().of.len())
    }

    fn is_followed(&self, channel: &Channel) -> bool {
        self.channels.lock().of.contains_key(&channel.thread)
    }

    /// Says what was written: to the followers of this process at once, to everybody else over the bus.
    pub(crate) fn written(self: &Arc<Self>, write: Option<Write>, written: &Written) {
        let Written::Done { task, thread, event, status, queued, asked, .. } = written else { return };
        self.queued(queued);
        if asked.is_some() {
            self.bus.publish(Topic::Task, Bytes::from(task.as_str().to_owned()));
        }
        if matches!(write, Some(Write::Add(_))) {
            self.metrics.added.inc();
        }
        if status.is_final() && !matches!(write, Some(Write::Add(_) | Write::Settle(_) | Write::Resume { .. })) {
            self.metrics.ended(status.name());
        }
        if *event == 0 {
            return;
        }
        if let Some(channel) = self.channel(thread) {
            if let Some(Write::Step(step)) = write
                && step.turn == Turn::Goes
            {
                let events = step.events.into_iter().map(|new| (new.kind, new.data));
                push_own(&channel, *event, events, task, self.share());
            }
            self.announce_to(&channel, *event);
        }
        self.bus.publish(Topic::Thread, Bytes::from(format!("{thread} {event}")));
    }

    /// Says which lanes have something.
    pub(crate) fn queued(&self, lanes: &[Lane]) {
        for lane in lanes {
            self.bus.publish(Topic::Queue, Bytes::from(format!("{}/{}", lane.organization, lane.agent)));
        }
    }

    fn announce_to(self: &Arc<Self>, channel: &Arc<Channel>, newest: u64) {
        if channel.want(newest) && !channel.reads.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).fill(Arc::clone(channel)));
        }
    }

    /// Reads what a channel lacks, once for all of its followers.
    async fn fill(self: Arc<Self>, channel: Arc<Channel>) {
        loop {
            while channel.lacks() && self.is_followed(&channel) {
                let said = channel.wanted();
                match self.read(&channel, channel.have(), PAGE).await {
                    Ok(events) if events.is_empty() => channel.want_no_more(said),
                    Ok(events) => channel.push(events, self.share()),
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "events could not be read");
                        tokio::time::sleep(RETRY_INTERVAL).await;
                    }
                }
            }
            channel.reads.store(false, Ordering::Release);
            // Somebody may have spoken between the look and the note.
            let again = channel.lacks() && self.is_followed(&channel);
            if !again || channel.reads.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Events of the store after a number.
    pub(super) async fn read(&self, channel: &Channel, after: u64, limit: u32) -> Result<Vec<Arc<Event>>, Error> {
        let closed = || Error::Unavailable("the reads are closed".to_owned());
        let _place = self.reads.acquire().await.map_err(|_| closed())?;
        let rows = self.store.events(&channel.thread, after, limit).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            events.push(Event::new(self.whole(Event::of_row(&channel.organization, row)).await?));
        }
        Ok(events)
    }

    /// An event whose data is the task, where only a part of it is stored: the task of now, in the state of then.
    async fn whole(&self, mut event: EventInfo) -> Result<EventInfo, Error> {
        if !is_about_task(event.kind) || event.data.get("id").is_some() {
            return Ok(event);
        }
        let Some(task) = self.store.task(&event.organization_id, &event.task_id).await? else { return Ok(event) };
        let then = std::mem::take(&mut event.data);
        event.data = serde_json::to_value(crate::info(&task, &[], &[])).unwrap_or_default();
        if let (Value::Object(now), Value::Object(then)) = (&mut event.data, then) {
            now.extend(then);
        }
        Ok(event)
    }

    /// Listens to what other processes write, until it is stopped.
    pub(crate) async fn keep_following(self: Arc<Self>, stop: CancellationToken) {
        let mut wakes = self.bus.subscribe(Topic::Thread);
        let mut compares = every(COMPARE_INTERVAL);
        loop {
            tokio::select! {
                wake = wakes.next() => match wake {
                    Wake::Message(said) => self.heard(&said),
                    Wake::Missed => self.compare().await,
                },
                _ = compares.tick() => self.compare().await,
                () = stop.cancelled() => return,
            }
        }
    }

    fn heard(self: &Arc<Self>, said: &[u8]) {
        let said = std::str::from_utf8(said).ok().and_then(|said| said.split_once(' '));
        let Some((thread, event)) = said else { return };
        let (Ok(thread), Ok(event)) = (ThreadId::parse(thread), event.parse()) else { return };
        if let Some(channel) = self.channel(&thread) {
            self.announce_to(&channel, event);
        }
    }

    /// Compares the channels with the store: what a lost wake-up would have said.
    async fn compare(self: &Arc<Self>) {
        let channels: Vec<_> = self.channels.lock().of.values().map(|followed| Arc::clone(&followed.channel)).collect();
        let threads: Vec<ThreadId> = channels.iter().map(|channel| channel.thread.clone()).collect();
        let newest = self.store.last_events(&threads).await;
        match newest {
            Ok(newest) => {
                for (channel, event) in
                    channels.iter().filter_map(|channel| Some((channel, *newest.get(&channel.thread)?)))
                {
                    self.announce_to(channel, event);
                }
            }
            Err(error) => tracing::debug!(error = chain(&error), "threads could not be compared"),
        }
    }
}

/// Gives a channel the events of a step that this process wrote, if they are the next ones.
fn push_own(
    channel: &Channel,
    last: u64,
    events: impl ExactSizeIterator<Item = (cofferdam_contract::work::EventType, Value)>,
    task: &cofferdam_contract::TaskId,
    max_bytes: usize,
) {
    let Some(before) = last.checked_sub(events.len() as u64) else { return };
    let at = Timestamp(now_ms());
    let events = events.zip(before + 1..).map(|((kind, data), id)| {
        Event::new(EventInfo {
            id,
            kind,
            task_id: task.clone(),
            thread_id: channel.thread.clone(),
            organization_id: channel.organization.clone(),
            time: at,
            data,
        })
    });
    channel.push(events, max_bytes);
}
