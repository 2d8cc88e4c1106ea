//! PostgreSQL goes away, for a moment and for long: nothing that was accepted is lost, and nothing happens twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cofferdam_cache::MemoryBus;
use cofferdam_contract::work::TaskStatus;
use cofferdam_core::{Failure as _, Secret};
use cofferdam_store::{DatabaseConfig, Store, Turn, Write, Written};
use cofferdam_tasks::{NoLimits, TasksConfig};
use cofferdam_testkit::database::On;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::rig::{Rig, caller, chunk, ends, new_task, quick, step};

/// A way to PostgreSQL that can be cut and closed.
struct Line {
    open: Arc<AtomicBool>,
    cut: broadcast::Sender<()>,
}

impl Line {
    async fn to(config: &DatabaseConfig) -> (Self, DatabaseConfig) {
        let url = config.url.expose().to_owned();
        let (head, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = format!("{head}@{}/{database}", listener.local_addr().unwrap());
        let (open, cut) = (Arc::new(AtomicBool::new(true)), broadcast::Sender::new(4));
        let (opened, cuts, server) = (Arc::clone(&open), cut.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if !opened.load(Ordering::SeqCst) {
                    continue;
                }
                let (mut cut, server) = (cuts.subscribe(), server.clone());
                tokio::spawn(async move {
                    let mut database = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut database) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        (Self { open, cut }, DatabaseConfig { url: Secret::new(through) })
    }

    fn cut(&self) {
        let _ = self.cut.send(());
    }

    fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cut();
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

async fn rig(config: TasksConfig) -> Option<(Rig, Line)> {
    let on = On::all().into_iter().find(|on| *on == On::Postgresql)?;
    let folder = Arc::new(TempDir::new().unwrap());
    let (line, through) = Line::to(&on.database(&folder).await).await;
    let store = Store::open(&through).await.unwrap();
    Some((Rig::with(store, Arc::new(MemoryBus::default()), config, Arc::new(NoLimits), folder), line))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_lose_nothing_and_double_nothing() {
    let Some((rig, line)) = rig(quick()).await else { return };
    let worker = rig.tasks.worker().unwrap();
    let handed = rig.running(&worker).await;
    let mut follow = rig.tasks.follow_task(&caller(), &handed.task.id, 0).await.unwrap();
    let follows = tokio::spawn(async move {
        let mut ids = Vec::new();
        while let Some(page) = follow.next().await {
            ids.extend(page.unwrap().iter().map(|event| event.id));
        }
        ids
    });
    let cuts = tokio::spawn(async move {
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(170)).await;
            line.cut();
        }
        line
    });
    let mut written = 0;
    while !cuts.is_finished() {
        let mut step = step(&handed, Turn::Goes);
        step.events = vec![chunk(&written.to_string())];
        let outcome = rig.tasks.write(Write::Step(Box::new(step))).await.unwrap();
        assert!(matches!(outcome, Written::Done { .. }), "{outcome:?}");
        written += 1;
    }
    let _line = cuts.await.unwrap();
    rig.step(&handed, ends(TaskStatus::Completed)).await;
    let thread = rig.tasks.thread(&caller(), &handed.task.thread).await.unwrap();
    // The question, an answer with each step, and the last one.
    assert_eq!(thread.messages, written + 2, "{written} steps");
    let ids = tokio::time::timeout(Duration::from_secs(20), follows).await.unwrap().unwrap();
    assert_eq!(ids, (1..=thread.last_event).collect::<Vec<_>>());
    println!("{written} steps over 12 cuts, {} failed attempts", rig.metric("task_write_failures_total"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_for_seconds_costs_time_and_for_longer_a_503() {
    let config = TasksConfig { write_timeout: Duration::from_secs(3), ..quick() };
    let Some((rig, line)) = rig(config).await else { return };
    let worker = rig.tasks.worker().unwrap();
    let handed = rig.running(&worker).await;
    // Gone for a second: the write waits.
    line.close();
    let waits = {
        let tasks = Arc::clone(&rig.tasks);
        let step = step(&handed, Turn::Goes);
        tokio::spawn(async move { tasks.write(Write::Step(Box::new(step))).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    line.open();
    let done = tokio::time::timeout(Duration::from_secs(15), waits).await.unwrap().unwrap();
    assert!(matches!(done, Ok(Written::Done { .. })), "{done:?}");
    // Gone for longer: refused, and the caller is told to try again.
    line.close();
    let begun = Instant::now();
    let new = new_task("too late");
    let refused = rig.tasks.write(Write::Add(Box::new(new.clone()))).await.unwrap_err();
    println!("refused after {:?}", begun.elapsed());
    let problem = refused.refused().unwrap_or_else(|| panic!("{refused:?}"));
    assert_eq!((problem.status, problem.retryable), (503, true), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let read = rig.tasks.get(&caller(), &new.task.id).await.unwrap_err();
    assert_eq!(read.refused().unwrap_or_else(|| panic!("{read:?}")).status, 503, "{read}");
    line.open();
    // Everything goes on: the worker lives again or another takes its place.
    assert!(matches!(rig.add(&new).await, Written::Done { .. }));
    let worker = if worker.lost.is_cancelled() { rig.tasks.worker().unwrap() } else { worker };
    let next = rig.next(&worker).await;
    assert!(matches!(rig.step(&next, ends(TaskStatus::Completed)).await, Written::Done { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hand_outs_that_are_cut_leave_no_task_behind() {
    let Some((rig, line)) = rig(quick()).await else { return };
    let rig = Arc::new(rig);
    let worker = rig.tasks.worker().unwrap();
    let mut ids = Vec::new();
    for _ in 0..200 {
        let new = new_task("x");
        assert!(matches!(rig.add(&new).await, Written::Done { .. }));
        ids.push(new.task.id);
    }
    let slots: Vec<_> = (0..8)
        .map(|_| {
            let (rig, worker) = (Arc::clone(&rig), worker.clone());
            tokio::spawn(async move {
                while let Some(handed) = rig.tasks.next(&worker).await {
                    let written = rig.step(&handed, ends(TaskStatus::Completed)).await;
                    assert!(matches!(written, Written::Done { .. }), "{written:?}");
                }
            })
        })
        .collect();
    for cut in 0..60 {
        tokio::time::sleep(Duration::from_millis(3 + cut % 11)).await;
        line.cut();
    }
    for id in &ids {
        rig.until(id, TaskStatus::Completed).await;
        let row = rig.row(id).await;
        let messages = rig.tasks.messages_of(&caller(), id, 0, 10).await.unwrap();
        assert_eq!((row.lost, messages.len()), (0, 2), "{row:?}");
    }
    let attempts: u64 =
        futures_util::future::join_all(ids.iter().map(|id| rig.row(id))).await.iter().map(|row| row.attempt).sum();
    println!("200 tasks over 60 cuts: {attempts} hand-outs");
    rig.draining.cancel();
    for slot in slots {
        slot.await.unwrap();
    }
}
