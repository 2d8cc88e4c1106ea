//! Parking and waking: approvals, sub-agents, stops, pauses, retries, deadlines, replays.

use cofferdam_contract::work::{EventType, TaskStatus, Why};
use cofferdam_core::now_ms;
use cofferdam_store::{Asked, HandedOut, NewTask, ReceiptState, Settle, Store, ToolResult, Turn, Write, Written};

use super::rig::*;
use crate::{on_each, organization, stranger};

fn settle(task: &HandedOut, call: &str, to: ReceiptState) -> Settle {
    Settle {
        organization: organization(),
        task: task.task.id.clone(),
        call: call.to_owned(),
        from: vec![ReceiptState::AwaitingApproval],
        digest: Some("d".to_owned()),
        to,
        arguments: None,
        result: None,
        decided_by: "key_2".to_owned(),
        note: "fine".to_owned(),
        events: vec![event(EventType::ApprovalSettled)],
    }
}

/// A task that waits for approval of calls.
async fn asks(store: &Store, calls: &[&str], expires_at_ms: Option<i64>) -> HandedOut {
    let new = new_task(&lane(), "x");
    did(store, add(&new)).await;
    let taken = take(store).await.unwrap();
    let mut own = step(&taken, parks(TaskStatus::Paused, Why::NeedsApproval));
    for call in calls {
        let mut row = receipt(&new.task.id, call, ReceiptState::AwaitingApproval);
        row.expires_at_ms = expires_at_ms;
        own.receipts.push(row);
    }
    did(store, Write::Step(Box::new(own))).await;
    assert_eq!(status(store, &new.task.id).await, (TaskStatus::Paused, Some(Why::NeedsApproval)));
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_bound_to_what_was_shown_and_wakes_the_task() {
    on_each(async |_, store| {
        let taken = asks(store, &["a", "b"], None).await;
        let waiting = store.waiting_receipts(&organization(), None, 10).await.unwrap();
        assert_eq!(waiting.iter().map(|row| row.receipt.call.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let after = Some((&taken.task.id, "a"));
        assert_eq!(store.waiting_receipts(&organization(), after, 10).await.unwrap().len(), 1);
        assert!(store.waiting_receipts(&stranger(), None, 10).await.unwrap().is_empty());

        let write = |settle: Settle| Write::Settle(Box::new(settle));
        let good = settle(&taken, "a", ReceiptState::Approved);
        let conflict = Written::Conflict { status: TaskStatus::Paused };
        let other_digest = Settle { digest: Some("e".to_owned()), ..good.clone() };
        assert_eq!(one(store, write(other_digest)).await, conflict);
        let other_state = Settle { from: vec![ReceiptState::Unknown], ..good.clone() };
        assert_eq!(one(store, write(other_state)).await, conflict);
        assert_eq!(one(store, write(Settle { call: "z".to_owned(), ..good.clone() })).await, Written::Missing);
        assert_eq!(one(store, write(Settle { organization: stranger(), ..good.clone() })).await, Written::Missing);
        assert_eq!(one(store, resume(&taken.task.id)).await, conflict, "it needs an answer");

        let edited = Settle { arguments: Some(("{\"n\":1}".to_owned(), "d2".to_owned())), ..good.clone() };
        // Two people answer at once: one of them is first.
        let written = store.write_work(&[write(edited), write(good)]).await.unwrap();
        assert!(matches!(&written[0], Written::Done { queued, .. } if *queued == [lane()]), "{written:?}");
        assert!(matches!(written[1], Written::Conflict { .. }));
        let receipts = store.receipts(&taken.task.id).await.unwrap();
        assert_eq!(receipts[0].arguments, "{\"n\":1}");
        assert_eq!((receipts[0].state, &*receipts[0].decided_by), (ReceiptState::Approved, "key_2"));

        // The second answer comes while a worker has the task, which then asks again: it is woken, and the answer stays.
        let again = take(store).await.unwrap();
        assert_eq!(again.lease.attempt, 2);
        did(store, write(settle(&taken, "b", ReceiptState::Declined))).await;
        let mut own = step(&again, parks(TaskStatus::Paused, Why::NeedsApproval));
        own.receipts = vec![receipt(&again.task.id, "b", ReceiptState::AwaitingApproval)];
        did(store, Write::Step(Box::new(own))).await;
        assert_eq!(store.receipts(&again.task.id).await.unwrap()[1].state, ReceiptState::Declined);
        let third = take(store).await.unwrap();
        assert!(!third.task.woken);
        assert_whole(store, &organization(), &third.task.thread).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_nobody_gives_expires() {
    on_each(async |_, store| {
        let taken = asks(store, &["a"], Some(now_ms() - 1)).await;
        let written = store.due_timers(10).await.unwrap();
        assert!(matches!(written[..], [Written::Done { .. }]), "{written:?}");
        assert!(store.due_timers(10).await.unwrap().is_empty());
        assert_eq!(store.receipts(&taken.task.id).await.unwrap()[0].state, ReceiptState::Expired);
        let again = take(store).await.unwrap();
        let late = one(store, Write::Settle(Box::new(settle(&again, "a", ReceiptState::Approved)))).await;
        assert!(matches!(late, Written::Conflict { .. }), "{late:?}");
    })
    .await;
}

fn child_of(parent: &HandedOut, call: &str) -> NewTask {
    let mut new = new_task(&lane(), "child");
    new.task.parent = Some(parent.task.id.clone());
    new.task.parent_call = call.to_owned();
    new.task.depth = 1;
    new.parent_lease = Some(parent.lease.clone());
    new
}

/// A task with two sub-agents.
async fn family(store: &Store) -> (HandedOut, NewTask, NewTask) {
    did(store, add(&new_task(&lane(), "parent"))).await;
    let parent = take(store).await.unwrap();
    let mut own = step(&parent, Turn::Goes);
    own.receipts = ["a", "b"].map(|call| receipt(&parent.task.id, call, ReceiptState::Sent)).into();
    did(store, Write::Step(Box::new(own))).await;
    let (first, second) = (child_of(&parent, "a"), child_of(&parent, "b"));
    for written in store.write_work(&[add(&first), add(&second)]).await.unwrap() {
        assert!(matches!(written, Written::Done { .. }), "{written:?}");
    }
    (parent, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_is_woken_after_the_last_of_its_children() {
    on_each(async |_, store| {
        let (parent, first, second) = family(store).await;
        assert_eq!(store.children(&parent.task.id).await.unwrap().len(), 2);
        let again = one(store, add(&child_of(&parent, "a"))).await;
        assert_eq!(again, Written::Before { task: first.task.id.clone(), same: true });
        let mut orphan = child_of(&parent, "a");
        orphan.parent_lease.as_mut().unwrap().attempt = 9;
        orphan.task.parent_call = "z".to_owned();
        assert_eq!(one(store, add(&orphan)).await, Written::Lost);

        let children = take_of(store, WORKER, &lane(), 5).await;
        assert_eq!(children.len(), 2);
        // The first ends before the parent is parked, the second after it.
        did(store, Write::Step(Box::new(step(&children[0], completed())))).await;
        step_of(store, &parent, parks(TaskStatus::Executing, Why::WaitsForSubAgent)).await;
        assert_eq!(status(store, &parent.task.id).await, (TaskStatus::Executing, Some(Why::WaitsForSubAgent)));
        let failed = Turn::Ends {
            status: TaskStatus::Failed,
            why: Some(Why::StepLimit),
            detail: "too many".to_owned(),
            result: None,
            output: None,
            problem: None,
        };
        let written = step_of(store, &children[1], failed).await;
        assert!(matches!(written, Written::Done { ref queued, .. } if *queued == [lane()]), "{written:?}");
        let receipts = store.receipts(&parent.task.id).await.unwrap();
        let results: Vec<ToolResult> = receipts.iter().map(|receipt| receipt.result.clone().unwrap()).collect();
        assert!(results[0].text == "done" && !results[0].is_error);
        assert!(results[1].text == "too many" && results[1].is_error);
        assert_eq!(take(store).await.unwrap().task.id, parent.task.id);
        let _ = second;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_end_before_their_parent_parks_wake_it_at_once() {
    on_each(async |_, store| {
        let (parent, ..) = family(store).await;
        let children = take_of(store, WORKER, &lane(), 5).await;
        let writes: Vec<Write> = children.iter().map(|child| Write::Step(Box::new(step(child, completed())))).collect();
        store.write_work(&writes).await.unwrap();
        assert!(row(store, &parent.task.id).await.woken);
        step_of(store, &parent, parks(TaskStatus::Executing, Why::WaitsForSubAgent)).await;
        assert_eq!(take(store).await.unwrap().task.id, parent.task.id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_children_of_a_stopped_task_are_stopped() {
    on_each(async |_, store| {
        let (parent, first, second) = family(store).await;
        step_of(store, &parent, parks(TaskStatus::Executing, Why::WaitsForSubAgent)).await;
        let runs = take(store).await.unwrap();
        did(store, ask(&parent.task.id, Asked::Stop)).await;
        assert_eq!(status(store, &parent.task.id).await, (TaskStatus::Stopped, Some(Why::AskedToStop)));
        store.due_timers(10).await.unwrap();
        assert_eq!(status(store, &second.task.id).await, (TaskStatus::Stopped, Some(Why::ParentEnded)));
        assert_eq!(store.asked_of(WORKER).await.unwrap(), [(first.task.id.clone(), Asked::Stop)]);
        let ended = step_of(store, &runs, parks(TaskStatus::Paused, Why::NeedsApproval)).await;
        assert!(matches!(ended, Written::Done { status: TaskStatus::Stopped, .. }), "{ended:?}");
        assert_eq!(status(store, &first.task.id).await.1, Some(Why::ParentEnded));
        store.due_timers(10).await.unwrap();
        assert!(store.due_timers(10).await.unwrap().is_empty());
        let events = store.events(&first.task.thread, 0, 10).await.unwrap();
        assert_eq!(events.last().unwrap().kind, EventType::TaskFinished);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_pause_reach_a_task_in_every_state() {
    on_each(async |_, store| {
        let new = new_task(&lane(), "x");
        let id = &new.task.id;
        store.write_work(&[add(&new), ask(id, Asked::Pause)]).await.unwrap();
        assert_eq!(status(store, id).await, (TaskStatus::Paused, Some(Why::AskedToPause)));
        assert!(take(store).await.is_none());
        assert_eq!(one(store, ask(id, Asked::Pause)).await, Written::Conflict { status: TaskStatus::Paused });
        did(store, resume(id)).await;
        let taken = take(store).await.unwrap();
        let written = one(store, ask(id, Asked::Pause)).await;
        assert!(matches!(written, Written::Done { asked: Some(Asked::Pause), .. }), "{written:?}");
        let told = step_of(store, &taken, Turn::Goes).await;
        assert!(matches!(told, Written::Done { asked: Some(Asked::Pause), .. }), "{told:?}");
        step_of(store, &taken, Turn::Again { why: None, detail: String::new(), at_ms: None }).await;
        assert_eq!(status(store, id).await, (TaskStatus::Paused, Some(Why::AskedToPause)));
        did(store, resume(id)).await;
        let taken = take(store).await.unwrap();
        did(store, ask(id, Asked::Stop)).await;
        did(store, ask(id, Asked::Pause)).await;
        assert_eq!(row(store, id).await.asked, Some(Asked::Stop), "a pause does not take a stop back");
        step_of(store, &taken, completed()).await;
        assert_eq!(status(store, id).await.0, TaskStatus::Completed, "it was done before it heard of it");
        assert_eq!(one(store, ask(id, Asked::Stop)).await, Written::Conflict { status: TaskStatus::Completed });
        assert_eq!(one(store, resume(id)).await, Written::Conflict { status: TaskStatus::Completed });
        assert_whole(store, &organization(), &new.task.thread).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_wait_deadlines_stop_and_dead_letters_are_replayed() {
    on_each(async |_, store| {
        let mut new = new_task(&lane(), "x");
        new.task.deadline_ms = Some(now_ms() + 60_000);
        let id = &new.task.id;
        did(store, add(&new)).await;
        let taken = take(store).await.unwrap();
        let later = |at| Turn::Again { why: Some(Why::WaitsForRetry), detail: "429".to_owned(), at_ms: Some(at) };
        step_of(store, &taken, later(now_ms() + 60_000)).await;
        assert!(take(store).await.is_none() && store.due_timers(10).await.unwrap().is_empty());
        did(store, ask(id, Asked::Pause)).await;
        did(store, resume(id)).await;
        let taken = take(store).await.unwrap();
        assert_eq!((taken.task.retries, taken.lease.attempt), (1, 2));
        step_of(store, &taken, later(now_ms() - 1)).await;
        assert_eq!(store.due_timers(10).await.unwrap().len(), 1);
        let taken = take(store).await.unwrap();
        let error = Turn::Ends {
            status: TaskStatus::Error,
            why: Some(Why::ModelFailed),
            detail: "no".to_owned(),
            result: None,
            output: None,
            problem: None,
        };
        step_of(store, &taken, error).await;
        did(store, resume(id)).await;
        let again = take(store).await.unwrap();
        assert_eq!((again.task.retries, again.task.finished_at_ms, again.task.problem), (0, None, None));

        let mut late = new_task(&lane(), "y");
        late.task.deadline_ms = Some(now_ms() - 1);
        did(store, add(&late)).await;
        store.due_timers(10).await.unwrap();
        assert_eq!(status(store, &late.task.id).await, (TaskStatus::Stopped, Some(Why::DeadlinePassed)));
        assert!(take(store).await.is_none());
        store.due_timers(10).await.unwrap();
        assert!(store.due_timers(10).await.unwrap().is_empty(), "no timer is left but the one that is not due");
    })
    .await;
}
