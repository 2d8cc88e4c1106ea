//! The database fails in the middle: futures dropped, backends ended, no connection left, an old transaction.

use std::time::{Duration, Instant};

use cofferdam_store::{DatabaseConfig, NewTask, Store, Turn, Write, Written};
use cofferdam_testkit::database::On;
use sqlx::{AnyPool, query, query_scalar};

use super::rig::*;
use crate::{on_each, organization};

/// Repeats a batch as the writer of tasks does.
async fn write_again(store: &Store, writes: &[Write]) -> Vec<Written> {
    let started = Instant::now();
    loop {
        match store.write_work(writes).await {
            Ok(written) => return written,
            Err(error) => {
                assert!(error.is_repeatable() || error.is_unavailable(), "{error:?}");
                assert!(started.elapsed() < Duration::from_secs(60), "{error:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn postgres() -> Option<(DatabaseConfig, Store, AnyPool)> {
    let folder = tempfile::tempdir().unwrap();
    if !On::all().contains(&On::Postgresql) {
        return None;
    }
    let config = On::Postgresql.database(&folder).await;
    let store = Store::open(&config).await.unwrap();
    let other = AnyPool::connect(config.url.expose()).await.unwrap();
    Some((config, store, other))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_dropped_in_the_middle_is_written_whole_or_not_at_all() {
    on_each(async |_, store| {
        let mut added = Vec::new();
        for n in 0..60_u64 {
            let new: Vec<NewTask> = (0..20).map(|_| new_task(&lane(), "x")).collect();
            let writes: Vec<Write> = new.iter().map(add).collect();
            let _ = tokio::time::timeout(Duration::from_micros(n * 150), store.write_work(&writes)).await;
            added.push(new);
        }
        did(store, add(&new_task(&lane(), "the connection is still good"))).await;
        let (mut whole, mut nothing) = (0, 0);
        for new in added {
            let mut there = 0;
            for new in &new {
                if store.task(&organization(), &new.task.id).await.unwrap().is_some() {
                    there += 1;
                    assert_whole(store, &organization(), &new.task.thread).await;
                }
            }
            assert!(there == 0 || there == new.len(), "{there} of {}", new.len());
            *(if there == 0 { &mut nothing } else { &mut whole }) += 1;
        }
        println!("{whole} whole, {nothing} not at all");
        store.join_work(WORKER, 60_000).await.unwrap();
        let mut handed_out = 0;
        loop {
            let taken = store.hand_out(WORKER, &[(lane(), 200)]).await.unwrap().len();
            if taken == 0 {
                break;
            }
            handed_out += taken;
        }
        assert_eq!(handed_out, whole * 20 + 1);
    })
    .await;
}

/// Writes steps of eight tasks while a fault goes on: every one that was acknowledged is there once.
async fn write_under(store: &Store, fault: impl Future<Output = ()> + Send + 'static, time: Duration) {
    let new: Vec<NewTask> = (0..8).map(|_| new_task(&lane(), "x")).collect();
    store.write_work(&new.iter().map(add).collect::<Vec<_>>()).await.unwrap();
    let taken = take_of(store, WORKER, &lane(), 8).await;
    let fault = tokio::spawn(fault);
    let mut steps = tokio::task::JoinSet::new();
    for task in taken {
        let store = store.clone();
        steps.spawn(async move {
            let mut number = 0;
            let started = Instant::now();
            while started.elapsed() < time {
                let written = write_again(&store, &[Write::Step(Box::new(step(&task, Turn::Goes)))]).await;
                number += 1;
                assert!(
                    matches!(written[0], Written::Done { event, message, .. } if event == number + 1 && message == number + 1),
                    "{written:?} after {number}"
                );
            }
            (task.task.thread, number)
        });
    }
    let threads = steps.join_all().await;
    fault.await.unwrap();
    println!("{} steps", threads.iter().map(|(_, number)| number).sum::<u64>());
    for (thread, _) in threads {
        assert_whole(store, &organization(), &thread).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_backends_lose_and_double_nothing() {
    let Some((_, store, other)) = postgres().await else { return };
    let ends = async move {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(45)).await;
            let _: i64 = query_scalar(sql).fetch_one(&other).await.unwrap();
        }
    };
    write_under(&store, ends, Duration::from_secs(2)).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "restarts the PostgreSQL that other tests use"]
async fn a_restarted_server_loses_and_doubles_nothing() {
    let Some((_, store, other)) = postgres().await else { return };
    let restarts = async move {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // A backend that is killed makes PostgreSQL end all of them and recover.
            let _ = query("COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'").execute(&other).await;
        }
    };
    write_under(&store, restarts, Duration::from_secs(8)).await;
    store.close().await;
}

/// Two controllers move what is due and take back what is lost at the same time: each thing once.
#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_move_what_is_due_once() {
    let Some((config, first, _)) = postgres().await else { return };
    let second = Store::open(&config).await.unwrap();
    let new: Vec<NewTask> = (0..100).map(|_| new_task(&lane(), "x")).collect();
    first.write_work(&new.iter().map(add).collect::<Vec<_>>()).await.unwrap();
    let taken = take_of(&first, WORKER, &lane(), 50).await;
    let again = |task| step(task, Turn::Again { why: None, detail: String::new(), at_ms: Some(0) });
    let steps: Vec<Write> = taken.iter().map(|task| Write::Step(Box::new(again(task)))).collect();
    first.write_work(&steps).await.unwrap();
    first.join_work("dies", 30).await.unwrap();
    assert_eq!(first.hand_out("dies", &[(lane(), 50)]).await.unwrap().len(), 50);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let due = |store: Store| async move { (store.due_timers(256).await.unwrap(), store.take_back(3).await.unwrap()) };
    let (a, b) = tokio::join!(tokio::spawn(due(first.clone())), tokio::spawn(due(second.clone())));
    let queued = |written: &[Written]| {
        written.iter().filter(|written| matches!(written, Written::Done { queued, .. } if !queued.is_empty())).count()
    };
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(queued(&a.0) + queued(&b.0), 50, "retries");
    assert_eq!(queued(&a.1) + queued(&b.1), 50, "taken back");
    assert_eq!(take_of(&second, "worker-2", &lane(), 200).await.len(), 100);
    for new in &new {
        assert_whole(&first, &organization(), &new.task.thread).await;
    }
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_left_is_said_as_such() {
    let Some((config, _, other)) = postgres().await else { return };
    let store = Store::open_within(&config, Duration::from_millis(300)).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    query("LOCK TABLE threads IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let mut blocked = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = store.clone();
        blocked.spawn(async move { store.write_work(&[add(&new_task(&lane(), "x"))]).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let error = store.write_work(&[add(&new_task(&lane(), "x"))]).await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_repeatable(), "{error:?}");
    lock.rollback().await.unwrap();
    while let Some(written) = blocked.join_next().await {
        written.unwrap().unwrap();
    }
    did(&store, add(&new_task(&lane(), "x"))).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_told_apart() {
    let Some((_, store, other)) = postgres().await else { return };
    let ids = ["worker-a", "worker-b"];
    for id in ids {
        store.join_work(id, 60_000).await.unwrap();
    }
    let lock = "UPDATE work_workers SET started_at_ms = 0 WHERE id = $1";
    let (mut first, mut second) = (other.begin().await.unwrap(), other.begin().await.unwrap());
    query(lock).bind(ids[0]).execute(&mut *first).await.unwrap();
    query(lock).bind(ids[1]).execute(&mut *second).await.unwrap();
    let (a, b) =
        tokio::join!(query(lock).bind(ids[1]).execute(&mut *first), query(lock).bind(ids[0]).execute(&mut *second));
    let error = cofferdam_store::Error::from(a.err().or(b.err()).unwrap());
    assert!(error.is_repeatable() && !error.is_unavailable(), "{error:?}");
    store.close().await;
}

/// A transaction elsewhere keeps every dead row of the queue alive; hand-outs stay as fast as before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute: 50,000 tasks beside an old transaction"]
async fn an_old_transaction_does_not_slow_the_hand_out() {
    let Some((_, store, other)) = postgres().await else { return };
    let mut old = other.begin().await.unwrap();
    query("SELECT CAST(pg_current_xact_id() AS text)").execute(&mut *old).await.unwrap();
    store.join_work(WORKER, 3_600_000).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..200 {
        let writes: Vec<Write> = (0..250).map(|_| add(&new_task(&lane(), "x"))).collect();
        store.write_work(&writes).await.unwrap();
        let started = Instant::now();
        let taken = store.hand_out(WORKER, &[(lane(), 250)]).await.unwrap();
        took.push(started.elapsed());
        assert_eq!(taken.len(), 250);
    }
    let average = |part: &[Duration]| part.iter().sum::<Duration>() / u32::try_from(part.len()).unwrap();
    let (first, last) = (average(&took[5..25]), average(&took[180..]));
    println!("hand-out of 250: {first:?} at first, {last:?} after 50,000");
    assert!(last < first * 2, "{first:?} -> {last:?}");
    let started = Instant::now();
    for _ in 0..20 {
        assert!(store.hand_out(WORKER, &[(lane(), 64)]).await.unwrap().is_empty());
    }
    println!("an empty hand-out: {:?}", started.elapsed() / 20);
    old.rollback().await.unwrap();
    store.close().await;
}
