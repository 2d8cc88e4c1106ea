//! People in the loop: approvals bound to arguments, declines, edits, time-outs, decisions about unknown outcomes.

use cofferdam_contract::work::{ApprovalInfo, Decide, TaskInfo, TaskStatus, Verdict, Why};
use cofferdam_store::{ReceiptState, Step, Turn, Used, Write};
use serde_json::{Value, json};

use super::Kill;
use super::rig::{Process, Site, caller, sites};
use super::upstream::{calls, text};
use crate::parts::LoopConfig;

fn decide(verdict: Verdict) -> Decide {
    Decide { verdict, digest: None, arguments: None, result: None, note: None }
}

async fn asks(site: &Site, process: &Process, id: &str, rule: Value) -> (TaskInfo, ApprovalInfo) {
    process.agent(id, json!({"tools": ["run_code"], "approvals": [rule]})).await;
    site.upstream.script([calls(&[("run_code", json!({"language": "python", "code": "danger"}))])]);
    let task = process.ask(id, json!({"input": "x"})).await;
    process.turn().await;
    let task = process.task(&task.id).await;
    assert_eq!((task.status, task.internal_status), (TaskStatus::Paused, Some(Why::NeedsApproval)), "{task:?}");
    let asked = task.waits_for[0].clone();
    (task, asked)
}

#[tokio::test]
async fn nothing_leaves_before_it_is_approved_and_then_exactly_that() {
    for site in sites().await {
        let process = site.process().await;
        let (task, asked) = asks(&site, &process, "a", json!({"tool": "run_code", "message": "Sure?"})).await;
        assert!(site.runs().is_empty());
        assert_eq!(
            (asked.tool.as_str(), asked.message.as_deref(), asked.unknown_outcome),
            ("run_code", Some("Sure?"), false)
        );
        assert_eq!(asked.arguments["code"], "danger");
        let stale = Decide { digest: Some("0".repeat(64)), ..decide(Verdict::Approve) };
        assert!(process.parts.tasks.decide(&caller(), &task.id, &asked.call_id, stale).await.is_err());
        let shown = Decide { digest: Some(asked.digest.clone()), ..decide(Verdict::Approve) };
        process.parts.tasks.decide(&caller(), &task.id, &asked.call_id, shown).await.unwrap();
        process.turn().await;
        assert_eq!(process.task(&task.id).await.status, TaskStatus::Completed);
        assert_eq!(site.runs(), ["danger"]);
        let kinds = process.kinds(&task).await;
        let expected = [
            "task_created",
            "tool_call_request",
            "approval_requested",
            "task_updated",
            "approval_settled",
            "tool_call_result",
            "task_finished",
        ];
        assert_eq!(
            kinds.iter().filter(|kind| **kind != "task_updated").collect::<Vec<_>>(),
            expected.iter().filter(|kind| **kind != "task_updated").collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_declined_call_is_told_and_an_edited_one_is_made_as_it_was_edited() {
    let site = Site::new().await;
    let process = site.process().await;
    let (task, asked) = asks(&site, &process, "a", json!({"tool": "run_*"})).await;
    let no = Decide { note: Some("too risky".to_owned()), ..decide(Verdict::Decline) };
    process.parts.tasks.decide(&caller(), &task.id, &asked.call_id, no).await.unwrap();
    process.turn().await;
    assert_eq!(process.task(&task.id).await.status, TaskStatus::Completed);
    let said = process.said(&task).await;
    assert!(said[2].contains("declined") && said[2].contains("too risky"), "{said:?}");
    assert!(site.runs().is_empty());

    let (task, asked) = asks(&site, &process, "b", json!({"tool": "run_*"})).await;
    let edit = Decide { arguments: Some(json!({"language": "python", "code": "safe"})), ..decide(Verdict::Edit) };
    process.parts.tasks.decide(&caller(), &task.id, &asked.call_id, edit).await.unwrap();
    process.turn().await;
    assert_eq!(process.task(&task.id).await.status, TaskStatus::Completed);
    assert_eq!(site.runs(), ["safe"]);
}

#[tokio::test]
async fn nobody_answers() {
    let site = Site::new().await;
    let process = site.process().await;
    let (task, _) = asks(&site, &process, "a", json!({"timeout_s": 1})).await;
    process.turn().await;
    let (shown, said) = (process.task(&task.id).await, process.said(&task).await);
    assert_eq!(shown.status, TaskStatus::Completed, "{shown:?}");
    assert!(said[2].contains("in time"), "{said:?}");
    let (task, _) = asks(&site, &process, "b", json!({"timeout_s": 1, "on_timeout": "stop"})).await;
    process.turn().await;
    assert_eq!(process.task(&task.id).await.status, TaskStatus::Stopped);
    assert!(site.runs().is_empty());
}

#[tokio::test]
async fn a_rule_that_denies_is_told_to_the_model() {
    let site = Site::new().await;
    let process = site.process().await;
    process.agent("a", json!({"tools": ["run_code"], "approvals": [{"effect": "deny", "message": "Never."}]})).await;
    site.upstream.script([calls(&[("run_code", json!({"language": "python", "code": "danger"}))])]);
    let task = process.ask("a", json!({"input": "x"})).await;
    process.turn().await;
    assert_eq!(process.task(&task.id).await.status, TaskStatus::Completed);
    assert!(process.said(&task).await[2].contains("Never."));
    assert!(site.runs().is_empty());
}

/// A task whose call left, and whose worker died before it had the answer.
async fn unknown(site: &Site, id: &str) -> (Process, TaskInfo) {
    let dying = site.process_with(Kill::at(2, false), LoopConfig::default()).await;
    dying.agent(id, json!({"tools": [{"name": "run_code", "repeatable": false}]})).await;
    site.upstream.script([calls(&[("run_code", json!({"language": "python", "code": "once"}))])]);
    let task = dying.ask(id, json!({"input": "x"})).await;
    dying.turn().await;
    let next = site.process().await;
    dying.dies().await;
    next.turn().await;
    let task = next.task(&task.id).await;
    assert_eq!(task.internal_status, Some(Why::NeedsDecision), "{task:?}");
    (next, task)
}

#[tokio::test]
async fn an_unknown_outcome_is_decided() {
    let site = Site::new().await;
    for (verdict, id, runs, told) in [
        (Verdict::Retry, "a", 2, "ran once"),
        (Verdict::Skip, "b", 1, "may have happened"),
        (Verdict::Result, "c", 1, "it said 42"),
    ] {
        let before = site.runs().len();
        let (process, task) = unknown(&site, id).await;
        let result = (verdict == Verdict::Result).then(|| json!("it said 42"));
        let answer = Decide { result, ..decide(verdict) };
        process.parts.tasks.decide(&caller(), &task.id, &task.waits_for[0].call_id, answer).await.unwrap();
        process.turn().await;
        assert_eq!(process.task(&task.id).await.status, TaskStatus::Completed);
        assert_eq!(site.runs().len() - before, runs, "{verdict:?}");
        let said = process.said(&task).await;
        assert!(said[2].contains(told), "{verdict:?} {said:?}");
        process.dies().await;
    }
}

#[tokio::test]
async fn what_is_stored_has_to_be_what_was_approved() {
    let site = Site::new().await;
    let process = site.process().await;
    let (task, asked) = asks(&site, &process, "a", json!({})).await;
    process.parts.tasks.decide(&caller(), &task.id, &asked.call_id, decide(Verdict::Approve)).await.unwrap();
    // Somebody changes the arguments in the database after the approval.
    let handed = process.parts.tasks.next(&process.worker).await.unwrap();
    let mut receipt = process.receipts(&task.id).await.remove(0);
    receipt.arguments = r#"{"code":"evil","language":"python"}"#.to_owned();
    assert_eq!(receipt.state, ReceiptState::Approved);
    let step = Step {
        task: task.id.clone(),
        thread: task.thread_id.clone(),
        lease: handed.lease,
        messages: Vec::new(),
        events: Vec::new(),
        receipts: vec![receipt],
        used: Used::default(),
        used_tools: Vec::new(),
        state: std::collections::BTreeMap::new(),
        turn: Turn::Again { why: None, detail: String::new(), at_ms: None },
    };
    process.parts.tasks.write(Write::Step(Box::new(step))).await.unwrap();
    process.turn().await;
    assert!(site.runs().is_empty());
    assert!(process.said(&task).await[2].contains("not those that were checked"));
    site.upstream.script([text("unused")]);
}
