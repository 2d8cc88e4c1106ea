//! The bus over Redis: publications of all processes, each at most once. Messages of this process go straight to its own
//! subscribers.
//!
//! Publications are gathered while others are on their way. What could not be sent is made up for by one word to everybody
//! that something is missing.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_core::{RandomError, backoff, random};
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::RedisError;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, MAX_PAYLOAD, Subscription, Topic};
use crate::hub::Hub;
use crate::metrics::CacheMetrics;
use crate::server::{CONNECT_TIMEOUT, FIRST_BACKOFF, MAX_BACKOFF, PING_INTERVAL, Server};

mod envelope;

use envelope::Envelope;

/// Messages of a topic that wait to be sent.
const MAX_WAITING: usize = 4096;
/// Bytes of payloads in one publication.
const MAX_ENVELOPE: usize = 64 << 10;

/// A bus over Redis.
pub struct RedisBus {
    hub: Hub,
    server: Arc<Server>,
    /// The sender's name, so that a process knows its own messages.
    me: [u8; envelope::SENDER],
    waiting: [Mutex<Waiting>; Topic::ALL.len()],
    something: Notify,
    metrics: CacheMetrics,
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisBus over {:?}", self.server)
    }
}

/// Messages of a topic that wait to be sent: each payload once.
#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Bytes>,
    known: HashSet<Bytes>,
    /// Some were lost, which subscribers elsewhere do not know yet.
    lost: bool,
}

impl Waiting {
    /// Returns the number of messages that were lost for it.
    fn add(&mut self, payload: Bytes) -> usize {
        if payload.len() > MAX_PAYLOAD {
            self.lost = true;
            return 1;
        }
        if self.known.contains(&payload) {
            return 0;
        }
        let mut lost = 0;
        if self.order.len() >= MAX_WAITING {
            lost = self.order.len();
            self.order.clear();
            self.known.clear();
            self.lost = true;
        }
        self.known.insert(payload.clone());
        self.order.push_back(payload);
        lost
    }

    /// Takes as many as fit into one publication.
    fn take(&mut self) -> Option<Envelope> {
        if self.order.is_empty() && !self.lost {
            return None;
        }
        let (mut payloads, mut bytes) = (Vec::new(), 0_usize);
        while let Some(payload) = self.order.pop_front() {
            bytes = bytes.saturating_add(payload.len()).saturating_add(envelope::LENGTH);
            self.known.remove(&payload);
            payloads.push(payload);
            if bytes > MAX_ENVELOPE {
                break;
            }
        }
        Some(Envelope { missed: std::mem::take(&mut self.lost), payloads })
    }
}

impl Bus for RedisBus {
    fn publish(&self, topic: Topic, payload: Bytes) {
        self.hub.deliver(topic, payload.clone());
        let lost = self.waiting(topic).lock().add(payload);
        if lost > 0 {
            self.metrics.lost(lost);
        }
        self.something.notify_one();
    }

    fn subscribe(&self, topic: Topic) -> Subscription {
        self.hub.subscribe(topic)
    }
}

impl RedisBus {
    /// Opens no connection; [`RedisBus::keep`] does.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub(crate) fn new(server: Arc<Server>, metrics: CacheMetrics) -> Result<Self, RandomError> {
        Ok(Self {
            hub: Hub::default(),
            server,
            me: random()?,
            waiting: std::array::from_fn(|_| Mutex::default()),
            something: Notify::new(),
            metrics,
        })
    }

    /// Keeps the connections, sends and receives until it is stopped.
    pub(crate) async fn keep(&self, stop: &CancellationToken) {
        tokio::join!(self.server.keep(stop), self.send(stop), self.receive(stop));
    }

    fn waiting(&self, topic: Topic) -> &Mutex<Waiting> {
        let [queue, thread, task, settings] = &self.waiting;
        match topic {
            Topic::Queue => queue,
            Topic::Thread => thread,
            Topic::Task => task,
            Topic::Settings => settings,
        }
    }

    fn channel(&self, topic: Topic) -> String {
        // Databases keep keys apart, and channels not.
        format!("cofferdam:{}:{}", self.server.database, topic.name())
    }

    /// Sends what waits, topic by topic, one publication after the other.
    async fn send(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = self.something.notified() => {}
                () = stop.cancelled() => return,
            }
            loop {
                let mut connection = tokio::select! {
                    connection = self.server.connection() => connection,
                    () = stop.cancelled() => return,
                };
                let mut publications = redis::pipe();
                let mut counts = [0; Topic::ALL.len()];
                for (topic, count) in Topic::ALL.into_iter().zip(&mut counts) {
                    let Some(envelope) = self.waiting(topic).lock().take() else { continue };
                    // A word that something is missing counts as well.
                    *count = envelope.payloads.len().saturating_add(usize::from(envelope.missed));
                    publications.cmd("PUBLISH").arg(self.channel(topic)).arg(envelope.write(&self.me)).ignore();
                }
                if publications.is_empty() {
                    break;
                }
                match timeout(CONNECT_TIMEOUT, publications.query_async::<()>(&mut connection)).await {
                    Ok(Ok(())) => self.metrics.published(counts.iter().sum()),
                    Ok(Err(_)) | Err(_) => {
                        self.not_sent(&counts);
                        tokio::select! {
                            () = tokio::time::sleep(FIRST_BACKOFF) => {}
                            () = stop.cancelled() => return,
                        }
                    }
                }
            }
        }
    }

    fn not_sent(&self, counts: &[usize]) {
        self.metrics.lost(counts.iter().sum());
        for (topic, _) in Topic::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
            self.waiting(topic).lock().lost = true;
        }
        self.server.suspect();
    }

    /// Receives what others publish, over a connection of its own.
    async fn receive(&self, stop: &CancellationToken) {
        let mut failures = 0;
        loop {
            let ended = tokio::select! {
                ended = self.listen(&mut failures) => ended,
                () = stop.cancelled() => return,
            };
            self.metrics.connected(false);
            failures += 1;
            if let Err(error) = ended {
                tracing::debug!(redis = self.server.place, %error, "no messages of other processes");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(FIRST_BACKOFF, MAX_BACKOFF, failures)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Receives over one connection until it ends, or says nothing.
    async fn listen(&self, failures: &mut u32) -> Result<(), RedisError> {
        let (mut sink, mut messages) = timeout(CONNECT_TIMEOUT, self.subscribed()).await.map_err(|_| silent())??;
        *failures = 0;
        self.metrics.connected(true);
        tracing::info!(redis = self.server.place, "messages of other processes arrive over Redis");
        // Messages of before are gone.
        self.hub.missed();
        let receiving = async {
            while let Some(message) = messages.next().await {
                let topic = message.get_channel_name().rsplit(':').next().and_then(Topic::parse);
                if let Some(topic) = topic {
                    self.received(topic, message.get_payload_bytes());
                }
            }
        };
        let alive = async {
            loop {
                tokio::time::sleep(PING_INTERVAL).await;
                match timeout(CONNECT_TIMEOUT, sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error,
                    Err(_) => return silent(),
                }
            }
        };
        tokio::select! {
            () = receiving => Ok(()),
            error = alive => Err(error),
        }
    }

    async fn subscribed(&self) -> Result<(PubSubSink, PubSubStream), RedisError> {
        let (mut sink, messages) = self.server.client.get_async_pubsub().await?.split();
        for topic in Topic::ALL {
            sink.subscribe(self.channel(topic)).await?;
        }
        Ok((sink, messages))
    }

    fn received(&self, topic: Topic, bytes: &[u8]) {
        match Envelope::read(bytes, &self.me) {
            Some(envelope) => {
                if envelope.missed {
                    self.hub.missed_of(topic);
                }
                for payload in envelope.payloads {
                    self.hub.deliver(topic, payload);
                }
            }
            None => tracing::debug!(topic = topic.name(), "a message that is none of ours"),
        }
    }
}

fn silent() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "it says nothing").into()
}
