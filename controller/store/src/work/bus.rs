//! The bus over PostgreSQL: LISTEN on one connection, NOTIFY on another, outside of every transaction that writes, because a
//! NOTIFY within one makes commits wait for each other.
//!
//! Messages are gathered for a moment and sent together. What is lost (a connection that broke, too much at once) is said as
//! `Missed`; nothing is correct only because a message came.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use cofferdam_cache::{Bus, Hub, MAX_PAYLOAD, Subscription, Topic};
use cofferdam_core::{Secret, backoff, random_bits};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::Notify;

use crate::{DatabaseConfig, Error};

/// The time for which messages are gathered.
const GATHER_FOR: Duration = Duration::from_millis(2);
/// PostgreSQL refuses payloads of 8,000 bytes.
const MAX_NOTIFY: usize = 7_900;
/// Messages of a topic that wait to be sent.
const MAX_WAITING: usize = 4_096;
/// The timeout for sending what waits.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Stands for messages that were lost before they were sent.
const LOST: &str = "!";

/// Messages of one topic that wait to be sent, each once.
#[derive(Debug, Default)]
struct Waiting {
    order: Vec<Bytes>,
    known: HashSet<Bytes>,
    lost: bool,
}

impl Waiting {
    fn add(&mut self, payload: Bytes) {
        if payload.len() > MAX_PAYLOAD || self.order.len() >= MAX_WAITING {
            self.lost = true;
        } else if self.known.insert(payload.clone()) {
            self.order.push(payload);
        }
    }

    /// Takes everything, as texts that fit into a NOTIFY.
    fn take(&mut self, me: &str) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let lost = std::mem::take(&mut self.lost).then(|| LOST.to_owned());
        self.known.clear();
        let encoded = self.order.drain(..).map(|payload| STANDARD_NO_PAD.encode(payload));
        for word in lost.into_iter().chain(encoded) {
            match texts.last_mut() {
                Some(text) if text.len() + 1 + word.len() <= MAX_NOTIFY => {
                    text.push(' ');
                    text.push_str(&word);
                }
                _ => texts.push(format!("{me} {word}")),
            }
        }
        texts
    }
}

struct Shared {
    hub: Hub,
    /// The sender's name, so that a process knows its own messages.
    me: String,
    waiting: Mutex<[Waiting; Topic::ALL.len()]>,
    something: Notify,
}

/// A bus over PostgreSQL. Its connections end with it.
pub struct PgBus {
    shared: Arc<Shared>,
    loops: [tokio::task::AbortHandle; 2],
}

impl fmt::Debug for PgBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgBus")
    }
}

impl Drop for PgBus {
    fn drop(&mut self) {
        for handle in &self.loops {
            handle.abort();
        }
    }
}

impl Bus for PgBus {
    fn publish(&self, topic: Topic, payload: Bytes) {
        self.shared.hub.deliver(topic, payload.clone());
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.get_mut(topic as usize) {
            waiting.add(payload);
        }
        drop(waiting);
        self.shared.something.notify_one();
    }

    fn subscribe(&self, topic: Topic) -> Subscription {
        self.shared.hub.subscribe(topic)
    }
}

impl PgBus {
    /// Starts to send and to listen, in the background; a database that is away is tried again for as long as the bus lives.
    /// `None` for SQLite, which one process uses alone.
    ///
    /// # Errors
    /// The address is none of a PostgreSQL; no random bytes.
    pub fn start(config: &DatabaseConfig) -> Result<Option<Self>, Error> {
        if config.is_file() {
            return Ok(None);
        }
        let options: PgConnectOptions = parse(&config.url)?;
        let pool =
            |options| PgPoolOptions::new().max_connections(1).acquire_timeout(SEND_TIMEOUT).connect_lazy_with(options);
        let shared = Arc::new(Shared {
            hub: Hub::default(),
            me: format!("{:x}", random_bits()?),
            waiting: Mutex::default(),
            something: Notify::new(),
        });
        let sends = tokio::spawn(send(Arc::clone(&shared), pool(options.clone()))).abort_handle();
        let listens = tokio::spawn(listen(Arc::clone(&shared), pool(options))).abort_handle();
        Ok(Some(Self { shared, loops: [sends, listens] }))
    }
}

fn parse(url: &Secret) -> Result<PgConnectOptions, Error> {
    // The error would show the address, and its password.
    url.expose().parse().map_err(|_| Error::Database {
        place: "PostgreSQL:".to_owned(),
        why: "DATABASE_URL is not postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned(),
    })
}

fn channel(topic: Topic) -> String {
    format!("cofferdam_{}", topic.name())
}

/// Sends what waits, all of it in one statement, one after the other.
async fn send(shared: Arc<Shared>, pool: PgPool) {
    let mut failures = 0;
    loop {
        shared.something.notified().await;
        tokio::time::sleep(GATHER_FOR).await;
        let (mut channels, mut texts) = (Vec::new(), Vec::new());
        {
            let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (topic, waiting) in Topic::ALL.into_iter().zip(waiting.iter_mut()) {
                for text in waiting.take(&shared.me) {
                    channels.push(channel(topic));
                    texts.push(text);
                }
            }
        }
        if texts.is_empty() {
            continue;
        }
        let sql = "SELECT pg_notify(v.channel, v.payload) FROM unnest($1, $2) AS v(channel, payload)";
        let sent = sqlx::query(sql).bind(&channels).bind(&texts).execute(&pool);
        if let Ok(Ok(_)) = tokio::time::timeout(SEND_TIMEOUT, sent).await {
            failures = 0;
            continue;
        }
        {
            let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (topic, waiting) in Topic::ALL.into_iter().zip(waiting.iter_mut()) {
                waiting.lost |= channels.contains(&channel(topic));
            }
        }
        failures += 1;
        tokio::time::sleep(backoff(FIRST_BACKOFF, MAX_BACKOFF, failures)).await;
        shared.something.notify_one();
    }
}

/// Receives what others send. Whenever it begins to listen anew, something may have been missed.
async fn listen(shared: Arc<Shared>, pool: PgPool) {
    let mut failures = 0;
    loop {
        if listen_once(&shared, &pool, &mut failures).await.is_ok() {
            // The connection was lost, and is made again.
            failures = 0;
        }
        failures += 1;
        tokio::time::sleep(backoff(FIRST_BACKOFF, MAX_BACKOFF, failures)).await;
    }
}

async fn listen_once(shared: &Shared, pool: &PgPool, failures: &mut u32) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    let channels = Topic::ALL.map(channel);
    listener.listen_all(channels.iter().map(String::as_str)).await?;
    *failures = 0;
    shared.hub.missed();
    while let Some(notification) = listener.try_recv().await? {
        let topic = notification.channel().strip_prefix("cofferdam_").and_then(Topic::parse);
        let mut words = notification.payload().split(' ');
        let Some(topic) = topic.filter(|_| words.next() != Some(&shared.me)) else { continue };
        for word in words {
            match STANDARD_NO_PAD.decode(word) {
                Ok(payload) => shared.hub.deliver(topic, payload.into()),
                Err(_) => shared.hub.missed_of(topic),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_sent_once_and_in_pieces_that_fit() {
        let mut waiting = Waiting::default();
        for n in 0..2000_u32 {
            waiting.add(Bytes::from(format!("thread_{n} 7")));
            waiting.add(Bytes::from(format!("thread_{n} 7")));
        }
        let texts = waiting.take("me");
        assert!(texts.len() > 1 && texts.iter().all(|text| text.len() <= MAX_NOTIFY && text.starts_with("me ")));
        assert_eq!(texts.iter().map(|text| text.split(' ').count() - 1).sum::<usize>(), 2000);
        assert!(waiting.take("me").is_empty());
        waiting.add(vec![0; MAX_PAYLOAD].into());
        waiting.add(vec![0; MAX_PAYLOAD + 1].into());
        let texts = waiting.take("me");
        assert!(texts.iter().all(|text| text.len() <= MAX_NOTIFY) && texts[0].starts_with("me ! "), "{}", texts.len());
    }
}
