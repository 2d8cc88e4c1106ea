//! Hand-outs, priorities, dead workers, poison.

use std::collections::HashSet;
use std::time::Duration;

use cofferdam_contract::AgentId;
use cofferdam_contract::work::{TaskStatus, Why};
use cofferdam_store::{Asked, Lane, NewTask, Turn, Used, Write, Written};

use super::rig::*;
use crate::{on_each, organization, stranger};

#[tokio::test(flavor = "multi_thread")]
async fn each_lane_gives_what_is_wanted_by_priority_and_age() {
    on_each(async |_, store| {
        let other = Lane { organization: stranger(), agent: AgentId::parse("other").unwrap() };
        let with_priority = |priority: i32| {
            let mut new = new_task(&lane(), &priority.to_string());
            new.task.priority = priority;
            new
        };
        let tasks: Vec<NewTask> = [0, -10, 10, 0, 5].map(with_priority).into();
        for new in &tasks {
            did(store, add(new)).await;
        }
        for _ in 0..3 {
            did(store, add(&new_task(&other, "other"))).await;
        }
        assert_eq!(
            store.ready_lanes().await.unwrap().into_iter().collect::<HashSet<_>>(),
            [lane(), other.clone()].into()
        );
        store.join_work(WORKER, 60_000).await.unwrap();
        let want = [(other.clone(), 1), (lane(), 3)];
        let taken = store.hand_out(WORKER, &want).await.unwrap();
        let texts: Vec<&str> = taken.iter().map(|taken| taken.task.request.input.text.as_str()).collect();
        assert_eq!(texts, ["other", "10", "5", "0"]);
        assert_eq!(taken[3].task.id, tasks[0].task.id);
        assert_eq!(store.hand_out(WORKER, &[(lane(), 10)]).await.unwrap().len(), 2);
        assert_eq!(store.hand_out(WORKER, &[(other, 10)]).await.unwrap().len(), 2);
        assert!(store.ready_lanes().await.unwrap().is_empty());
        assert!(store.hand_out(WORKER, &[]).await.unwrap().is_empty());
    })
    .await;
}

/// Every task is handed out once, however many workers take.
#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_handed_out_twice() {
    on_each(async |_, store| {
        for _ in 0..4 {
            let writes: Vec<Write> = (0..100).map(|_| add(&new_task(&lane(), "x"))).collect();
            store.write_work(&writes).await.unwrap();
        }
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..6 {
            let store = store.clone();
            workers.spawn(async move {
                let mut ids = Vec::new();
                loop {
                    let taken = take_of(&store, &format!("worker-{worker}"), &lane(), 7).await;
                    if taken.is_empty() {
                        return ids;
                    }
                    ids.extend(taken.into_iter().map(|taken| taken.task.id));
                }
            });
        }
        let mut all = Vec::new();
        while let Some(ids) = workers.join_next().await {
            all.extend(ids.unwrap());
        }
        // A row that another was about to take is passed over, and may be the last one.
        all.extend(take_of(store, WORKER, &lane(), 200).await.into_iter().map(|taken| taken.task.id));
        assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (400, 400));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_loses_its_tasks_and_poison_ends() {
    on_each(async |_, store| {
        let new = new_task(&lane(), "x");
        let id = &new.task.id;
        did(store, add(&new)).await;
        let mut stale = Vec::new();
        for lost in 1..=3 {
            let worker = format!("dies-{lost}");
            store.join_work(&worker, 150).await.unwrap();
            let taken = store.hand_out(&worker, &[(lane(), 1)]).await.unwrap();
            assert_eq!((taken.len(), taken[0].task.lost), (1, lost - 1));
            assert!(store.take_back(2).await.unwrap().is_empty(), "it lives");
            assert!(store.beat(&worker, 150).await.unwrap());
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!store.beat(&worker, 150).await.unwrap(), "too late");
            let written = store.take_back(2).await.unwrap();
            assert!(matches!(written[..], [Written::Done { .. }]), "{written:?}");
            stale.extend(taken);
        }
        assert_eq!(status(store, id).await, (TaskStatus::Failed, Some(Why::Poison)));
        for taken in &stale {
            assert_eq!(step_of(store, taken, completed()).await, Written::Lost);
        }
        assert!(store.take_back(2).await.unwrap().is_empty());
        did(store, resume(id)).await;
        store.join_work("dead", 1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(store.hand_out("dead", &[(lane(), 1)]).await.unwrap().is_empty(), "the dead get nothing");
        assert!(store.hand_out("nobody", &[(lane(), 1)]).await.unwrap().is_empty());
        assert_eq!(take(store).await.unwrap().task.lost, 0);
        assert_whole(store, &organization(), &new.task.thread).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaves_gives_back_what_it_has() {
    on_each(async |_, store| {
        let new: Vec<NewTask> = (0..4).map(|_| new_task(&lane(), "x")).collect();
        store.write_work(&new.iter().map(add).collect::<Vec<_>>()).await.unwrap();
        let taken = take_of(store, "leaves", &lane(), 4).await;
        // Steps with progress forgive what was lost before; one is asked to stop, one to pause.
        did(store, ask(&new[0].task.id, Asked::Stop)).await;
        did(store, ask(&new[1].task.id, Asked::Pause)).await;
        let mut quiet = step(&taken[2], Turn::Goes);
        quiet.used = Used::default();
        did(store, Write::Step(Box::new(quiet))).await;
        assert_eq!(store.leave("leaves").await.unwrap().len(), 4);
        assert!(store.leave("leaves").await.unwrap().is_empty());
        assert_eq!(status(store, &new[0].task.id).await.0, TaskStatus::Stopped);
        assert_eq!(status(store, &new[1].task.id).await.0, TaskStatus::Paused);
        assert!(!store.beat("leaves", 1000).await.unwrap());
        let again = take_of(store, WORKER, &lane(), 4).await;
        assert_eq!(again.iter().map(|taken| taken.lease.attempt).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(again[0].task.lost, 0);
    })
    .await;
}

/// One lane has very many tasks; another one has a single task.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_of_ten_thousand_does_not_delay_another() {
    on_each(async |_, store| {
        let flood = Lane { organization: stranger(), agent: agent() };
        for _ in 0..40 {
            let writes: Vec<Write> = (0..250).map(|_| add(&new_task(&flood, "x"))).collect();
            store.write_work(&writes).await.unwrap();
        }
        did(store, add(&new_task(&lane(), "mine"))).await;
        store.join_work(WORKER, 600_000).await.unwrap();
        let started = std::time::Instant::now();
        let lanes = store.ready_lanes().await.unwrap();
        assert_eq!(lanes.len(), 2);
        let taken = store.hand_out(WORKER, &[(flood, 1), (lane(), 1)]).await.unwrap();
        assert_eq!(taken[1].task.request.input.text, "mine");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    })
    .await;
}
