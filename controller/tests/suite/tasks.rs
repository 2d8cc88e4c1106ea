//! Tasks and threads over HTTP: lists, events, steering, approvals, and what strangers see. Their steps are those of a worker that the
//! tests play.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::work::{Content, EventType, InvokeInput, InvokeRequest, Role, TaskStatus, Why};
use cofferdam_contract::{AgentId, OrganizationId, TaskId, ThreadId};
use cofferdam_core::{now_ms, random_bits};
use cofferdam_store::{
    HandedOut, NewEvent, NewMessage, NewTask, ReceiptRow, ReceiptState, Step, TaskRow, ThreadRow, Turn, Used, Write,
    Written,
};
use cofferdam_tasks::{NoLimits, Tasks, WorkerLease};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{ADMIN, TestApp};

/// A controller with the loops of tasks, and a worker.
pub(crate) struct Rig {
    pub app: TestApp,
    pub tasks: Arc<Tasks>,
    pub worker: WorkerLease,
    draining: CancellationToken,
    _ends: DropGuard,
}

impl Rig {
    async fn new() -> Self {
        Self::over(TestApp::new().await)
    }

    /// Takes the next task.
    pub(crate) async fn next(&self) -> HandedOut {
        tokio::time::timeout(Duration::from_secs(10), self.tasks.next(&self.worker)).await.unwrap().unwrap()
    }

    pub(crate) fn over(app: TestApp) -> Self {
        let tasks = Arc::clone(&app.app.tasks);
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(Arc::clone(&tasks).keep_writer(draining.clone(), stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_following(stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_timers(stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_handing_out(Arc::new(NoLimits), stop.clone()));
        let worker = tasks.worker().unwrap();
        Self { app, tasks, worker, draining, _ends: stop.drop_guard() }
    }

    async fn add(&self, text: &str) -> NewTask {
        let new = new_task(text);
        let written = self.tasks.write(Write::Add(Box::new(new.clone()))).await.unwrap();
        assert!(matches!(written, Written::Done { .. }), "{written:?}");
        new
    }

    async fn running(&self, text: &str) -> HandedOut {
        self.add(text).await;
        self.next().await
    }

    pub(crate) async fn step(&self, task: &HandedOut, turn: Turn, change: impl FnOnce(&mut Step)) {
        let mut step = Step {
            task: task.task.id.clone(),
            thread: task.task.thread.clone(),
            lease: task.lease.clone(),
            messages: Vec::new(),
            events: Vec::new(),
            receipts: Vec::new(),
            used: Used { steps: 1, ..Used::default() },
            used_tools: Vec::new(),
            state: std::collections::BTreeMap::new(),
            turn,
        };
        change(&mut step);
        let written = self.tasks.write(Write::Step(Box::new(step))).await.unwrap();
        assert!(matches!(written, Written::Done { .. }), "{written:?}");
    }

    pub(crate) async fn chunk(&self, task: &HandedOut, text: &str) {
        let event = NewEvent { kind: EventType::Chunk, data: json!(text) };
        self.step(task, Turn::Goes, |step| step.events.push(event)).await;
    }

    pub(crate) async fn finish(&self, task: &HandedOut, status: TaskStatus) {
        let turn = Turn::Ends {
            status,
            why: None,
            detail: String::new(),
            result: Some("42".to_owned()),
            output: None,
            problem: None,
        };
        let event = NewEvent { kind: EventType::TaskFinished, data: Value::Null };
        let answer = Content { text: "42".to_owned(), ..Content::default() };
        self.step(task, turn, |step| {
            step.messages.push(NewMessage { role: Role::Assistant, content: answer });
            step.events.push(event);
        })
        .await;
    }

    /// Opens a stream of events.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Events {
        let mut request = self.app.request(ADMIN, "GET", path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.app.client.request(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body(), text: String::new() }
    }

    async fn other_key(&self) -> String {
        let made =
            self.app.call(ADMIN, "POST", "/v1/organizations", Some(json!({"id": "other", "name": "Other"}))).await;
        assert!(made.status.is_success(), "{}", String::from_utf8_lossy(&made.body));
        if let Some(key) = made.json()["key"].as_str() {
            return key.to_owned();
        }
        made.json()["key"]["key"].as_str().unwrap().to_owned()
    }
}

/// A stream that is read.
pub(crate) struct Events {
    pub body: hyper::body::Incoming,
    pub text: String,
}

impl Events {
    /// The next event as JSON; `None` at the stream's clean end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.text.find("\n\n") {
                let frame: String = self.text.drain(..at + 2).collect();
                let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
                let data: Value = serde_json::from_str(data).unwrap();
                assert!(frame.starts_with(&format!("id: {}\nevent: {}\n", data["id"], data["type"].as_str().unwrap())));
                return Some(data);
            }
            let piece =
                tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("an event or the end");
            match piece {
                Some(frame) => self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap()),
                None => return None,
            }
        }
    }

    async fn ids(mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some(event) = self.next().await {
            ids.push(event["id"].as_u64().unwrap());
        }
        ids
    }
}

pub(crate) fn new_task(text: &str) -> NewTask {
    let id = TaskId::from_random(random_bits().unwrap());
    let thread = ThreadId::from_random(random_bits().unwrap());
    let (organization, agent) = (OrganizationId::default_organization(), AgentId::parse("writer").unwrap());
    let now = now_ms();
    let input = InvokeInput { text: text.to_owned(), ..InvokeInput::default() };
    let task = TaskRow::pending(
        (organization.clone(), agent.clone(), "1".to_owned()),
        (id, thread.clone()),
        ("key_1".to_owned(), "invoke".to_owned()),
        InvokeRequest { input, ..InvokeRequest::default() },
        "api",
        now,
    );
    let row = ThreadRow {
        id: thread,
        organization,
        agent,
        api_key: "key_1".to_owned(),
        title: String::new(),
        person: "u-1".to_owned(),
        forked_from: None,
        active: None,
        waiting: 0,
        last_event: 0,
        last_message: 0,
        state: std::collections::BTreeMap::new(),
        created_at_ms: now,
        updated_at_ms: now,
    };
    NewTask {
        task,
        thread: Some(row),
        once: None,
        message: NewMessage { role: Role::User, content: Content { text: text.to_owned(), ..Content::default() } },
        events: vec![NewEvent { kind: EventType::TaskCreated, data: Value::Null }],
        max_unfinished: 1_000,
        parent_lease: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_shown_listed_and_steered() {
    let rig = Rig::new().await;
    let new = rig.add("hello").await;
    let path = format!("/v1/tasks/{}", new.task.id);
    let shown = rig.app.call(ADMIN, "GET", &path, None).await.json();
    assert_eq!((&shown["status"], &shown["input"]["text"]), (&json!("pending"), &json!("hello")), "{shown}");
    for list in ["/v1/tasks", "/v1/agents/writer/tasks", "/v1/tasks?status=pending&limit=1"] {
        assert_eq!(rig.app.call(ADMIN, "GET", list, None).await.json()["tasks"][0]["id"], shown["id"], "{list}");
    }
    assert_eq!(rig.app.call(ADMIN, "GET", "/v1/tasks?status=error", None).await.json()["tasks"], json!([]));
    for (bad, status) in [
        ("/v1/tasks?status=bored", 400),
        ("/v1/tasks?limit=0", 422),
        ("/v1/tasks?after=x", 422),
        ("/v1/tasks?colour=red", 400),
        ("/v1/threads?limit=500", 422),
        ("/v1/search?q=%20", 422),
        ("/v1/tasks/nothing", 404),
        ("/v1/threads/nothing/messages", 404),
    ] {
        let answer = rig.app.call(ADMIN, "GET", bad, None).await;
        assert_eq!(answer.status, status, "{bad}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    let post = async |what: &str| rig.app.call(ADMIN, "POST", &format!("{path}/{what}"), None).await;
    assert_eq!(post("pause").await.json()["internal_status"], "asked_to_pause");
    assert_eq!(post("resume").await.json()["status"], "pending");
    post("resume").await.problem(409, "conflict");
    post("replay").await.problem(409, "conflict");
    assert_eq!(rig.app.call(ADMIN, "DELETE", &path, None).await.json()["status"], "stopped");
    assert_eq!(post("stop").await.json()["status"], "stopped");
    post("pause").await.problem(409, "conflict");
    let task = rig.running("fails").await;
    rig.finish(&task, TaskStatus::Error).await;
    let dead = rig.app.call(ADMIN, "GET", "/v1/tasks?status=error", None).await.json();
    assert_eq!(dead["tasks"][0]["id"], task.task.id.as_str());
    let replayed = rig.app.call(ADMIN, "POST", "/v1/agents/writer/tasks/replay", None).await.json();
    assert_eq!(replayed, json!({"replayed": [task.task.id.as_str()]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_and_a_client_that_left_goes_on() {
    let rig = Rig::new().await;
    let task = rig.running("hello").await;
    let path = format!("/v1/tasks/{}/events", task.task.id);
    let mut live = rig.stream(&path, None).await;
    assert_eq!(live.next().await.unwrap()["type"], "task_created");
    rig.chunk(&task, "one").await;
    let chunk = live.next().await.unwrap();
    assert_eq!(
        (&chunk["type"], &chunk["data"], &chunk["thread_id"]),
        (&json!("chunk"), &json!("one"), &json!(task.task.thread))
    );
    let seen = chunk["id"].to_string();
    drop(live);
    rig.chunk(&task, "two\n\nevent: forged").await;
    let mut again = rig.stream(&path, Some(&seen)).await;
    assert_eq!(again.next().await.unwrap()["data"], "two\n\nevent: forged");
    rig.finish(&task, TaskStatus::Completed).await;
    let last = again.next().await.unwrap();
    assert_eq!(
        (&last["type"], &last["data"]["status"], &last["data"]["result"]),
        (&json!("task_finished"), &json!("completed"), &json!("42"))
    );
    assert_eq!(again.next().await, None);
    // After the end, by either way of naming the place.
    let all = rig.stream(&path, None).await.ids().await;
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(rig.stream(&format!("{path}?after=2"), None).await.ids().await, all[2..]);
    assert_eq!(rig.stream(&path, Some(&all.len().to_string())).await.ids().await, Vec::<u64>::new());
    let wrong = rig.app.request(ADMIN, "GET", &path).header("last-event-id", "soon").body(Body::empty()).unwrap();
    rig.app.send(wrong).await.problem(422, "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_at_another_controller_and_ends_cleanly_at_a_shutdown() {
    let rig = Rig::new().await;
    let other = Rig::over(rig.app.another(&[]).await);
    let task = rig.running("hello").await;
    let path = format!("/v1/threads/{}/events", task.task.thread);
    let mut here = rig.stream(&path, None).await;
    let seen = here.next().await.unwrap()["id"].to_string();
    let mut there = other.stream(&path, Some(&seen)).await;
    rig.chunk(&task, "heard elsewhere").await;
    assert_eq!(there.next().await.unwrap()["data"], "heard elsewhere");
    other.draining.cancel();
    assert_eq!(there.next().await, None, "the last chunk was sent");
    assert_eq!(here.next().await.unwrap()["data"], "heard elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_given_once_for_what_was_shown() {
    let rig = Rig::new().await;
    let task = rig.running("send it").await;
    let arguments = json!({"to": "b"});
    let asked = ReceiptRow {
        task: task.task.id.clone(),
        call: "1.a".to_owned(),
        step: 1,
        place: 0,
        tool: "send".to_owned(),
        arguments: cofferdam_tasks::canonical(&arguments),
        digest: cofferdam_tasks::digest("send", &arguments),
        state: ReceiptState::AwaitingApproval,
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
    };
    let parks = Turn::Parks { status: TaskStatus::Paused, why: Why::NeedsApproval, detail: String::new() };
    rig.step(&task, parks, |step| step.receipts.push(asked)).await;
    let all = rig.app.call(ADMIN, "GET", "/v1/approvals", None).await.json();
    let one = rig.app.call(ADMIN, "GET", &format!("/v1/tasks/{}/approvals", task.task.id), None).await.json();
    assert_eq!(all["approvals"], one["approvals"]);
    assert_eq!(one["approvals"][0]["arguments"], arguments);
    let path = format!("/v1/tasks/{}/approvals/1.a", task.task.id);
    let answer = async |body: Value| rig.app.call(ADMIN, "POST", &path, Some(body)).await;
    answer(json!({"verdict": "approve", "digest": "0".repeat(64)})).await.problem(409, "conflict");
    answer(json!({"verdict": "skip"})).await.problem(422, "invalid-request");
    answer(json!({"verdict": "perhaps"})).await.problem(422, "invalid-request");
    let done = answer(json!({"verdict": "approve", "digest": one["approvals"][0]["digest"]})).await;
    assert_eq!(done.json()["status"], "pending");
    answer(json!({"verdict": "decline"})).await.problem(409, "conflict");
    let noted = rig.app.call(ADMIN, "GET", "/v1/audit?action=approval", None).await.json();
    assert!(noted["entries"].as_array().unwrap().iter().any(|entry| entry["outcome"] == "done"), "{noted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_paged_forked_deleted_and_strangers_see_nothing() {
    let rig = Rig::new().await;
    let task = rig.running("hello").await;
    let thread = format!("/v1/threads/{}", task.task.thread);
    rig.app.call(ADMIN, "DELETE", &thread, None).await.problem(409, "conflict");
    rig.finish(&task, TaskStatus::Completed).await;
    let page = rig.app.call(ADMIN, "GET", &format!("{thread}/messages?limit=1"), None).await.json();
    assert_eq!((&page["messages"][0]["role"], &page["next"]), (&json!("user"), &json!(1)));
    let page = rig.app.call(ADMIN, "GET", &format!("{thread}/messages?before=3&limit=1"), None).await.json();
    assert_eq!((&page["messages"][0]["text"], &page["previous"]), (&json!("42"), &json!(2)));
    rig.app
        .call(ADMIN, "GET", &format!("{thread}/messages?before=3&after=1"), None)
        .await
        .problem(422, "invalid-request");
    let whole = rig.app.call(ADMIN, "GET", &format!("/v1/tasks/{}/thread", task.task.id), None).await.json();
    assert_eq!((&whole["thread"]["messages"], whole["messages"].as_array().unwrap().len()), (&json!(2), 2));
    let fork = rig.app.call(ADMIN, "POST", &format!("{thread}/fork"), Some(json!({"message": 1}))).await;
    assert_eq!((fork.status.as_u16(), &fork.json()["messages"]), (201, &json!(1)));
    rig.app
        .call(ADMIN, "POST", &format!("{thread}/fork"), Some(json!({"message": 7})))
        .await
        .problem(422, "invalid-request");
    let listed = rig.app.call(ADMIN, "GET", "/v1/threads?agent=writer&user=u-1", None).await.json();
    assert_eq!(listed["threads"].as_array().unwrap().len(), 2, "{listed}");

    let stranger = rig.other_key().await;
    for (method, path) in [
        ("GET", thread.clone()),
        ("GET", format!("{thread}/messages")),
        ("GET", format!("{thread}/events")),
        ("POST", format!("{thread}/fork")),
        ("DELETE", thread.clone()),
        ("GET", format!("/v1/tasks/{}", task.task.id)),
        ("GET", format!("/v1/tasks/{}/events", task.task.id)),
        ("GET", format!("/v1/tasks/{}/thread", task.task.id)),
        ("GET", format!("/v1/tasks/{}/approvals", task.task.id)),
        ("POST", format!("/v1/tasks/{}/stop", task.task.id)),
        ("POST", format!("/v1/tasks/{}/replay", task.task.id)),
    ] {
        rig.app.call(&stranger, method, &path, None).await.problem(404, "not-found");
    }
    let reader = rig.app.key(&["read"]).await;
    assert_eq!(rig.app.call(&reader, "GET", &thread, None).await.status, 200);
    rig.app.call(&reader, "DELETE", &thread, None).await.problem(403, "forbidden");
    let invoker = rig.app.key(&["invoke"]).await;
    assert_eq!(rig.app.call(&invoker, "DELETE", &thread, None).await.status, 204);
    rig.app.call(ADMIN, "GET", &thread, None).await.problem(404, "not-found");
}
