//! Workers: hand-out in turn, limits, slots that leave, workers that die, and a drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_cache::MemoryBus;
use cofferdam_contract::work::{TaskStatus, Why};
use cofferdam_store::{Lane, Store, Turn, Written};
use cofferdam_tasks::{LaneLimit, LaneLimits, TasksConfig};
use cofferdam_testkit::database::On;
use futures_util::future::{BoxFuture, join_all};
use tempfile::TempDir;

use crate::rig::{Rig, ends, new_task, new_task_of, quick};

#[tokio::test]
async fn a_task_is_handed_out_soon_after_its_insert() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let mut waits = Vec::new();
        for _ in 0..60 {
            let next = rig.tasks.next(&worker);
            let begun = Instant::now();
            let (handed, written) = tokio::join!(next, async {
                tokio::time::sleep(Duration::from_millis(3)).await;
                rig.add(&new_task("x")).await
            });
            waits.push(begun.elapsed());
            assert!(matches!(written, Written::Done { .. }));
            let handed = handed.unwrap();
            rig.step(&handed, ends(TaskStatus::Completed)).await;
        }
        waits.sort_unstable();
        println!("insert and hand-out on {on:?}: median {:?}, longest {:?}", waits[30], waits[59]);
        assert!(waits[30] < Duration::from_millis(100), "{waits:?}");
    }
}

#[tokio::test]
async fn organizations_and_agents_take_turns() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let flood: Vec<_> =
            (0..60).map(|n| new_task_of("default", if n % 2 == 0 { "one" } else { "two" }, "x")).collect();
        join_all(flood.iter().map(|new| rig.add(new))).await;
        let few: Vec<_> = (0..5).map(|_| new_task_of("other", "only", "x")).collect();
        join_all(few.iter().map(|new| rig.add(new))).await;
        let worker = rig.tasks.worker().unwrap();
        let mut order = Vec::new();
        for _ in 0..20 {
            let handed = rig.next(&worker).await;
            order.push(handed.task.organization.to_string());
            rig.step(&handed, ends(TaskStatus::Completed)).await;
        }
        let others = order.iter().take(12).filter(|organization| *organization == "other").count();
        assert!(others >= 4, "{order:?} on {on:?}");
    }
}

#[tokio::test]
async fn higher_priorities_go_first() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        for priority in [0, -5, 7, 3] {
            let mut new = new_task("x");
            new.task.priority = priority;
            rig.add(&new).await;
        }
        let worker = rig.tasks.worker().unwrap();
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(rig.next(&worker).await.task.priority);
        }
        assert_eq!(order, [7, 3, 0, -5]);
    }
}

struct Two;

impl LaneLimits for Two {
    fn limit<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, LaneLimit> {
        let limited = lane.organization.as_str() == "default";
        Box::pin(async move { LaneLimit { organization: limited.then_some(2), agent: None } })
    }
}

#[tokio::test]
async fn an_organizations_limit_holds_and_does_not_hold_up_others() {
    for on in On::all() {
        let folder = Arc::new(TempDir::new().unwrap());
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let rig = Rig::with(store, Arc::new(MemoryBus::default()), quick(), Arc::new(Two), folder);
        let new: Vec<_> = (0..5).map(|_| new_task("x")).chain((0..3).map(|_| new_task_of("other", "a", "x"))).collect();
        join_all(new.iter().map(|new| rig.add(new))).await;
        let worker = rig.tasks.worker().unwrap();
        let mut has = Vec::new();
        while let Ok(next) = tokio::time::timeout(Duration::from_millis(700), rig.tasks.next(&worker)).await {
            has.push(next.unwrap());
        }
        let of = |name: &str| has.iter().filter(|handed| handed.task.organization.as_str() == name).count();
        assert_eq!((of("default"), of("other")), (2, 3), "on {on:?}");
        let first = has.iter().find(|handed| handed.task.organization.as_str() == "default").unwrap();
        rig.step(first, ends(TaskStatus::Completed)).await;
        assert_eq!(rig.next(&worker).await.task.organization.as_str(), "default");
    }
}

#[tokio::test]
async fn a_slot_that_leaves_loses_no_task() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let new: Vec<_> = (0..30).map(|_| new_task("x")).collect();
        for new in &new {
            let next = rig.tasks.next(&worker);
            tokio::pin!(next);
            let _ = futures_util::poll!(&mut next);
            rig.add(new).await;
            // Dropped with or without a task.
        }
        let mut got = Vec::new();
        for _ in 0..30 {
            let handed = rig.next(&worker).await;
            assert!(!got.contains(&handed.task.id));
            got.push(handed.task.id.clone());
            rig.step(&handed, ends(TaskStatus::Completed)).await;
        }
        for new in &new {
            assert_eq!(rig.row(&new.task.id).await.lost, 0);
        }
    }
}

#[tokio::test]
async fn a_worker_that_leaves_gives_its_tasks_back() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let (first, second) = (rig.tasks.worker().unwrap(), rig.tasks.worker().unwrap());
        let handed = rig.running(&first).await;
        rig.tasks.leave(&first).await.unwrap();
        let again = rig.next(&second).await;
        assert_eq!((again.task.id.clone(), again.task.lost, again.lease.attempt), (handed.task.id.clone(), 0, 2));
        assert_eq!(rig.step(&handed, Turn::Goes).await, Written::Lost);
        assert!(matches!(rig.step(&again, ends(TaskStatus::Completed)).await, Written::Done { .. }));
    }
}

/// A worker whose beats do not reach the store.
fn short() -> TasksConfig {
    TasksConfig {
        beat_interval: Duration::from_secs(3_600),
        beat_for: Duration::from_millis(300),
        lost_after: Duration::from_millis(200),
        ..quick()
    }
}

#[tokio::test]
async fn a_task_that_kills_its_workers_ends_as_poison() {
    for on in On::all() {
        let folder = Arc::new(TempDir::new().unwrap());
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let rig = Rig::with(
            store,
            Arc::new(MemoryBus::default()),
            short(),
            Arc::new(cofferdam_tasks::NoLimits),
            Arc::clone(&folder),
        );
        let new = new_task("boom");
        rig.add(&new).await;
        let mut deaths = 0;
        while rig.row(&new.task.id).await.status != TaskStatus::Failed {
            // It lives for 300 ms, because nobody beats for it. A task that came too late went back, and does not count.
            let worker = rig.tasks.worker().unwrap();
            let handed = tokio::time::timeout(Duration::from_millis(250), rig.tasks.next(&worker)).await;
            deaths += u32::from(handed.is_ok());
        }
        assert!((4..=6).contains(&deaths), "{deaths}");
        let row = rig.until(&new.task.id, TaskStatus::Failed).await;
        assert_eq!(row.why, Some(Why::Poison), "{row:?}");
        let shown = rig.tasks.replay(&crate::rig::caller(), &new.task.id).await.unwrap();
        assert_eq!(shown.status, TaskStatus::Pending);
    }
}

#[tokio::test]
async fn a_worker_that_was_silent_for_too_long_is_told() {
    for on in On::all() {
        let folder = Arc::new(TempDir::new().unwrap());
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let config = TasksConfig { beat_for: Duration::from_secs(1), beat_interval: Duration::from_secs(3), ..quick() };
        let bus = Arc::new(MemoryBus::default());
        let rig = Rig::with(store, bus, config, Arc::new(cofferdam_tasks::NoLimits), folder);
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        tokio::time::timeout(Duration::from_secs(5), worker.lost.cancelled()).await.unwrap();
        assert_eq!(rig.tasks.next(&worker).await, None);
        let other = rig.tasks.worker().unwrap();
        let again = rig.next(&other).await;
        assert_eq!((again.task.id, again.task.lost), (handed.task.id, 1));
    }
}

#[tokio::test]
async fn nothing_is_handed_out_after_the_drain() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let waits = rig.tasks.next(&worker);
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        rig.draining.cancel();
        assert_eq!(tokio::time::timeout(Duration::from_secs(2), waits).await.unwrap(), None);
        assert_eq!(rig.tasks.next(&worker).await, None);
        rig.add(&new_task("later")).await;
    }
}

#[tokio::test]
async fn a_task_whose_runner_goes_away_without_a_word_does_not_stay() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        drop(rig.tasks.asked(&handed.task.id));
        let again = rig.next(&worker).await;
        assert_eq!((&again.task.id, again.task.lost), (&handed.task.id, 0));
        // One that panics would do so again: it is a dead letter.
        let watch = rig.tasks.asked(&again.task.id);
        let runs = tokio::spawn(async move {
            let _watch = watch;
            panic!("a defect of ours");
        });
        assert!(runs.await.unwrap_err().is_panic());
        let row = rig.until(&again.task.id, TaskStatus::Error).await;
        assert_eq!(row.why, Some(Why::Internal), "{row:?}");
        assert!(row.detail.contains("replay") && row.problem.is_some(), "{row:?}");
        // One whose last step was written is left alone.
        let handed = rig.running(&worker).await;
        let watch = rig.tasks.asked(&handed.task.id);
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        drop(watch);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(rig.row(&handed.task.id).await.status, TaskStatus::Completed);
    }
}
