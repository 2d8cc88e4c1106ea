//! The writes of a batch, its fences, the order of a thread's tasks, and idempotency keys.

use cofferdam_contract::ThreadId;
use cofferdam_contract::work::{EventType, Role, TaskInfo, TaskStatus, Why};
use cofferdam_core::random_bits;
use cofferdam_store::{Asked, Lease, NewTask, ReceiptState, Span, Store, TaskQuery, ThreadQuery, Turn, Write, Written};
use serde_json::json;

use super::rig::*;
use crate::{on_each, organization, stranger};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_from_its_creation_to_its_end() {
    on_each(async |_, store| {
        let mut new = new_task(&lane(), "hello \"you\" \\ {NULL} \0 ü");
        new.task.title = "a\0b".to_owned();
        let Written::Done { event, message, status: first, queued, .. } = one(store, add(&new)).await else { panic!() };
        assert_eq!((event, message, first, queued), (1, 1, TaskStatus::Pending, vec![lane()]));
        assert_eq!(store.ready_lanes().await.unwrap(), [lane()]);

        let taken = take(store).await.unwrap();
        assert!(take(store).await.is_none() && store.ready_lanes().await.unwrap().is_empty());
        assert_eq!(store.executing().await.unwrap(), [(lane(), 1)]);
        assert_eq!((taken.task.status, taken.lease.attempt), (TaskStatus::Executing, 1));
        assert_eq!(taken.task, row(store, &new.task.id).await);

        let mut first = step(&taken, Turn::Goes);
        first.receipts = vec![receipt(&new.task.id, "c1", ReceiptState::Sent)];
        first.state = [("session".to_owned(), json!("ses_1")), ("none".to_owned(), json!(null))].into();
        first.used_tools = vec!["send".to_owned()];
        let mut second = step(&taken, completed());
        second.receipts = vec![receipt(&new.task.id, "c1", ReceiptState::Done)];
        second.events = vec![event_of_end()];
        let writes = [first, second].map(|step| Write::Step(Box::new(step)));
        let written = store.write_work(&writes).await.unwrap();
        assert!(matches!(written[0], Written::Done { event: 2, message: 2, .. }), "{written:?}");
        assert!(
            matches!(written[1], Written::Done { event: 3, message: 3, status: TaskStatus::Completed, .. }),
            "{written:?}"
        );
        let task = row(store, &new.task.id).await;
        assert_eq!((task.status, task.result.as_deref(), &task.lease), (TaskStatus::Completed, Some("done"), &None));
        assert_eq!((task.used.steps, task.used.cost, task.title.as_str()), (2, 14, "a\u{fffd}b"));
        assert_eq!(task.used_tools, ["send"]);
        let receipts = store.receipts(&new.task.id).await.unwrap();
        assert_eq!((receipts.len(), receipts[0].state), (1, ReceiptState::Done));
        let thread = store.thread(&organization(), &new.task.thread).await.unwrap().unwrap();
        assert_eq!((thread.active, thread.state), (None, [("session".to_owned(), json!("ses_1"))].into()));
        let events = store.events(&thread.id, 0, 10).await.unwrap();
        let shown: TaskInfo = serde_json::from_value(events[2].data.clone()).unwrap();
        assert_eq!((shown.status, shown.steps, shown.execution_attempts), (TaskStatus::Completed, 2, 1));
        let messages = store.messages(&thread.id, Span::Before(3), 1).await.unwrap();
        assert_eq!((messages[0].seq, messages[0].role), (2, Role::Assistant));
        assert_eq!(store.messages_of(&task, 1, 10).await.unwrap().len(), 2);
        assert_whole(store, &organization(), &thread.id).await;

        assert!(store.task(&stranger(), &task.id).await.unwrap().is_none());
        assert!(store.thread(&stranger(), &thread.id).await.unwrap().is_none());
        let late = step_of(store, &taken, Turn::Goes).await;
        assert_eq!(late, Written::Lost, "it has ended");
        assert_whole(store, &organization(), &thread.id).await;
    })
    .await;
}

fn event_of_end() -> cofferdam_store::NewEvent {
    event(EventType::TaskFinished)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_writes_nothing_and_the_others_of_the_batch_go_on() {
    on_each(async |_, store| {
        let (one_task, other) = (new_task(&lane(), "a"), new_task(&lane(), "b"));
        store.write_work(&[add(&one_task), add(&other)]).await.unwrap();
        let taken = take_of(store, WORKER, &lane(), 5).await;
        assert_eq!(taken.iter().map(|taken| &taken.task.id).collect::<Vec<_>>(), [&one_task.task.id, &other.task.id]);
        for lease in [
            Lease { worker: "another".to_owned(), attempt: 1 },
            Lease { attempt: 2, ..taken[0].lease.clone() },
            Lease { attempt: 0, ..taken[0].lease.clone() },
        ] {
            let mut stale = step(&taken[0], completed());
            stale.lease = lease;
            stale.receipts = vec![receipt(&one_task.task.id, "c", ReceiptState::Sent)];
            let good = step(&taken[1], Turn::Goes);
            let writes = [Write::Step(Box::new(stale)), Write::Step(Box::new(good))];
            let written = store.write_work(&writes).await.unwrap();
            assert!(written[0] == Written::Lost && matches!(written[1], Written::Done { .. }), "{written:?}");
        }
        assert!(store.receipts(&one_task.task.id).await.unwrap().is_empty());
        let thread = store.thread(&organization(), &one_task.task.thread).await.unwrap().unwrap();
        assert_eq!((thread.last_event, thread.last_message), (1, 1));
        let mut elsewhere = step(&taken[0], Turn::Goes);
        elsewhere.thread = other.task.thread.clone();
        assert_eq!(one(store, Write::Step(Box::new(elsewhere))).await, Written::Lost);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_thread_run_one_after_the_other_in_their_order() {
    on_each(async |_, store| {
        let first = new_task(&lane(), "0");
        let thread = first.task.thread.clone();
        let more: Vec<NewTask> = (1..6).map(|n| next_task(&lane(), &thread, &n.to_string())).collect();
        // In one batch, with one that is stopped while it waits, and one that pauses.
        let mut writes = vec![add(&first)];
        writes.extend(more.iter().map(add));
        writes.push(ask(&more[1].task.id, Asked::Stop));
        writes.push(ask(&more[2].task.id, Asked::Pause));
        for written in store.write_work(&writes).await.unwrap() {
            assert!(matches!(written, Written::Done { .. }), "{written:?}");
        }
        assert_eq!(status(store, &more[0].task.id).await, (TaskStatus::Pending, Some(Why::WaitsForThread)));
        assert_eq!(status(store, &more[1].task.id).await, (TaskStatus::Stopped, Some(Why::AskedToStop)));
        let mut order = Vec::new();
        while let Some(taken) = take(store).await {
            assert!(take(store).await.is_none(), "one at a time");
            order.push(taken.task.request.input.text.clone());
            if order.len() == 2 {
                // It comes last now.
                did(store, resume(&more[2].task.id)).await;
            }
            let written = step_of(store, &taken, completed()).await;
            assert!(matches!(written, Written::Done { .. }), "{written:?}");
        }
        assert_eq!(order, ["0", "1", "4", "5", "3"]);
        let row = store.thread(&organization(), &thread).await.unwrap().unwrap();
        assert_eq!((row.active, row.waiting), (None, 0));
        assert_whole(store, &organization(), &thread).await;
    })
    .await;
}

/// Eight writers add to one thread and work on its tasks at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_holds_under_concurrent_writers() {
    on_each(async |_, store| {
        let first = new_task(&lane(), "first");
        let thread = first.task.thread.clone();
        did(store, add(&first)).await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let (store, thread) = (store.clone(), thread.clone());
            writers.spawn(async move {
                let worker = format!("worker-{writer}");
                for _ in 0..10 {
                    did(&store, add(&next_task(&lane(), &thread, "more"))).await;
                    for taken in take_of(&store, &worker, &lane(), 1).await {
                        let mut own = step(&taken, Turn::Goes);
                        own.messages.push(said(Role::Tool, "ok"));
                        did(&store, Write::Step(Box::new(own))).await;
                        assert!(matches!(step_of(&store, &taken, completed()).await, Written::Done { .. }));
                    }
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        while let Some(taken) = take(store).await {
            step_of(store, &taken, completed()).await;
        }
        let row = store.thread(&organization(), &thread).await.unwrap().unwrap();
        assert_eq!((row.active, row.waiting), (None, 0));
        assert_whole(store, &organization(), &thread).await;
        let which = TaskQuery { thread: Some(thread), limit: 1000, ..TaskQuery::default() };
        let mut tasks = store.tasks(&organization(), &which).await.unwrap();
        assert!(tasks.len() == 81 && tasks.iter().all(|task| task.status == TaskStatus::Completed));
        tasks.sort_by_key(|task| task.turn);
        assert!(tasks.is_sorted_by_key(|task| task.finished_at_ms), "they ran in their order");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_raced_by_many_and_makes_one_task() {
    on_each(async |_, store| {
        let with_key = |request: &str| {
            let mut new = new_task(&lane(), "x");
            new.once = Some(("once".to_owned(), request.to_owned()));
            new
        };
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (store, new) = (store.clone(), with_key("digest"));
            racers.spawn(async move { store.write_work(&[add(&new), add(&new_task(&lane(), "y"))]).await.unwrap() });
        }
        let mut made = Vec::new();
        let mut before = Vec::new();
        while let Some(written) = racers.join_next().await {
            match written.unwrap().remove(0) {
                Written::Done { task, .. } => made.push(task),
                Written::Before { task, same: true } => before.push(task),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((made.len(), before.len()), (1, 11));
        assert!(before.iter().all(|task| *task == made[0]));
        let other = one(store, add(&with_key("another digest"))).await;
        assert_eq!(other, Written::Before { task: made[0].clone(), same: false });
        // One that is refused leaves the key free, also for another of the same batch.
        let mut refused = with_key("digest");
        refused.once = Some(("later".to_owned(), "digest".to_owned()));
        refused.max_unfinished = 1;
        let again = NewTask { task: new_task(&lane(), "z").task, ..refused.clone() };
        assert_eq!(store.write_work(&[add(&refused), add(&again)]).await.unwrap(), [Written::Full, Written::Full]);
        refused.max_unfinished = 1000;
        did(store, add(&refused)).await;
        // A repeated batch changes nothing.
        did(store, add(&refused)).await;
        assert_whole(store, &organization(), &refused.task.thread).await;
        let deleted = store.sweep_task_keys(i64::MAX, 100).await.unwrap();
        assert_eq!(deleted, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_missing_and_lists_are_paged() {
    on_each(async |_, store| {
        let nobody = ThreadId::from_random(random_bits().unwrap());
        assert_eq!(one(store, add(&next_task(&lane(), &nobody, "x"))).await, Written::Missing);
        let ours = new_task(&lane(), "x");
        did(store, add(&ours)).await;
        let theirs = cofferdam_store::Lane { organization: stranger(), ..lane() };
        assert_eq!(one(store, add(&next_task(&theirs, &ours.task.thread, "x"))).await, Written::Missing);
        let mut stolen = new_task(&theirs, "x");
        stolen.task.thread = ours.task.thread.clone();
        stolen.thread = Some(thread_row(&ours.task.thread, &theirs));
        assert_eq!(one(store, add(&stolen)).await, Written::Missing);
        let strange = Write::Ask {
            organization: stranger(),
            task: ours.task.id.clone(),
            asked: Asked::Stop,
            why: Why::AskedToStop,
            detail: String::new(),
        };
        assert_eq!(one(store, strange).await, Written::Missing);
        for _ in 0..4 {
            did(store, add(&new_task(&lane(), "x"))).await;
        }
        assert_eq!(store.unfinished_tasks(&organization()).await.unwrap(), 5);
        let pages = pages_of(store).await;
        assert_eq!(pages, 5);
        let threads =
            store.threads(&organization(), &ThreadQuery { limit: 3, ..ThreadQuery::default() }).await.unwrap();
        assert_eq!(threads.len(), 3);
        let paused = TaskQuery { status: Some(TaskStatus::Paused), limit: 9, ..TaskQuery::default() };
        assert!(store.tasks(&organization(), &paused).await.unwrap().is_empty());
    })
    .await;
}

/// Counts tasks page by page.
async fn pages_of(store: &Store) -> usize {
    let mut seen = std::collections::HashSet::new();
    let mut which = TaskQuery { agent: Some(agent()), limit: 2, ..TaskQuery::default() };
    loop {
        let page = store.tasks(&organization(), &which).await.unwrap();
        let Some(last) = page.last() else { return seen.len() };
        which.after = Some(cofferdam_store::Cursor { created_at_ms: last.created_at_ms, id: last.id.to_string() });
        for task in page {
            assert!(seen.insert(task.id), "twice");
        }
    }
}
