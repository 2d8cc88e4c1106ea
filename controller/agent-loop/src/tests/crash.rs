//! Killed at every write, before it and after it: the next worker makes the same plan, and no call is made twice unsaid.

use cofferdam_contract::work::{Decide, TaskStatus, Verdict, Why};
use cofferdam_store::ReceiptState;
use serde_json::json;

use super::Kill;
use super::rig::{Process, Site, caller, sites};
use super::upstream::{calls, text};
use crate::parts::LoopConfig;

/// Writes of the whole task, and some more.
const MAX_WRITES: usize = 12;

/// Replies are the same whichever call of the model they answer: the script is as long as any life needs.
fn script(site: &Site) {
    let call = || calls(&[("run_code", json!({"language": "python", "code": "step"}))]);
    site.upstream.script([call()]);
}

async fn finish(process: &Process, task: &cofferdam_contract::TaskId) {
    for _ in 0..6 {
        let now = process.task(task).await;
        if now.status.is_final() || now.status == TaskStatus::Paused {
            return;
        }
        process.turn().await;
    }
    panic!("the task does not end");
}

async fn killed_everywhere(repeatable: bool) {
    for site in sites().await {
        let mut lived = 0;
        for number in 1..=MAX_WRITES {
            for after in [false, true] {
                let runs_before = site.runs().len();
                let dying = site.process_with(Kill::at(number, after), LoopConfig::default()).await;
                let id = format!("a-{repeatable}-{number}-{after}");
                dying.agent(&id, json!({"tools": [{"name": "run_code", "repeatable": repeatable}]})).await;
                script(&site);
                let task = dying.ask(&id, json!({"input": "x"})).await;
                dying.turn().await;
                let died = dying.parts.kill.is_dead();
                lived += usize::from(!died);
                // The model is asked again for an answer that the dead one had not written.
                let next = site.process().await;
                dying.dies().await;
                if died && next.messages(&task).await.len() == 1 {
                    script(&site);
                }
                finish(&next, &task.id).await;
                let shown = next.task(&task.id).await;
                let runs = site.runs().len() - runs_before;
                let place = format!("write {number}, after {after}, repeatable {repeatable}: {shown:?}");
                if shown.status == TaskStatus::Paused {
                    assert_eq!(shown.internal_status, Some(Why::NeedsDecision), "{place}");
                    assert!(!repeatable && shown.waits_for.len() == 1 && shown.waits_for[0].unknown_outcome, "{place}");
                    assert!(runs <= 1, "{place}");
                    let decide =
                        Decide { verdict: Verdict::Skip, digest: None, arguments: None, result: None, note: None };
                    next.parts.tasks.decide(&caller(), &task.id, &shown.waits_for[0].call_id, decide).await.unwrap();
                    finish(&next, &task.id).await;
                    assert_eq!(site.runs().len() - runs_before, runs, "{place}");
                } else {
                    assert!(runs == 1 || (repeatable && runs == 2), "{runs} runs, {place}");
                }
                let shown = next.task(&task.id).await;
                assert_eq!((shown.status, shown.result.as_deref()), (TaskStatus::Completed, Some("done")), "{place}");
                let roles: Vec<&str> = next.messages(&task).await.iter().map(|message| message.role.name()).collect();
                assert_eq!(roles, ["user", "assistant", "tool", "assistant"], "{place}");
                assert!(
                    next.receipts(&task.id).await.iter().all(|receipt| receipt.state == ReceiptState::Done),
                    "{place}"
                );
                let kinds = next.kinds(&task).await;
                let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
                assert_eq!(
                    (count("tool_call_request"), count("tool_call_result"), count("task_finished")),
                    (1, 1, 1),
                    "{kinds:?} {place}"
                );
            }
        }
        assert!(lived > 0 && lived < 2 * MAX_WRITES, "{lived}: the last writes are beyond the end, the first are not");
    }
}

#[tokio::test]
async fn a_call_that_may_be_repeated_is_made_again() {
    killed_everywhere(true).await;
}

#[tokio::test]
async fn a_call_that_may_not_be_repeated_is_asked_about() {
    killed_everywhere(false).await;
}

#[tokio::test]
async fn a_sub_agents_task_is_made_once() {
    let site = Site::new().await;
    let first = site.process().await;
    first.agent("helper", json!({})).await;
    first.agent("boss", json!({"tools": ["agent:helper"]})).await;
    site.upstream.script([text("look")]);
    first.ask("boss", json!({"input": "x"})).await;
    first.turn().await;
    let offered = site.upstream.seen()[0]["tools"][0]["function"].clone();
    let (name, field) = (
        offered["name"].as_str().unwrap().to_owned(),
        offered["parameters"]["required"][0].as_str().unwrap().to_owned(),
    );
    first.dies().await;
    for number in 1..=5 {
        for after in [false, true] {
            let dying = site.process_with(Kill::at(number, after), LoopConfig::default()).await;
            let call = || calls(&[(name.as_str(), json!({field.as_str(): "do"}))]);
            site.upstream.script([call()]);
            let task = dying.ask("boss", json!({"input": "x"})).await;
            dying.turn().await;
            let next = site.process().await;
            dying.dies().await;
            if next.messages(&task).await.len() == 1 {
                site.upstream.script([call()]);
            }
            finish(&next, &task.id).await;
            let shown = next.task(&task.id).await;
            let place = format!("write {number}, after {after}: {shown:?}");
            // A call of an agent that had not been written is of no outcome that is known.
            if shown.internal_status == Some(Why::NeedsDecision) {
                assert!(shown.sub_executions.is_empty(), "{place}");
                let decide =
                    Decide { verdict: Verdict::Retry, digest: None, arguments: None, result: None, note: None };
                next.parts.tasks.decide(&caller(), &task.id, &shown.waits_for[0].call_id, decide).await.unwrap();
                finish(&next, &task.id).await;
            }
            let shown = next.task(&task.id).await;
            assert_eq!((shown.status, shown.sub_executions.len()), (TaskStatus::Completed, 1), "{place}");
            next.dies().await;
        }
    }
}
