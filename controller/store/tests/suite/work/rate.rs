//! Figures of the store alone, for tuning: `--ignored work::rate`, on the PostgreSQL that `COFFERDAM_TEST_DATABASE_URL` names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_contract::work::Role;
use cofferdam_store::{HandedOut, ReceiptState, Store, Turn, Write, Written};
use cofferdam_testkit::database::On;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::rig::*;

type Waiting = (Write, oneshot::Sender<Written>);

/// Writes what has gathered while the batch before was written, with so many batches on their way at once.
async fn writer(store: Store, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>, batches: Arc<AtomicUsize>) {
    loop {
        let mut gathered = Vec::new();
        if waiting.lock().await.recv_many(&mut gathered, 256).await == 0 {
            return;
        }
        let (writes, answers): (Vec<Write>, Vec<_>) = gathered.into_iter().unzip();
        let written = store.write_work(&writes).await.unwrap();
        batches.fetch_add(1, Ordering::Relaxed);
        for (answer, written) in answers.into_iter().zip(written) {
            let _ = answer.send(written);
        }
    }
}

async fn write(writes: &mpsc::Sender<Waiting>, write: Write) {
    let (answer, written) = oneshot::channel();
    writes.send((write, answer)).await.unwrap();
    let written = written.await.unwrap();
    assert!(matches!(written, Written::Done { .. }), "{written:?}");
}

/// A task with one tool call: its model's answer, the call's result, the end.
async fn run(writes: &mpsc::Sender<Waiting>, task: &HandedOut) {
    let mut first = step(task, Turn::Goes);
    first.receipts = vec![receipt(&task.task.id, "call_1", ReceiptState::Sent)];
    write(writes, Write::Step(Box::new(first))).await;
    let mut second = step(task, Turn::Goes);
    second.messages = vec![said(Role::Tool, "result")];
    second.receipts = vec![receipt(&task.task.id, "call_1", ReceiptState::Done)];
    write(writes, Write::Step(Box::new(second))).await;
    write(writes, Write::Step(Box::new(step(task, completed())))).await;
}

async fn measure(store: &Store, concurrency: usize, writers: usize, tasks: usize) -> (f64, Vec<u64>) {
    let (writes, waiting) = mpsc::channel(1024);
    let waiting = Arc::new(Mutex::new(waiting));
    let batches = Arc::new(AtomicUsize::new(0));
    for _ in 0..writers {
        tokio::spawn(writer(store.clone(), Arc::clone(&waiting), Arc::clone(&batches)));
    }
    store.join_work(WORKER, 3_600_000).await.unwrap();
    let wake = Arc::new(tokio::sync::Notify::new());
    let started = Instant::now();
    let slots = Arc::new(tokio::sync::Semaphore::new(concurrency));
    let adders = {
        let (writes, wake) = (writes.clone(), Arc::clone(&wake));
        let left = Arc::new(AtomicUsize::new(tasks));
        let mut adders = tokio::task::JoinSet::new();
        for _ in 0..concurrency.min(64) {
            let (writes, wake, left) = (writes.clone(), Arc::clone(&wake), Arc::clone(&left));
            adders.spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    write(&writes, add(&new_task(&lane(), "hello"))).await;
                    wake.notify_one();
                }
            });
        }
        adders
    };
    let mut waited = Vec::with_capacity(tasks);
    let mut runs = tokio::task::JoinSet::new();
    while waited.len() < tasks {
        let free = u32::try_from(slots.available_permits()).unwrap();
        let taken = if free == 0 { Vec::new() } else { store.hand_out(WORKER, &[(lane(), free)]).await.unwrap() };
        if taken.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(20), wake.notified()).await;
        }
        for task in taken {
            waited.push(task.waited_ms);
            let permit = Arc::clone(&slots).try_acquire_owned().unwrap();
            let (writes, wake) = (writes.clone(), Arc::clone(&wake));
            runs.spawn(async move {
                run(&writes, &task).await;
                drop(permit);
                wake.notify_one();
            });
        }
        while runs.try_join_next().is_some() {}
    }
    runs.join_all().await;
    adders.join_all().await;
    let rate = tasks as f64 / started.elapsed().as_secs_f64();
    println!(
        "  {} batches of {:.1}",
        batches.load(Ordering::Relaxed),
        (tasks * 4) as f64 / batches.load(Ordering::Relaxed) as f64
    );
    waited.sort_unstable();
    (rate, waited)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of half a minute, to be read beside `pgbench -N` on the same server"]
async fn tasks_a_second() {
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let folder = tempfile::tempdir().unwrap();
    for on in On::all() {
        let config = on.database(&folder).await;
        let store = Store::open(&config).await.unwrap();
        for concurrency in [32, 128, 256] {
            for writers in [1, 2] {
                let tasks = number("COFFERDAM_RATE_TASKS", 4000);
                let (rate, waited) = measure(&store, concurrency, writers, tasks).await;
                let at = |part: usize| waited[(waited.len() - 1) * part / 100];
                println!(
                    "{on:?}: {concurrency} at once, {writers} writers: {rate:.0} tasks/s; handed out after {} ms (p50), {} ms (p99)",
                    at(50),
                    at(99)
                );
            }
        }
        store.close().await;
    }
}
