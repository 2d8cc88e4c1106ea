//! Following: stored events, then live ones; from any process; for many; to the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::ThreadId;
use cofferdam_contract::work::{EventType, TaskStatus, Why};
use cofferdam_core::Failure as _;
use cofferdam_store::{HandedOut, Turn, Write};
use cofferdam_tasks::{Follow, Tasks, TasksConfig};
use cofferdam_testkit::database::On;
use futures_util::future::join_all;

use crate::rig::{Rig, caller, caller_of, chunk, ends, new_task, next_task, parks, quick, step};

/// The numbers of all events until the end.
async fn all(mut follow: Follow) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some(page) = follow.next().await {
        ids.extend(page.unwrap().iter().map(|event| event.id));
    }
    ids
}

/// Chunks of text, then the end.
async fn talk(tasks: Arc<Tasks>, handed: HandedOut, chunks: u32) {
    for number in 0..chunks {
        let mut step = step(&handed, Turn::Goes);
        step.messages.clear();
        step.events = vec![chunk(&format!("{number} ")), chunk("and ")];
        tasks.write(Write::Step(Box::new(step))).await.unwrap();
    }
    tasks.write(Write::Step(Box::new(step(&handed, ends(TaskStatus::Completed))))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_follower_sees_every_event_once_whenever_it_joins() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let (thread, task) = (handed.task.thread.clone(), handed.task.id.clone());
        let talks = tokio::spawn(talk(Arc::clone(&rig.tasks), handed, 150));
        let mut followers = Vec::new();
        for number in 0..60_u64 {
            let (tasks, thread, task) = (Arc::clone(&rig.tasks), thread.clone(), task.clone());
            followers.push(tokio::spawn(async move {
                let after = if number % 3 == 0 { number } else { 0 };
                let follow = tasks.follow(&caller(), &thread, after, Some(task)).await.unwrap();
                (follow.position(), all(follow).await)
            }));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        talks.await.unwrap();
        let last = rig.tasks.thread(&caller(), &thread).await.unwrap().last_event;
        for follower in followers {
            let (after, ids) = tokio::time::timeout(Duration::from_secs(20), follower).await.unwrap().unwrap();
            assert_eq!(ids, (after + 1..=last).collect::<Vec<_>>(), "on {on:?}");
        }
        // Again, after the end: stored events alone, and the end at once.
        let again = rig.tasks.follow_task(&caller(), &task, 0).await.unwrap();
        assert_eq!(all(again).await, (1..=last).collect::<Vec<_>>());
        let nothing = rig.tasks.follow_task(&caller(), &task, last).await.unwrap();
        assert_eq!(all(nothing).await, Vec::<u64>::new());
        assert_eq!(rig.metric("task_followers"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_in_another_process_that_heard_nothing() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let other = rig.deaf_twin();
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let (thread, task) = (handed.task.thread.clone(), handed.task.id.clone());
        let mut here = rig.tasks.follow_task(&caller(), &task, 0).await.unwrap();
        let first = here.next().await.unwrap().unwrap();
        let seen = first.last().unwrap().id;
        drop(here);
        let there = other.tasks.follow_task(&caller(), &task, seen).await.unwrap();
        let rest = tokio::spawn(all(there));
        talk(Arc::clone(&rig.tasks), handed, 30).await;
        let rest = tokio::time::timeout(Duration::from_secs(10), rest).await.unwrap().unwrap();
        let last = other.tasks.thread(&caller(), &thread).await.unwrap().last_event;
        assert_eq!(rest, (seen + 1..=last).collect::<Vec<_>>(), "on {on:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_are_those_that_are_stored() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let (thread, task) = (handed.task.thread.clone(), handed.task.id.clone());
        let collect = |mut follow: Follow| async move {
            let mut seen = Vec::new();
            while let Some(page) = follow.next().await {
                seen.extend(
                    page.unwrap().iter().map(|event| (event.id, event.kind, event.data.clone(), event.task_id.clone())),
                );
            }
            seen
        };
        let live = tokio::spawn(collect(rig.tasks.follow(&caller(), &thread, 0, Some(task.clone())).await.unwrap()));
        talk(Arc::clone(&rig.tasks), handed, 20).await;
        let live = live.await.unwrap();
        let stored = collect(rig.tasks.follow_task(&caller(), &task, 0).await.unwrap()).await;
        assert_eq!(live, stored, "on {on:?}");
        let (_, kind, data, _) = stored.last().unwrap();
        assert_eq!((*kind, data["status"].as_str()), (EventType::TaskFinished, Some("completed")), "{data}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_followers_get_an_event_soon() {
    let followers: usize =
        std::env::var("COFFERDAM_TASKS_FOLLOWERS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let (thread, task) = (handed.task.thread.clone(), handed.task.id.clone());
        let last = rig.tasks.thread(&caller(), &thread).await.unwrap().last_event;
        let begun = Instant::now();
        let who = caller();
        let follows = join_all((0..followers).map(|_| rig.tasks.follow(&who, &thread, last, Some(task.clone())))).await;
        println!("{followers} followers joined in {:?} on {on:?}", begun.elapsed());
        let (sender, mut delays) = tokio::sync::mpsc::unbounded_channel();
        for follow in follows {
            let (mut follow, sender) = (follow.unwrap(), sender.clone());
            tokio::spawn(async move {
                while let Some(page) = follow.next().await {
                    for event in page.unwrap() {
                        let _ = event.frame();
                        sender.send((event.id, Instant::now())).unwrap();
                    }
                }
            });
        }
        drop(sender);
        let mut sent = Vec::new();
        for number in 0..20 {
            let mut step = step(&handed, Turn::Goes);
            step.messages.clear();
            step.events = vec![chunk(&number.to_string())];
            rig.tasks.write(Write::Step(Box::new(step))).await.unwrap();
            sent.push(Instant::now());
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        let mut waits = Vec::new();
        while let Some((id, at)) = delays.recv().await {
            if let Some(begun) = sent.get(usize::try_from(id - last - 1).unwrap()) {
                waits.push(at.saturating_duration_since(*begun));
            }
        }
        assert_eq!(waits.len(), followers * 20);
        waits.sort_unstable();
        let at = |share: usize| waits[waits.len() * share / 1_000];
        println!("an event to {followers} followers on {on:?}: median {:?}, p99 {:?}", at(500), at(990));
        assert!(at(990) < Duration::from_millis(500), "{:?}", at(990));
    }
}

#[tokio::test]
async fn streams_are_bounded_and_belong_to_an_organization() {
    let rig = Rig::new(On::Sqlite).await;
    let config = TasksConfig { max_followers: 3, max_followers_of_organization: 2, ..quick() };
    let tasks = Tasks::new(
        rig.store.clone(),
        Arc::new(cofferdam_cache::MemoryBus::default()),
        config,
        cofferdam_tasks::TaskMetrics::default(),
    );
    let new = new_task("x");
    rig.add(&new).await;
    let thread = &new.task.thread;
    let one = tasks.follow(&caller(), thread, 0, None).await.unwrap();
    let _two = tasks.follow(&caller(), thread, 0, None).await.unwrap();
    let refused = tasks.follow(&caller(), thread, 0, None).await.unwrap_err();
    assert_eq!(refused.refused().unwrap().status, 429);
    drop(one);
    tasks.follow(&caller(), thread, 0, None).await.unwrap();
    for (who, id) in [(caller_of("other"), thread.clone()), (caller(), ThreadId::parse("thread_none").unwrap())] {
        let refused = tasks.follow(&who, &id, 0, None).await.unwrap_err();
        assert_eq!(refused.refused().unwrap().status, 404);
    }
    assert_eq!(
        tasks.follow_task(&caller_of("other"), &new.task.id, 0).await.unwrap_err().refused().unwrap().status,
        404
    );
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_waits() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let new = new_task("x");
        rig.add(&new).await;
        let mut follow = rig.tasks.follow(&caller(), &new.task.thread, 0, None).await.unwrap();
        assert!(follow.next().await.unwrap().is_ok());
        let (tasks, task) = (Arc::clone(&rig.tasks), new.task.id.clone());
        let waits = tokio::spawn(async move { tasks.wait(&caller(), &task, Duration::from_secs(60)).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.draining.cancel();
        let end = tokio::time::timeout(Duration::from_secs(2), follow.next()).await.unwrap();
        assert!(end.is_none());
        let shown = tokio::time::timeout(Duration::from_secs(2), waits).await.unwrap().unwrap().unwrap();
        assert_eq!(shown.status, TaskStatus::Pending);
    }
}

#[tokio::test]
async fn a_wait_ends_with_the_task_or_with_its_time() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let wait = |ms: u64| {
            let (tasks, task) = (Arc::clone(&rig.tasks), handed.task.id.clone());
            tokio::spawn(async move { tasks.wait(&caller(), &task, Duration::from_millis(ms)).await.unwrap() })
        };
        assert_eq!(wait(150).await.unwrap().status, TaskStatus::Executing);
        let waits = wait(10_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.step(&handed, parks(Why::NeedsApproval)).await;
        let paused = tokio::time::timeout(Duration::from_secs(3), waits).await.unwrap().unwrap();
        assert_eq!(paused.status, TaskStatus::Paused);
        let handed = rig.running(&worker).await;
        let (tasks, task) = (Arc::clone(&rig.tasks), handed.task.id.clone());
        let waits = tokio::spawn(async move { tasks.wait(&caller(), &task, Duration::from_secs(10)).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        let done = tokio::time::timeout(Duration::from_secs(3), waits).await.unwrap().unwrap();
        assert_eq!((done.status, done.result.as_deref()), (TaskStatus::Completed, Some("done")));
        println!("a wait heard of the end after {:?} on {on:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_task_in_a_long_thread_is_found_without_reading_all_of_it() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let thread = handed.task.thread.clone();
        for _ in 0..30 {
            let mut step = step(&handed, Turn::Goes);
            step.messages.clear();
            step.events = (0..100).map(|number: u32| chunk(&number.to_string())).collect();
            rig.tasks.write(Write::Step(Box::new(step))).await.unwrap();
        }
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        let next = next_task(&thread, "again");
        rig.add(&next).await;
        let handed = rig.next(&worker).await;
        assert_eq!(handed.task.id, next.task.id);
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        let follow = rig.tasks.follow_task(&caller(), &next.task.id, 0).await.unwrap();
        let ids = all(follow).await;
        assert_eq!(*ids.last().unwrap(), rig.tasks.thread(&caller(), &thread).await.unwrap().last_event);
        assert!(ids.len() < 10, "{ids:?}");
    }
}
