//! Breaking streams, killed controllers, deleted pods: no line twice, none lost, no number used again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_logs::LogQuery;
use tokio::runtime::{Builder, Runtime};

use super::{Place, Reader, ask, history, in_order, plain, texts, watch};
use cofferdam_testkit::cluster::{FakeCluster, workload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_loses_nothing() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    // Several lines of one time, and more within one second than a stream that begins again is given.
    let base = 1_700_000_000_000_000_000_i64;
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    let mut written = 0;
    for round in 0..8 {
        for _ in 0..50 + round * 13 {
            pod.write_at(base + (written / 3) * 1_000_000, &written.to_string());
            written += 1;
        }
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        pod.break_streams();
    }
    let lines = reader.lines(usize::try_from(written).unwrap()).await;
    assert!(lines.iter().enumerate().all(|(n, line)| line.line == n.to_string()), "{:?}", texts(&lines));
    in_order(&lines);
    assert!(reader.is_quiet(Duration::from_millis(1_500)).await, "nothing twice");
    logs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_log_a_node_gives_under_two_names_is_stored_once() {
    let base = 1_700_000_000_000_000_000_i64;
    // As a node does while a container that ends at once waits to be restarted: "the previous run" is the one that has ended
    // last, and so is "this run". In the other case the API server is behind: the first run's name gives the second's log.
    for first_is_read in [true, false] {
        let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
        let logs = place.logs().await;
        let id = workload("a", 1);
        let (run_0, run_1) = (cluster.pod(&id, "p", 0), cluster.pod(&id, "p", 1));
        let mut wanted = Vec::new();
        if first_is_read {
            run_0.write_at(base, "first run");
            wanted.push("first run".to_owned());
            watch(&logs, &id, &any);
            let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
            assert_eq!(reader.line().await.line, "first run");
            run_0.end();
        }
        cluster.gives(&run_0, &run_1);
        // Equal lines of one nanosecond are lines of their own.
        for (at, text) in [(5, "second run"), (6, "same"), (6, "same"), (6, "same"), (7, "bye")] {
            run_1.write_at(base + at * 1_000_000_000, text);
            wanted.push(text.to_owned());
        }
        watch(&logs, &id, &any);
        // It may also grow while both are followed.
        for n in 0..200 {
            run_1.write_at(base + 8_000_000_000 + n / 3, &n.to_string());
            wanted.push(n.to_string());
            if n % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                run_1.break_streams();
            }
        }
        run_1.end();
        let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
        let lines = reader.lines(wanted.len()).await;
        assert_eq!(texts(&lines), wanted);
        in_order(&lines);
        assert!(reader.is_quiet(Duration::from_millis(2_500)).await, "nothing twice");
        logs.close().await;
        assert_eq!(texts(&history(&place.logs().await, "a").await), wanted);
    }
}

/// A controller that can be killed: afterwards nothing of it runs or writes.
fn controller() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn a_killed_controller_is_followed_by_one_that_refills() {
    let (place, (cluster, any)) = (Arc::new(Place::new()), FakeCluster::pair());
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    let mut written = 0;
    for round in 0..5_u64 {
        let runtime = controller();
        runtime.block_on(async {
            let logs = place.logs().await;
            watch(&logs, &id, &any);
            let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
            for _ in 0..40 {
                pod.write(&written.to_string());
                written += 1;
                tokio::time::sleep(Duration::from_millis(7 * round + 1)).await;
            }
            if round == 2 {
                // Long enough for a part to be stored.
                tokio::time::sleep(Duration::from_millis(2_300)).await;
                pod.write(&written.to_string());
                written += 1;
            }
            // A number that a follower has seen keeps naming the same line.
            let last = (written - 1).to_string();
            loop {
                let line = reader.line().await;
                if let Some(before) = seen.insert(line.seq, line.line.clone()) {
                    assert_eq!(before, line.line, "number {}", line.seq);
                }
                if line.line == last {
                    break;
                }
            }
        });
        // Killed: no flush, no goodbye.
        runtime.shutdown_timeout(Duration::from_millis(1));
    }
    controller().block_on(async {
        let logs = place.logs().await;
        watch(&logs, &id, &any);
        let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
        let lines = reader.lines(written).await;
        assert!(lines.iter().enumerate().all(|(n, line)| line.line == n.to_string()), "{:?}", texts(&lines));
        in_order(&lines);
        for line in &lines {
            if let Some(before) = seen.get(&line.seq) {
                assert_eq!(*before, line.line, "number {}", line.seq);
            }
        }
        assert!(reader.is_quiet(Duration::from_millis(500)).await);
        logs.close().await;
        let after = place.logs().await;
        assert_eq!(history(&after, "a").await, lines, "all of it was stored");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_read_to_its_last_line_before_it_goes() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    logs.watch(&id, &any, plain());
    pod.write_all((0..5_000).map(|n| n.to_string()));
    pod.end();
    logs.drain(&id).await;
    assert_eq!(place.stored().await.lines().filter(|line| line.contains("\"line\":")).count(), 5_000);
    cluster.remove_pods(&id);
    // The streams have ended on their own.
    let mut left = 100;
    while logs.count().1 > 0 {
        left -= 1;
        assert!(left > 0, "the watch goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(history(&logs, "a").await.len(), 5_000);
    // A workload whose pods are gone already is nothing to wait for.
    let begun = std::time::Instant::now();
    logs.drain(&id).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_ended_is_not_read_again_and_again() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    pod.write("only");
    pod.end();
    watch(&logs, &id, &any);
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    assert_eq!(reader.line().await.line, "only");
    assert!(reader.is_quiet(Duration::from_secs(3)).await);
    let next = cluster.pod(&id, "p", 1);
    next.write("after the restart");
    assert_eq!(reader.line().await.line, "after the restart");
    logs.close().await;
}
