//! A database, a provider and a worker of sandboxes; and processes over them, each of which can be killed.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_agents::{Agents, NewAgent};
use cofferdam_cache::{Bus, MemoryBus};
use cofferdam_connectors::{Connectors, Net as ConnectorsNet};
use cofferdam_contract::work::{AgentDefinition, EventType, InvokeRequest, MessageInfo, TaskInfo};
use cofferdam_contract::{AgentId, Limits, OrganizationId, TaskId};
use cofferdam_core::{Caller, Scopes, Source, Vault};
use cofferdam_gateway::{Gateway, GatewayMetrics, GatewaySettings, SystemResolver, ToolCallsSlot};
use cofferdam_identity::Secrets;
use cofferdam_models::settings::{ModelsFile, NoSecrets, OperatorModels};
use cofferdam_models::{Models, Settings};
use cofferdam_policy::{LimitsConfig, OperatorPolicy, RegistriesConfig};
use cofferdam_sandbox::{Sandboxes, SessionsConfig};
use cofferdam_store::{DatabaseConfig, ReceiptRow, Span, Store, WorkEventRow};
use cofferdam_tasks::{NoLimits, TaskMetrics, Tasks, TasksConfig, WorkerLease};
use cofferdam_testkit::database::On;
use cofferdam_testkit::worker::FakeWorker;
use cofferdam_tools::Tools;
use cofferdam_upstreams::Net;
use cofferdam_usage::{Accounts, UsageConfig, UsageMetrics};
use cofferdam_workers::{ToolWorkers, Workers};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Kill;
use super::upstream::Upstream;
use crate::metrics::LoopMetrics;
use crate::parts::{LoopConfig, Parts};
use crate::run::{self, Ends};
use crate::step::Halt;
use crate::work::Work;

/// The parts that outlive a process.
pub(super) struct Site {
    pub upstream: Upstream,
    pub worker: FakeWorker,
    database: DatabaseConfig,
    shared: Option<Store>,
    bus: Arc<dyn Bus>,
    folder: tempfile::TempDir,
}

/// A process that works on agents' tasks.
pub(super) struct Process {
    pub parts: Arc<Parts>,
    pub work: Arc<Work>,
    pub worker: WorkerLease,
    stop: CancellationToken,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) fn caller() -> Caller {
    Caller::new("key_test", OrganizationId::default_organization(), Scopes::from_text("admin"))
}

pub(super) fn agent_id(text: &str) -> AgentId {
    AgentId::parse(text).unwrap()
}

/// Both databases where there are two.
pub(super) async fn sites() -> Vec<Site> {
    let mut sites = Vec::new();
    for on in On::all() {
        sites.push(Site::on(on).await);
    }
    sites
}

impl Site {
    pub(super) async fn new() -> Self {
        Self::on(On::Sqlite).await
    }

    pub(super) async fn on(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = on.database(&folder).await;
        let worker = FakeWorker::start(folder.path(), 0);
        let shared = match on {
            On::Sqlite => Some(Store::open(&database).await.unwrap()),
            On::Postgresql => None,
        };
        Self {
            upstream: Upstream::start().await,
            worker,
            database,
            shared,
            bus: Arc::new(MemoryBus::default()),
            folder,
        }
    }

    pub(super) async fn process(&self) -> Process {
        self.process_with(Kill::default(), LoopConfig { first_wait: Duration::from_millis(5), ..LoopConfig::default() })
            .await
    }

    pub(super) async fn process_with(&self, kill: Kill, config: LoopConfig) -> Process {
        // A file of SQLite has one process.
        let store = match &self.shared {
            Some(store) => store.clone(),
            None => Store::open(&self.database).await.unwrap(),
        };
        let vault = Arc::new(Vault::open(None, self.folder.path()).unwrap());
        let text = format!(
            "[[upstreams]]\nname = \"up\"\nkind = \"openai\"\nbase_url = \"{}\"\nkeys_env = [\"KEY\"]\nmodels = [{{ name = \"m\", thinking_blocks = true }}]\n[[aliases]]\nname = \"default\"\nchain = \
             [\"up/m\"]\n[[prices]]\nname = \"m\"\ninput = \"1\"\noutput = \"10\"\n",
            self.upstream.base
        );
        let file: ModelsFile = toml::from_str(&text).unwrap();
        let env = |name: &str| (name == "KEY").then(|| "sk-canary-0123456789abcdef".to_owned());
        let operator = OperatorModels::parse(&file, &Source::new(&env)).unwrap();
        let net = Net::new(Vec::new(), Vec::new());
        let settings = Settings::new(store.clone(), Arc::clone(&vault), Arc::new(NoSecrets), operator, net).unwrap();
        let usage = UsageConfig { alone: true, ..UsageConfig::default() };
        let models = Models::new(settings, Accounts::new(store.clone(), usage, UsageMetrics::default()));
        let policy = Arc::new(OperatorPolicy::parse("").unwrap_or_default());
        let slot = ToolCallsSlot::default();
        let gateway = Gateway::new(
            GatewaySettings::new(Arc::clone(&policy), Vec::new()),
            vault.derive("placeholders"),
            Arc::new(SystemResolver::default()),
            Arc::clone(&models),
            store.clone(),
            Arc::new(Secrets::new(store.clone(), Arc::clone(&vault))),
            slot.clone(),
            GatewayMetrics::default(),
        )
        .unwrap();
        let limits = LimitsConfig { default: Limits::DEFAULT, maximum: Limits::MAXIMUM };
        let local = self.worker.worker();
        local.set_health(Some(local.ping(Duration::from_secs(3)).await.unwrap()));
        let workers = Arc::new(Workers::new(vec![local]));
        let sessions = SessionsConfig { max: 100, max_per_key: 100, max_life_s: 86_400, idle_suspend_s: 300 };
        let sandboxes =
            Sandboxes::new(store.clone(), workers, Arc::clone(&gateway), Arc::clone(&policy), limits, sessions);
        let tools = Tools::new(
            self.folder.path().join("blobs"),
            store.clone(),
            policy,
            limits,
            RegistriesConfig::new(std::collections::BTreeMap::new(), Duration::from_secs(5)),
            Arc::new(ToolWorkers::new(Vec::new())),
            gateway,
        );
        slot.set(&tools);
        let connectors = Connectors::new(
            store.clone(),
            vault,
            ConnectorsNet::new(Vec::new(), Vec::new()),
            "http://127.0.0.1".to_owned(),
        )
        .unwrap();
        let times = TasksConfig { poll_interval: Duration::from_millis(200), ..TasksConfig::default() };
        let tasks = Tasks::new(store.clone(), Arc::clone(&self.bus), times, TaskMetrics::default());
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&tasks).keep_beating(stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_asked(stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_timers(stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_following(stop.clone()));
        tokio::spawn(Arc::clone(&tasks).keep_handing_out(Arc::new(NoLimits), stop.clone()));
        let parts = Arc::new(Parts {
            agents: Agents::new(store),
            models,
            sandboxes,
            tools,
            connectors,
            config,
            metrics: LoopMetrics::default(),
            kill,
            tasks: Arc::clone(&tasks),
        });
        Process { work: Work::new(Arc::clone(&parts)), worker: tasks.worker().unwrap(), parts, stop }
    }

    /// Calls that the sandboxes' worker has got.
    pub(super) fn runs(&self) -> Vec<String> {
        self.worker.seen.runs.lock().unwrap().iter().map(|run| run.request.code.clone()).collect()
    }
}

impl Process {
    pub(super) async fn agent(&self, id: &str, definition: Value) {
        let definition: AgentDefinition = serde_json::from_value(definition).unwrap();
        let new =
            NewAgent { id: Some(agent_id(id)), name: id.to_owned(), definition, draft: false, note: String::new() };
        self.parts.agents.create(&caller(), new).await.unwrap();
    }

    pub(super) async fn ask(&self, agent: &str, request: Value) -> TaskInfo {
        let request: InvokeRequest = serde_json::from_value(request).unwrap();
        self.work.invoke(&caller(), &agent_id(agent), request, "api").await.unwrap().task
    }

    /// Takes the next task and works on it once.
    pub(super) async fn turn(&self) -> Halt {
        let taken = tokio::time::timeout(Duration::from_secs(10), self.parts.tasks.next(&self.worker)).await;
        let handed = taken.expect("a task is handed out").expect("the worker lives");
        let cancel = CancellationToken::new();
        let ends =
            Ends { cancel: cancel.clone(), heard: Arc::new(Mutex::new(None)), draining: CancellationToken::new() };
        let (heard, mut asked) = (Arc::clone(&ends.heard), self.parts.tasks.asked(&handed.task.id));
        let watcher = tokio::spawn(async move {
            *heard.lock() = Some(asked.wait().await);
            cancel.cancel();
        });
        let halt = tokio::time::timeout(Duration::from_secs(60), run::run(&self.parts, handed, ends)).await;
        watcher.abort();
        halt.expect("a turn ends")
    }

    /// Its tasks go back, as they do when the process is gone.
    pub(super) async fn dies(self) {
        self.parts.tasks.leave(&self.worker).await.unwrap();
    }

    pub(super) async fn task(&self, task: &TaskId) -> TaskInfo {
        self.parts.tasks.get(&caller(), task).await.unwrap()
    }

    pub(super) async fn messages(&self, task: &TaskInfo) -> Vec<MessageInfo> {
        let rows = self.parts.tasks.store().messages(&task.thread_id, Span::After(0), 1_000).await.unwrap();
        rows.into_iter().map(cofferdam_tasks::message_info).collect()
    }

    /// Roles and texts of the thread.
    pub(super) async fn said(&self, task: &TaskInfo) -> Vec<String> {
        self.messages(task)
            .await
            .iter()
            .map(|message| format!("{}: {}", message.role.name(), message.content.text))
            .collect()
    }

    pub(super) async fn receipts(&self, task: &TaskId) -> Vec<ReceiptRow> {
        self.parts.tasks.store().receipts(task).await.unwrap()
    }

    pub(super) async fn events(&self, task: &TaskInfo) -> Vec<WorkEventRow> {
        self.parts.tasks.store().events(&task.thread_id, 0, 1_000).await.unwrap()
    }

    /// The kinds of the thread's events, without the pieces of answers.
    pub(super) async fn kinds(&self, task: &TaskInfo) -> Vec<&'static str> {
        let events = self.events(task).await;
        let pieces = |kind: EventType| matches!(kind, EventType::Chunk | EventType::Think);
        events.iter().filter(|event| !pieces(event.kind)).map(|event| event.kind.name()).collect()
    }
}
