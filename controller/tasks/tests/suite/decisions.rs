//! People in the loop: answers are bound to what was shown, and count once.

use std::time::Duration;

use cofferdam_contract::work::{Decide, TaskStatus, Why};
use cofferdam_core::{Failure as _, now_ms};
use cofferdam_store::{HandedOut, ReceiptState, Write};
use cofferdam_tasks::{WorkerLease, digest};
use cofferdam_testkit::database::On;
use serde_json::{Value, json};

use crate::rig::{Rig, caller, caller_of, ends, parks, receipt, step};

/// A task that asks about a call.
async fn asks(rig: &Rig, worker: &WorkerLease, state: ReceiptState, expires_at_ms: Option<i64>) -> HandedOut {
    let handed = rig.running(worker).await;
    let why = if state == ReceiptState::Unknown { Why::NeedsDecision } else { Why::NeedsApproval };
    let mut step = step(&handed, parks(why));
    let mut asked = receipt(&handed.task.id, "1.call/a", state, &json!({"to": "b"}));
    asked.expires_at_ms = expires_at_ms;
    step.receipts = vec![asked];
    rig.tasks.write(Write::Step(Box::new(step))).await.unwrap();
    handed
}

fn answer(value: Value) -> Decide {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn an_answer_counts_once_and_for_what_was_shown() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = asks(&rig, &worker, ReceiptState::AwaitingApproval, None).await;
        let task = &handed.task.id;
        let page = rig.tasks.approvals(&caller(), None, 10).await.unwrap();
        assert_eq!((page.approvals.len(), page.approvals[0].arguments.clone()), (1, json!({"to": "b"})));
        assert!(rig.tasks.approvals(&caller_of("other"), None, 10).await.unwrap().approvals.is_empty());
        assert_eq!(rig.tasks.get(&caller(), task).await.unwrap().waits_for, page.approvals);
        let shown = page.approvals[0].digest.clone();
        let decide = async |who: &cofferdam_core::Caller, call: &str, value: Value| {
            rig.tasks.decide(who, task, call, answer(value)).await.map_err(|error| error.refused().unwrap().clone())
        };
        let call = "1.call/a";
        let stale = decide(&caller(), call, json!({"verdict": "approve", "digest": "0".repeat(64)})).await.unwrap_err();
        assert_eq!(stale.status, 409);
        assert!(stale.detail.contains("digest"), "{stale}");
        assert_eq!(decide(&caller(), call, json!({"verdict": "retry"})).await.unwrap_err().status, 422);
        assert_eq!(decide(&caller(), "other", json!({"verdict": "approve"})).await.unwrap_err().status, 404);
        assert_eq!(decide(&caller_of("other"), call, json!({"verdict": "approve"})).await.unwrap_err().status, 404);
        let done =
            decide(&caller(), call, json!({"verdict": "approve", "digest": shown, "note": "fine"})).await.unwrap();
        assert_eq!(done.status, TaskStatus::Pending);
        for again in ["approve", "decline"] {
            let refused = decide(&caller(), call, json!({"verdict": again})).await.unwrap_err();
            assert_eq!(refused.status, 409);
            assert!(refused.detail.contains("key_1"), "{refused}");
        }
        assert!(rig.tasks.approvals(&caller(), None, 10).await.unwrap().approvals.is_empty());
        let handed = rig.next(&worker).await;
        let receipts = rig.store.receipts(task).await.unwrap();
        assert_eq!((receipts[0].state, receipts[0].note.as_str()), (ReceiptState::Approved, "fine"));
        rig.step(&handed, ends(TaskStatus::Completed)).await;
    }
}

#[tokio::test]
async fn two_people_at_the_same_time_are_one_answer() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        for _ in 0..10 {
            let handed = asks(&rig, &worker, ReceiptState::AwaitingApproval, None).await;
            let decide = |verdict: &str| {
                let answer = answer(json!({"verdict": verdict}));
                let (tasks, task) = (std::sync::Arc::clone(&rig.tasks), handed.task.id.clone());
                async move { tasks.decide(&caller(), &task, "1.call/a", answer).await }
            };
            let (yes, no) = tokio::join!(decide("approve"), decide("decline"));
            assert!(yes.is_ok() != no.is_ok(), "{yes:?} {no:?}");
            let handed = rig.next(&worker).await;
            rig.step(&handed, ends(TaskStatus::Completed)).await;
        }
    }
}

#[tokio::test]
async fn edited_arguments_have_a_digest_of_their_own() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = asks(&rig, &worker, ReceiptState::AwaitingApproval, None).await;
        let edit = answer(json!({"verdict": "edit", "arguments": {"to": "c", "again": 1}}));
        rig.tasks.decide(&caller(), &handed.task.id, "1.call/a", edit).await.unwrap();
        let receipt = rig.store.receipts(&handed.task.id).await.unwrap().remove(0);
        assert_eq!(receipt.arguments, r#"{"again":1,"to":"c"}"#);
        assert_eq!(receipt.digest, digest("send", &json!({"to": "c", "again": 1})));
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_settled() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        for (given, state, text) in [
            (json!({"verdict": "retry"}), ReceiptState::Retry, None),
            (json!({"verdict": "skip", "note": "never mind"}), ReceiptState::Done, Some("never mind")),
            (json!({"verdict": "result", "result": {"sent": 1}}), ReceiptState::Done, Some(r#"{"sent":1}"#)),
        ] {
            let handed = asks(&rig, &worker, ReceiptState::Unknown, None).await;
            let shown = rig.tasks.approvals_of(&caller(), &handed.task.id).await.unwrap();
            assert!(shown[0].unknown_outcome);
            rig.tasks.decide(&caller(), &handed.task.id, "1.call/a", answer(given)).await.unwrap();
            let receipt = rig.store.receipts(&handed.task.id).await.unwrap().remove(0);
            assert_eq!(receipt.state, state);
            let result = receipt.result.map(|result| result.text);
            assert!(text.is_none_or(|text| result.as_ref().unwrap().contains(text)), "{result:?}");
            let handed = rig.next(&worker).await;
            rig.step(&handed, ends(TaskStatus::Completed)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_after_the_time_is_refused() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = asks(&rig, &worker, ReceiptState::AwaitingApproval, Some(now_ms() + 200)).await;
        let again = tokio::time::timeout(Duration::from_secs(5), rig.tasks.next(&worker)).await.unwrap().unwrap();
        assert_eq!(again.task.id, handed.task.id);
        let late =
            rig.tasks.decide(&caller(), &handed.task.id, "1.call/a", answer(json!({"verdict": "approve"}))).await;
        let problem = late.unwrap_err().refused().unwrap().clone();
        assert_eq!(problem.status, 409);
        assert!(problem.detail.contains("time"), "{problem}");
    }
}
