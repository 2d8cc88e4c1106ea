//! Tasks and steps as tests write them, and a worker that takes what is ready.

use std::collections::BTreeMap;

use cofferdam_contract::work::{Content, EventType, InvokeInput, InvokeRequest, Role, TaskStatus, Why};
use cofferdam_contract::{AgentId, OrganizationId, TaskId, ThreadId};
use cofferdam_core::{now_ms, random_bits};
use cofferdam_store::{
    Asked, HandedOut, Lane, NewEvent, NewMessage, NewTask, ReceiptRow, ReceiptState, Step, Store, TaskRow, ThreadRow,
    Turn, Used, Write, Written,
};
use serde_json::Value;

use crate::organization;

pub(super) const WORKER: &str = "worker-1";

pub(super) fn agent() -> AgentId {
    AgentId::parse("writer").unwrap()
}

pub(super) fn lane() -> Lane {
    Lane { organization: organization(), agent: agent() }
}

pub(super) fn said(role: Role, text: &str) -> NewMessage {
    NewMessage { role, content: Content { text: text.to_owned(), ..Content::default() } }
}

pub(super) fn event(kind: EventType) -> NewEvent {
    NewEvent { kind, data: Value::Null }
}

pub(super) fn thread_row(id: &ThreadId, lane: &Lane) -> ThreadRow {
    ThreadRow {
        id: id.clone(),
        organization: lane.organization.clone(),
        agent: lane.agent.clone(),
        api_key: "key_1".to_owned(),
        title: String::new(),
        person: String::new(),
        forked_from: None,
        active: None,
        waiting: 0,
        last_event: 0,
        last_message: 0,
        state: BTreeMap::new(),
        created_at_ms: now_ms(),
        updated_at_ms: now_ms(),
    }
}

/// A task of a new thread.
pub(super) fn new_task(lane: &Lane, text: &str) -> NewTask {
    let id = TaskId::from_random(random_bits().unwrap());
    let thread = ThreadId::from_random(random_bits().unwrap());
    let input = InvokeInput { text: text.to_owned(), ..InvokeInput::default() };
    let task = TaskRow::pending(
        (lane.organization.clone(), lane.agent.clone(), "1".to_owned()),
        (id, thread.clone()),
        ("key_1".to_owned(), "invoke".to_owned()),
        InvokeRequest { input, ..InvokeRequest::default() },
        "api",
        now_ms(),
    );
    NewTask {
        task,
        thread: Some(thread_row(&thread, lane)),
        once: None,
        message: said(Role::User, text),
        events: vec![event(EventType::TaskCreated)],
        max_unfinished: 1_000_000,
        parent_lease: None,
    }
}

/// A further task of a thread.
pub(super) fn next_task(lane: &Lane, thread: &ThreadId, text: &str) -> NewTask {
    let mut new = new_task(lane, text);
    new.task.thread = thread.clone();
    new.thread = None;
    new
}

pub(super) fn add(new: &NewTask) -> Write {
    Write::Add(Box::new(new.clone()))
}

/// A step that says something.
pub(super) fn step(task: &HandedOut, turn: Turn) -> Step {
    Step {
        task: task.task.id.clone(),
        thread: task.task.thread.clone(),
        lease: task.lease.clone(),
        messages: vec![said(Role::Assistant, "so be it")],
        events: vec![event(EventType::TaskUpdated)],
        receipts: Vec::new(),
        used: Used { steps: 1, prompt_tokens: 10, completion_tokens: 5, cost: 7, ..Used::default() },
        used_tools: Vec::new(),
        state: BTreeMap::new(),
        turn,
    }
}

pub(super) fn completed() -> Turn {
    Turn::Ends {
        status: TaskStatus::Completed,
        why: None,
        detail: String::new(),
        result: Some("done".to_owned()),
        output: None,
        problem: None,
    }
}

pub(super) fn parks(status: TaskStatus, why: Why) -> Turn {
    Turn::Parks { status, why, detail: String::new() }
}

pub(super) fn receipt(task: &TaskId, call: &str, state: ReceiptState) -> ReceiptRow {
    ReceiptRow {
        task: task.clone(),
        call: call.to_owned(),
        step: 1,
        place: 0,
        tool: "send".to_owned(),
        arguments: "{}".to_owned(),
        digest: "d".to_owned(),
        state,
        repeatable: false,
        result: None,
        child: None,
        message: String::new(),
        on_timeout: "decline".to_owned(),
        expires_at_ms: None,
        decided_by: String::new(),
        note: String::new(),
        created_at_ms: now_ms(),
        updated_at_ms: now_ms(),
    }
}

pub(super) fn ask(task: &TaskId, asked: Asked) -> Write {
    let why = if asked == Asked::Stop { Why::AskedToStop } else { Why::AskedToPause };
    Write::Ask { organization: organization(), task: task.clone(), asked, why, detail: String::new() }
}

pub(super) fn resume(task: &TaskId) -> Write {
    Write::Resume { organization: organization(), task: task.clone() }
}

pub(super) async fn one(store: &Store, write: Write) -> Written {
    store.write_work(&[write]).await.unwrap().remove(0)
}

pub(super) async fn did(store: &Store, write: Write) {
    let written = one(store, write).await;
    assert!(matches!(written, Written::Done { .. }), "{written:?}");
}

pub(super) async fn step_of(store: &Store, task: &HandedOut, turn: Turn) -> Written {
    one(store, Write::Step(Box::new(step(task, turn)))).await
}

/// Takes the first ready task of the lane.
pub(super) async fn take(store: &Store) -> Option<HandedOut> {
    take_of(store, WORKER, &lane(), 1).await.pop()
}

pub(super) async fn take_of(store: &Store, worker: &str, lane: &Lane, most: u32) -> Vec<HandedOut> {
    store.join_work(worker, 60_000).await.unwrap();
    store.hand_out(worker, &[(lane.clone(), most)]).await.unwrap()
}

pub(super) async fn row(store: &Store, task: &TaskId) -> TaskRow {
    store.task(&organization(), task).await.unwrap().unwrap()
}

pub(super) async fn status(store: &Store, task: &TaskId) -> (TaskStatus, Option<Why>) {
    let row = row(store, task).await;
    (row.status, row.why)
}

/// Events and messages of a thread are counted from 1 without gaps, as the thread's row says.
pub(super) async fn assert_whole(store: &Store, organization: &OrganizationId, id: &ThreadId) {
    let thread = store.thread(organization, id).await.unwrap().unwrap();
    let events = store.events(id, 0, 1000).await.unwrap();
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=thread.last_event.min(1000)).collect::<Vec<_>>(), "events of {thread:?}");
    let messages = store.messages(id, cofferdam_store::Span::After(0), 1000).await.unwrap();
    let seqs: Vec<u64> = messages.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=thread.last_message.min(1000)).collect::<Vec<_>>(), "messages of {thread:?}");
}
