//! A Redis that is killed, hangs, or does not let us in costs speed and exactness, nothing else.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_cache::{Cache, Rate, Topic, Wake};
use cofferdam_core::Secret;
use cofferdam_testkit::Redis;

use crate::server::{Process, SOON, becomes, connected, next, process, until};

const RATE: Rate = Rate { per_minute: 60, burst: 3 };

/// A process goes on by itself, and does not wait for each thing that Redis does not say.
async fn goes_on_alone(cache: &Cache, key: &str) {
    let begun = Instant::now();
    let mut own = cache.bus.subscribe(Topic::Queue);
    cache.bus.publish(Topic::Queue, Bytes::from("own"));
    assert_eq!(own.try_next(), Some(Wake::Message("own".into())));
    let mut taken = 0;
    for _ in 0..200 {
        taken += usize::from(cache.limiter.check(key, RATE).await.is_ok());
    }
    assert!((3..=5).contains(&taken), "{taken}");
    cache.lookups.set(key, Bytes::from("alone"), Duration::from_secs(60)).await;
    for _ in 0..200 {
        assert_eq!(cache.lookups.get(key).await.as_deref(), Some(&b"alone"[..]));
    }
    assert!(begun.elapsed() < Duration::from_millis(1500), "it waited {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_comes_back_costs_a_missed() {
    let Some(mut redis) = Redis::start() else { return };
    let (one, two) = (process(&redis, ""), process(&redis, ""));
    connected(&one.cache, &two.cache).await;
    let mut there = two.cache.bus.subscribe(Topic::Queue);
    one.cache.bus.publish(Topic::Queue, Bytes::from("before"));
    until(&mut there, &Bytes::from("before")).await;
    one.cache.limiter.check("org", RATE).await.unwrap();

    redis.kill();
    goes_on_alone(&one.cache, "org 2").await;
    // Requests of before still count.
    let taken = [one.cache.limiter.check("org", RATE).await, one.cache.limiter.check("org", RATE).await];
    assert_eq!(taken.map(|taken| taken.is_ok()), [true, true]);
    one.cache.limiter.check("org", RATE).await.unwrap_err();
    for number in 0..10_000 {
        one.cache.bus.publish(Topic::Queue, Bytes::from(format!("lost {number}")));
    }

    redis.restart();
    tokio::time::timeout(SOON, async { while there.next().await != Wake::Missed {} }).await.unwrap();
    connected(&one.cache, &two.cache).await;
    one.cache.bus.publish(Topic::Queue, Bytes::from("after"));
    until(&mut there, &Bytes::from("after")).await;
    becomes("rates are shared again", async || {
        let key = format!("{:?}", Instant::now());
        let rate = Rate { per_minute: 1, burst: 1 };
        one.cache.limiter.check(&key, rate).await.is_ok() && two.cache.limiter.check(&key, rate).await.is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_not_waited_for() {
    let Some(redis) = Redis::start() else { return };
    let (one, two) = (process(&redis, ""), process(&redis, ""));
    connected(&one.cache, &two.cache).await;
    let mut there = two.cache.bus.subscribe(Topic::Task);
    redis.signal("-STOP");
    goes_on_alone(&one.cache, "org").await;
    one.cache.bus.publish(Topic::Task, Bytes::from("while it hangs"));
    // Longer than it takes to notice.
    tokio::time::sleep(Duration::from_secs(7)).await;
    goes_on_alone(&one.cache, "org 3").await;
    redis.signal("-CONT");
    // Whatever became of the message, its subscriber knows that something happened.
    let word = next(&mut there).await;
    assert!(word == Wake::Missed || word == Wake::Message("while it hangs".into()), "{word:?}");
    connected(&one.cache, &two.cache).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_warning_and_the_process_is_alone() {
    let Some(redis) = Redis::with_password("right-password") else { return };
    let wrong = process(&redis, "wrong-password");
    tokio::time::sleep(Duration::from_millis(300)).await;
    goes_on_alone(&wrong.cache, "org").await;
    let (one, two) = (process(&redis, "right-password"), process(&redis, "right-password"));
    connected(&one.cache, &two.cache).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_there_is_no_refusal() {
    let nowhere = Secret::new("redis://127.0.0.1:1/");
    let process = Process::new(Cache::connect(Some(&nowhere)).unwrap());
    goes_on_alone(&process.cache, "org").await;
}

#[test]
fn an_address_of_something_else_is_refused_and_not_shown() {
    for url in [
        "hunter2",
        "http://user:hunter2@localhost/",
        "redis://user:hunter2@",
        "redis://:hunter2@localhost/nine",
        "redis://:hunter2@localhost:port",
        "redis://:hunter2@0.0.0.0/",
        "rediss://:hunter2@localhost/#insecure",
        "unix:?pass=hunter2",
    ] {
        let said = Cache::connect(Some(&Secret::new(url))).unwrap_err().to_string();
        assert!(said.starts_with("REDIS_URL: ") && !said.contains("hunter2"), "{said}");
    }
    let cache = Cache::connect(Some(&Secret::new("rediss://user:hunter2@localhost:6380/2"))).unwrap();
    assert!(!format!("{cache:?}").contains("hunter2"), "{cache:?}");
    assert!(cache.has_redis() && !Cache::connect(None).unwrap().has_redis());
}
