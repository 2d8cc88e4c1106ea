//! A service with its loops on a database of its own, and tasks and steps as tests write them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_cache::{Bus, MemoryBus};
use cofferdam_contract::work::{Content, EventType, InvokeInput, InvokeRequest, Role, TaskStatus, Why};
use cofferdam_contract::{AgentId, OrganizationId, TaskId, ThreadId};
use cofferdam_core::{Caller, Scopes, now_ms, random_bits};
use cofferdam_store::{
    DatabaseConfig, HandedOut, NewEvent, NewMessage, NewTask, ReceiptRow, ReceiptState, Step, Store, TaskRow,
    ThreadRow, Turn, Used, Write, Written,
};
use cofferdam_tasks::{LaneLimits, NoLimits, TaskMetrics, Tasks, TasksConfig, WorkerLease};
use cofferdam_testkit::database::On;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A service and its loops.
pub struct Rig {
    pub store: Store,
    pub tasks: Arc<Tasks>,
    pub metrics: TaskMetrics,
    pub draining: CancellationToken,
    _ends: DropGuard,
    folder: Arc<TempDir>,
}

/// Bounds that tests can wait for.
pub fn quick() -> TasksConfig {
    TasksConfig {
        beat_interval: Duration::from_millis(200),
        left_after: Duration::from_millis(300),
        write_timeout: Duration::from_secs(10),
        ..TasksConfig::default()
    }
}

impl Rig {
    pub async fn new(on: On) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let config = on.database(&folder).await;
        Self::on(&config, folder).await
    }

    pub async fn on(config: &DatabaseConfig, folder: Arc<TempDir>) -> Self {
        let store = Store::open(config).await.unwrap();
        Self::with(store, Arc::new(MemoryBus::default()), quick(), Arc::new(NoLimits), folder)
    }

    pub fn with(
        store: Store,
        bus: Arc<dyn Bus>,
        config: TasksConfig,
        limits: Arc<dyn LaneLimits>,
        folder: Arc<TempDir>,
    ) -> Self {
        let metrics = TaskMetrics::default();
        let tasks = Tasks::new(store.clone(), bus, config, metrics.clone());
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let own = || (Arc::clone(&tasks), stop.clone());
        tokio::spawn(Arc::clone(&tasks).keep_writer(draining.clone(), stop.clone()));
        let (service, end) = own();
        tokio::spawn(service.keep_following(end));
        let (service, end) = own();
        tokio::spawn(service.keep_timers(end));
        let (service, end) = own();
        tokio::spawn(service.keep_taking_back(end));
        let (service, end) = own();
        tokio::spawn(service.keep_indexing(end));
        let (service, end) = own();
        tokio::spawn(service.keep_beating(end));
        let (service, end) = own();
        tokio::spawn(service.keep_asked(end));
        tokio::spawn(Arc::clone(&tasks).keep_handing_out(limits, draining.clone()));
        let _ends = stop.drop_guard();
        Self { store, tasks, metrics, draining, _ends, folder }
    }

    /// A second process on the same database that hears nothing of the first one's wake-ups.
    pub fn deaf_twin(&self) -> Self {
        let (store, folder) = (self.store.clone(), Arc::clone(&self.folder));
        Self::with(store, Arc::new(MemoryBus::default()), quick(), Arc::new(NoLimits), folder)
    }

    pub async fn add(&self, new: &NewTask) -> Written {
        self.tasks.write(Write::Add(Box::new(new.clone()))).await.unwrap()
    }

    /// A new task that a worker has.
    pub async fn running(&self, worker: &WorkerLease) -> HandedOut {
        assert!(matches!(self.add(&new_task("hello")).await, Written::Done { .. }));
        self.next(worker).await
    }

    pub async fn next(&self, worker: &WorkerLease) -> HandedOut {
        let next = tokio::time::timeout(Duration::from_secs(10), self.tasks.next(worker)).await;
        next.expect("a task is handed out").expect("the worker lives")
    }

    pub async fn step(&self, task: &HandedOut, turn: Turn) -> Written {
        self.tasks.write(Write::Step(Box::new(step(task, turn)))).await.unwrap()
    }

    pub async fn row(&self, task: &TaskId) -> TaskRow {
        self.tasks.row(&caller(), task).await.unwrap()
    }

    /// Waits until a task is in a state.
    pub async fn until(&self, task: &TaskId, status: TaskStatus) -> TaskRow {
        for _ in 0..200 {
            let row = self.row(task).await;
            if row.status == status {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} instead of {status:?}", self.row(task).await);
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
    }
}

pub fn organization(name: &str) -> OrganizationId {
    OrganizationId::parse(name).unwrap()
}

pub fn caller() -> Caller {
    caller_of("default")
}

pub fn caller_of(name: &str) -> Caller {
    Caller::new("key_1", organization(name), Scopes::from_text("invoke"))
}

pub fn said(role: Role, text: &str) -> NewMessage {
    NewMessage { role, content: Content { text: text.to_owned(), ..Content::default() } }
}

pub fn chunk(text: &str) -> NewEvent {
    NewEvent { kind: EventType::Chunk, data: json!(text) }
}

fn thread_row(id: &ThreadId, organization: &OrganizationId, agent: &AgentId) -> ThreadRow {
    ThreadRow {
        id: id.clone(),
        organization: organization.clone(),
        agent: agent.clone(),
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

/// A task of a new thread, of the organization `default` and the agent `writer`.
pub fn new_task(text: &str) -> NewTask {
    new_task_of("default", "writer", text)
}

pub fn new_task_of(of: &str, agent: &str, text: &str) -> NewTask {
    let id = TaskId::from_random(random_bits().unwrap());
    let thread = ThreadId::from_random(random_bits().unwrap());
    let (organization, agent) = (organization(of), AgentId::parse(agent).unwrap());
    let input = InvokeInput { text: text.to_owned(), ..InvokeInput::default() };
    let task = TaskRow::pending(
        (organization.clone(), agent.clone(), "1".to_owned()),
        (id, thread.clone()),
        ("key_1".to_owned(), "invoke".to_owned()),
        InvokeRequest { input, ..InvokeRequest::default() },
        "api",
        now_ms(),
    );
    NewTask {
        task,
        thread: Some(thread_row(&thread, &organization, &agent)),
        once: None,
        message: said(Role::User, text),
        events: vec![NewEvent { kind: EventType::TaskCreated, data: Value::Null }],
        max_unfinished: 1_000_000,
        parent_lease: None,
    }
}

/// A further task of a thread.
pub fn next_task(thread: &ThreadId, text: &str) -> NewTask {
    let mut new = new_task(text);
    new.task.thread = thread.clone();
    new.thread = None;
    new
}

/// A step that says something.
pub fn step(task: &HandedOut, turn: Turn) -> Step {
    let events = match turn {
        Turn::Goes => vec![chunk("so ")],
        Turn::Ends { .. } => vec![NewEvent { kind: EventType::TaskFinished, data: Value::Null }],
        Turn::Parks { .. } | Turn::Again { .. } => vec![NewEvent { kind: EventType::TaskUpdated, data: Value::Null }],
    };
    Step {
        task: task.task.id.clone(),
        thread: task.task.thread.clone(),
        lease: task.lease.clone(),
        messages: vec![said(Role::Assistant, "so be it")],
        events,
        receipts: Vec::new(),
        used: Used { steps: 1, ..Used::default() },
        used_tools: Vec::new(),
        state: BTreeMap::new(),
        turn,
    }
}

pub fn ends(status: TaskStatus) -> Turn {
    let result = Some("done".to_owned());
    Turn::Ends { status, why: None, detail: String::new(), result, output: None, problem: None }
}

pub fn parks(why: Why) -> Turn {
    Turn::Parks { status: TaskStatus::Paused, why, detail: String::new() }
}

/// A receipt of a tool call with these arguments.
pub fn receipt(task: &TaskId, call: &str, state: ReceiptState, arguments: &Value) -> ReceiptRow {
    ReceiptRow {
        task: task.clone(),
        call: call.to_owned(),
        step: 1,
        place: 0,
        tool: "send".to_owned(),
        arguments: cofferdam_tasks::canonical(arguments),
        digest: cofferdam_tasks::digest("send", arguments),
        state,
        repeatable: false,
        result: None,
        child: None,
        message: "May it?".to_owned(),
        on_timeout: "decline".to_owned(),
        expires_at_ms: None,
        decided_by: String::new(),
        note: String::new(),
        created_at_ms: now_ms(),
        updated_at_ms: now_ms(),
    }
}
