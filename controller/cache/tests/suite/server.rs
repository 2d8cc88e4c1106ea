//! Caches over a Redis of a test's own, and what is waited for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_cache::{Cache, Subscription, Topic, Wake};
use cofferdam_core::Secret;
use cofferdam_testkit::Redis;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The time that anything may take before a test fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A process that uses a Redis.
pub(crate) fn process(redis: &Redis, password: &str) -> Process {
    Process::new(Cache::connect(Some(&Secret::new(redis.url(password)))).unwrap())
}

/// A process of an installation, as far as its cache goes.
pub(crate) struct Process {
    pub(crate) cache: Cache,
    _stop: DropGuard,
}

impl Process {
    pub(crate) fn new(cache: Cache) -> Self {
        let stop = CancellationToken::new();
        tokio::spawn(cache.clone().keep(stop.clone()));
        Self { cache, _stop: stop.drop_guard() }
    }
}

/// The twins: two processes over one Redis, and one process alone that stands for both.
pub(crate) async fn twins() -> Vec<(&'static str, Option<Redis>, Cache, Cache, Vec<Process>)> {
    let alone = Cache::memory();
    let mut twins = vec![("memory", None, alone.clone(), alone, Vec::new())];
    if let Some(redis) = Redis::start() {
        let (one, two) = (process(&redis, ""), process(&redis, ""));
        connected(&one.cache, &two.cache).await;
        twins.push(("redis", Some(redis), one.cache.clone(), two.cache.clone(), vec![one, two]));
    }
    twins
}

/// Waits until both hear each other and have nothing more to say about their connection.
pub(crate) async fn connected(one: &Cache, two: &Cache) {
    for (from, to) in [(one, two), (two, one)] {
        let mut heard = to.bus.subscribe(Topic::Settings);
        let begun = Instant::now();
        loop {
            let word = Bytes::from(format!("{:?}", begun.elapsed()));
            from.bus.publish(Topic::Settings, word.clone());
            if tokio::time::timeout(Duration::from_millis(200), until(&mut heard, &word)).await.is_ok() {
                break;
            }
            assert!(begun.elapsed() < SOON, "they do not hear each other");
        }
    }
}

/// Waits for a message, and passes over others.
pub(crate) async fn until(subscription: &mut Subscription, payload: &Bytes) {
    while subscription.next().await != Wake::Message(payload.clone()) {}
}

/// The next thing that a subscription says.
pub(crate) async fn next(subscription: &mut Subscription) -> Wake {
    tokio::time::timeout(SOON, subscription.next()).await.expect("nothing was said")
}

/// Waits until something holds.
pub(crate) async fn becomes(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
