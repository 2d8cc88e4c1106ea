//! Followers of a collected log: history and new lines joined, filters, many followers at once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_logs::{LogQuery, Query};

use super::{Event, Place, Reader, ask, history, in_order, texts, watch};
use cofferdam_testkit::cluster::{FakeCluster, workload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_live_and_say_where_they_come_from() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let (one, two) = (workload("a", 1), workload("a", 2));
    let pod = cluster.pod(&one, "a-v1-x", 0);
    pod.write("before");
    watch(&logs, &one, &any);
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    assert_eq!(reader.line().await.line, "before");
    for n in 0..50 {
        let written = Instant::now();
        pod.write(&format!("line {n}"));
        let line = reader.line().await;
        assert!(written.elapsed() < Duration::from_millis(100), "{:?}", written.elapsed());
        assert_eq!((line.line.as_str(), line.pod.as_str(), line.version), (&*format!("line {n}"), "a-v1-x", 1));
    }
    // The container restarts, then a new version takes over; the stream goes on.
    pod.write("last words");
    pod.end();
    assert_eq!(reader.line().await.line, "last words");
    cluster.remove_pods(&one);
    let again = cluster.pod(&one, "a-v1-x", 1);
    again.write("again");
    assert_eq!(reader.line().await.line, "again");
    let newer = cluster.pod(&two, "a-v2-y", 0);
    watch(&logs, &two, &any);
    newer.write("two");
    let line = reader.line().await;
    assert_eq!((line.line.as_str(), line.pod.as_str(), line.version), ("two", "a-v2-y", 2));
    again.write("one still");
    assert_eq!(reader.line().await.line, "one still");
    let all = history(&logs, "a").await;
    in_order(&all);
    assert_eq!(all.len(), 55);
    let version = Query { version: Some(2), ..ask(LogQuery { follow: Some("false".into()), ..LogQuery::default() }) };
    assert_eq!(texts(&Reader::new(&logs, "a", version).rest().await), ["two"]);
    logs.close().await;
    assert!(reader.event().await.is_none(), "followers end with the process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_say_what_a_model_says() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 3);
    let pod = cluster.pod(&id, "p", 0);
    // Enough for several segments, and for memory to have lost the first of them.
    let text = |n: usize| format!("{n} {} {}", if n.is_multiple_of(7) { "seven" } else { "other" }, "é\"\\".repeat(30));
    // Young enough for retention.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let base = i64::try_from(now.as_secs() - 60).unwrap() * 1_000_000_000;
    for round in 0..6 {
        for n in round * 4_000..(round + 1) * 4_000 {
            pod.write_at(base + i64::try_from(n).unwrap() * 1_000_000, &text(n));
        }
        if round == 0 {
            watch(&logs, &id, &any);
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    logs.drain(&id).await;
    let stored = history(&logs, "a").await;
    in_order(&stored);
    assert_eq!(stored.len(), 24_000);
    assert!(stored.iter().enumerate().all(|(n, line)| line.line == text(n)), "in the order of writing");
    let names = std::fs::read_dir(place.folder.path().join("objects/logs/default/a")).unwrap().count();
    assert!(names > 3, "{names} segments");

    let not = || Some("false".to_owned());
    let since = jiff::Timestamp::from_nanosecond((base + 18_500_000_000).into()).unwrap().to_string();
    type Wanted = Box<dyn Fn(usize) -> bool>;
    let cases: Vec<(LogQuery, Wanted)> = vec![
        (LogQuery { follow: not(), tail: Some(10), ..LogQuery::default() }, Box::new(|n| n >= 23_990)),
        (LogQuery { follow: not(), tail: Some(0), ..LogQuery::default() }, Box::new(|_| false)),
        (LogQuery { follow: not(), tail: Some(20_000), ..LogQuery::default() }, Box::new(|n| n >= 4_000)),
        (LogQuery { follow: not(), tail: Some(99_999), ..LogQuery::default() }, Box::new(|_| true)),
        (
            LogQuery { follow: not(), grep: Some("^\\d+ seven é".into()), ..LogQuery::default() },
            Box::new(|n| n.is_multiple_of(7)),
        ),
        (
            LogQuery { follow: not(), grep: Some("seven".into()), tail: Some(3_000), ..LogQuery::default() },
            Box::new(|n| n.is_multiple_of(7) && n >= 7 * 429),
        ),
        (
            LogQuery { follow: not(), grep: Some("never".into()), tail: Some(5), ..LogQuery::default() },
            Box::new(|_| false),
        ),
        (LogQuery { follow: not(), since: Some(since.clone()), ..LogQuery::default() }, Box::new(|n| n >= 18_500)),
        (
            LogQuery { follow: not(), since: Some(since.clone()), tail: Some(9_000), ..LogQuery::default() },
            Box::new(|n| n >= 18_500),
        ),
        (
            LogQuery { follow: not(), since: Some(since.clone()), tail: Some(9), ..LogQuery::default() },
            Box::new(|n| n >= 23_991),
        ),
        (LogQuery { follow: not(), version: Some(2), ..LogQuery::default() }, Box::new(|_| false)),
    ];
    for (query, wanted) in cases {
        let said = format!("{query:?}");
        let lines = Reader::new(&logs, "a", ask(query)).rest().await;
        let numbers: Vec<usize> = lines.iter().map(|l| l.line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..24_000).filter(|n| wanted(*n)).collect::<Vec<_>>(), "{said}");
    }
    // A client that comes back with any id gets what comes after it.
    for at in [0, 1, 999, 5_000, 12_345, 23_998, 23_999] {
        let query = LogQuery { follow: not(), tail: Some(1), ..LogQuery::default() };
        let id = stored[at].seq.to_string();
        let lines = Reader::new(&logs, "a", query.understand(Some(&id)).unwrap()).rest().await;
        assert_eq!(lines, stored[at + 1..], "after {id}");
    }
    logs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_that_come_at_any_time_get_every_line_once() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    const LINES: usize = 20_000;
    let writer = tokio::spawn(async move {
        for n in 0..LINES / 100 {
            pod.write_all((0..100).map(|k| format!("{}", n * 100 + k)));
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    let mut readers = Vec::new();
    for n in 0..60_u64 {
        let logs = logs.clone();
        readers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(n * 80)).await;
            let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
            let mut lines = Vec::new();
            while lines.len() < LINES {
                lines.push(reader.line().await);
                // Some are slow, some stop for a while.
                if n.is_multiple_of(5) && lines.len().is_multiple_of(1_000) {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                }
            }
            assert!(lines.iter().enumerate().all(|(n, line)| line.line == n.to_string()), "reader {n}");
            in_order(&lines);
        }));
    }
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    logs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_followers_use_one_stream_and_leave_nothing() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    let mut readers: Vec<_> = (0..1_000).map(|_| Reader::new(&logs, "a", ask(LogQuery::default()))).collect();
    pod.write("hello");
    for reader in &mut readers {
        assert_eq!(reader.line().await.line, "hello");
    }
    assert_eq!(cluster.streams.load(Ordering::SeqCst), 1);
    assert_eq!(logs.count(), (1_000, 1));
    drop(readers);
    assert_eq!(logs.count(), (0, 1));
    logs.unwatch(&id, true).await;
    // The task that watched lets go of it last.
    let until = Instant::now() + Duration::from_secs(5);
    while logs.count().1 > 0 {
        assert!(Instant::now() < until, "it is still in use");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cluster.streams.load(Ordering::SeqCst), 0);
    // Of another organization there is nothing to see, whatever its agent is called.
    let other = OrganizationId::parse("other").unwrap();
    let query = ask(LogQuery { follow: Some("false".into()), ..LogQuery::default() });
    let mut follower = logs.follow(&other, &AgentId::parse("a").unwrap(), query).unwrap();
    let mut seen = String::new();
    while let Some(bytes) = follower.next().await {
        seen.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert!(!seen.contains("hello") && seen.contains("event: end"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_lines_says_that_it_lives() {
    let place = Place::new();
    let logs = place.logs().await;
    let mut reader = Reader::new(&logs, "silent", ask(LogQuery::default()));
    assert!(reader.is_quiet(Duration::from_millis(1)).await || reader.waiting.is_empty());
    let beats = async {
        loop {
            let bytes = reader.follower.next().await.unwrap();
            if bytes.starts_with(b":") {
                return bytes;
            }
        }
    };
    let bytes = tokio::time::timeout(Duration::from_secs(17), beats).await.unwrap();
    assert!(bytes.ends_with(b"\n\n"));
    logs.end_followers();
    assert_eq!(reader.event().await, None::<Event>);
}
