//! Stop and pause in the middle of a model's answer and of a tool call; drain; two workers on one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::TaskId;
use cofferdam_contract::work::{TaskInfo, TaskStatus, Why};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::rig::{Process, Site, caller, sites};
use super::upstream::{Reply, calls, delta, stop, text, usage};

async fn until(process: &Process, task: &TaskId, holds: impl Fn(&TaskInfo) -> bool) -> TaskInfo {
    for _ in 0..400 {
        let now = process.task(task).await;
        if holds(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it does not come to that: {:?}", process.task(task).await)
}

/// Runs the worker of a process in the background.
fn start(process: &Process) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let draining = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&process.work).run(draining.clone(), CancellationToken::new()));
    (draining, running)
}

fn slow() -> Reply {
    let words = (0..200).map(|n| delta(json!({"content": format!("w{n} ")}))).chain([stop("stop"), usage()]);
    Reply::Slow(words.collect(), Duration::from_millis(50))
}

#[tokio::test]
async fn a_model_that_talks_is_stopped_and_paused_within_a_second() {
    for site in sites().await {
        let process = site.process().await;
        process.agent("a", json!({})).await;
        let (draining, running) = start(&process);
        for stops in [true, false] {
            site.upstream.script([slow()]);
            let task = process.ask("a", json!({"input": "x"})).await;
            until(&process, &task.id, |task| task.status == TaskStatus::Executing).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
            let asked = Instant::now();
            match stops {
                true => process.parts.tasks.stop(&caller(), &task.id).await.unwrap(),
                false => process.parts.tasks.pause(&caller(), &task.id).await.unwrap(),
            };
            let expected =
                if stops { (TaskStatus::Stopped, Why::AskedToStop) } else { (TaskStatus::Paused, Why::AskedToPause) };
            let shown = until(&process, &task.id, |task| task.status == expected.0).await;
            assert_eq!(shown.internal_status, Some(expected.1), "{shown:?}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            let kinds = process.kinds(&task).await;
            assert!(kinds.contains(&"answer_reset"), "{kinds:?}");
            if !stops {
                process.parts.tasks.resume(&caller(), &task.id).await.unwrap();
                let done = until(&process, &task.id, |task| task.status.is_final()).await;
                assert_eq!(done.result.as_deref(), Some("done"));
            }
        }
        draining.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_hangs_is_cut_off_and_says_so() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({"tools": [{"name": "run_code", "repeatable": false}]})).await;
    let (draining, running) = start(&process);
    for stops in [true, false] {
        let before = site.runs().len();
        site.upstream.script([calls(&[("run_code", json!({"language": "python", "code": "hang"}))])]);
        let task = process.ask("a", json!({"input": "x"})).await;
        for _ in 0..200 {
            if site.runs().len() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let asked = Instant::now();
        match stops {
            true => process.parts.tasks.stop(&caller(), &task.id).await.unwrap(),
            false => process.parts.tasks.pause(&caller(), &task.id).await.unwrap(),
        };
        let status = if stops { TaskStatus::Stopped } else { TaskStatus::Paused };
        until(&process, &task.id, |task| task.status == status).await;
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        let said = process.said(&task).await;
        assert!(
            said[2].contains("not known") || said[2].contains("given up") || said[2].contains("cancelled"),
            "{said:?}"
        );
    }
    draining.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_deadline_stops_a_task() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({})).await;
    site.upstream.script([slow()]);
    let (draining, running) = start(&process);
    let deadline = cofferdam_contract::Timestamp(cofferdam_core::now_ms() + 1_500);
    let task = process.ask("a", json!({"input": "x", "deadline": deadline})).await;
    let shown = until(&process, &task.id, |task| task.status.is_final()).await;
    assert_eq!((shown.status, shown.internal_status), (TaskStatus::Stopped, Some(Why::DeadlinePassed)), "{shown:?}");
    draining.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_drains_gives_its_tasks_to_another() {
    let site = Site::new().await;
    let first = site.process().await;
    first.agent("a", json!({"memory": {"enabled": true}})).await;
    let (draining, running) = start(&first);
    site.upstream.script([
        Reply::Slow(vec![delta(json!({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "memory_search", "arguments": "{\"query\":\"a\"}"}}]})), stop("tool_calls"), usage()], Duration::from_millis(300)),
        text("from the other"),
    ]);
    let task = first.ask("a", json!({"input": "x"})).await;
    for _ in 0..200 {
        if !site.upstream.seen().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    draining.cancel();
    running.await.unwrap();
    let left = first.task(&task.id).await;
    assert_eq!((left.status, left.steps), (TaskStatus::Pending, 1), "{left:?}");
    let second = site.process().await;
    second.turn().await;
    assert_eq!(second.task(&task.id).await.result.as_deref(), Some("from the other"));
}

#[tokio::test]
async fn two_workers_share_the_tasks_and_each_is_done_once() {
    for site in sites().await {
        let (one, two) = (site.process().await, site.process().await);
        one.agent("a", json!({"tools": ["run_code"]})).await;
        let (stop_one, first) = start(&one);
        let (stop_two, second) = start(&two);
        let mut tasks = Vec::new();
        for n in 0..20 {
            tasks.push(one.ask("a", json!({"input": format!("task {n}")})).await);
        }
        for task in &tasks {
            let shown = until(&two, &task.id, |task| task.status.is_final()).await;
            assert_eq!((shown.status, shown.execution_attempts), (TaskStatus::Completed, 1), "{shown:?}");
            assert_eq!(two.said(task).await.len(), 2);
        }
        assert_eq!(site.upstream.seen().len(), 20);
        stop_one.cancel();
        stop_two.cancel();
        first.await.unwrap();
        second.await.unwrap();
    }
}
