//! Messages reach every subscriber of every process once, and whoever loses some is told.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_cache::{MAX_PAYLOAD, Topic, Wake};

use crate::server::{next, twins, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_every_subscriber_once() {
    for (twin, _redis, one, two, _processes) in twins().await {
        let mut all =
            [one.bus.subscribe(Topic::Queue), one.bus.subscribe(Topic::Queue), two.bus.subscribe(Topic::Queue)];
        let mut other = two.bus.subscribe(Topic::Thread);
        one.bus.publish(Topic::Queue, Bytes::from("a"));
        two.bus.publish(Topic::Queue, Bytes::from("b"));
        for subscription in &mut all {
            let mut heard = [next(subscription).await, next(subscription).await];
            heard.sort_by_key(|wake| format!("{wake:?}"));
            assert_eq!(heard, [Wake::Message("a".into()), Wake::Message("b".into())], "{twin}");
        }
        // Own messages come at once, and not a second time from the server.
        one.bus.publish(Topic::Queue, Bytes::from("last"));
        assert_eq!(all[0].try_next(), Some(Wake::Message("last".into())), "{twin}");
        until(&mut all[2], &Bytes::from("last")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(all[0].try_next(), None, "{twin}");
        assert_eq!(other.try_next(), None, "{twin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_a_slow_subscriber_its_messages_and_nobody_else() {
    for (twin, _redis, one, two, _processes) in twins().await {
        let mut slow = two.bus.subscribe(Topic::Thread);
        let mut quick = two.bus.subscribe(Topic::Thread);
        let reader = tokio::spawn(async move {
            let (mut messages, mut missed) = (0_usize, 0_usize);
            loop {
                match quick.next().await {
                    Wake::Message(payload) if payload == "end" => return (messages, missed),
                    Wake::Message(_) => messages += 1,
                    Wake::Missed => missed += 1,
                }
            }
        });
        let begun = Instant::now();
        for number in 0..100_000 {
            one.bus.publish(Topic::Thread, Bytes::from(format!("thread {number}")));
            if number % 500 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let published = begun.elapsed();
        assert!(published < Duration::from_secs(10), "{twin}: publishing waited: {published:?}");
        // Lost with what it stands behind, it is said again.
        let end = tokio::spawn(async move {
            loop {
                one.bus.publish(Topic::Thread, Bytes::from("end"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let (messages, missed) = tokio::time::timeout(crate::server::SOON, reader).await.unwrap().unwrap();
        end.abort();
        assert!(messages == 100_000 || missed > 0, "{twin}: {messages} came and nobody said that any is missing");
        assert_eq!(next(&mut slow).await, Wake::Missed, "{twin}");
        until(&mut slow, &Bytes::from("end")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_a_message_is_missed_everywhere() {
    for (twin, _redis, one, two, _processes) in twins().await {
        let (mut here, mut there) = (one.bus.subscribe(Topic::Task), two.bus.subscribe(Topic::Task));
        one.bus.publish(Topic::Task, Bytes::from(vec![b'x'; MAX_PAYLOAD + 1]));
        assert_eq!((next(&mut here).await, next(&mut there).await), (Wake::Missed, Wake::Missed), "{twin}");
        let longest = Bytes::from(vec![b'x'; MAX_PAYLOAD]);
        one.bus.publish(Topic::Task, longest.clone());
        until(&mut there, &longest).await;
    }
}
