//! A controller with a driver that can be stopped anywhere, over a database of its own and the tests' cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::{AgentId, DeploymentState, OrganizationId};
use cofferdam_controller::agents::{
    self, AgentInfo, CreateAgent, DeployRequest, DeploymentInfo, Once, PushedImage, RegistryAccess, Resolve, cloud,
    driver,
};
use cofferdam_controller::auth::{Caller, Scope, Scopes};
use cofferdam_controller::config::{Config, DatabaseConfig, Flags, Secret, Timing};
use cofferdam_controller::services::{App, Controller, Parts};
use cofferdam_controller::store::Store;
use cofferdam_controller::{Error, cluster::ClusterError};
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, query};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fake_cluster::{FakeCluster, FakeClusters};

pub const PLACE: &str = "registry.test:5000/agents";

/// Everything as usual, only a hundred times as fast.
pub fn fast() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        start: ms(1_500),
        steady: ms(0),
        look: ms(5),
        watch: ms(20),
        poll: ms(40),
        lease: ms(1_200),
        heartbeat: ms(200),
        retry: ms(10),
        retry_most: ms(40),
        patience: ms(1_500),
        call: ms(1_000),
        reconcile: ms(50),
        stray: ms(700),
        ..Timing::default()
    }
}

/// A database: SQLite in a folder, or a new one in the PostgreSQL that `COFFERDAM_TEST_DATABASE_URL` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgresql,
}

impl On {
    /// Those that there are here.
    pub fn all() -> Vec<Self> {
        if std::env::var("COFFERDAM_TEST_DATABASE_URL").is_ok() {
            return vec![Self::Sqlite, Self::Postgresql];
        }
        eprintln!("SKIPPED on PostgreSQL: COFFERDAM_TEST_DATABASE_URL names none");
        vec![Self::Sqlite]
    }

    pub async fn database(self, folder: &TempDir) -> DatabaseConfig {
        match self {
            Self::Sqlite => DatabaseConfig::sqlite(&folder.path().join("agents.db")),
            Self::Postgresql => {
                let url = std::env::var("COFFERDAM_TEST_DATABASE_URL").unwrap();
                let name = format!("agents_{:x}", unique());
                sqlx::any::install_default_drivers();
                let pool = sqlx::AnyPool::connect(&url).await.unwrap();
                query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
                pool.close().await;
                let (server, _) = url.rsplit_once('/').unwrap();
                DatabaseConfig { url: Secret::new(format!("{server}/{name}")) }
            }
        }
    }
}

pub fn unique() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    u128::from_le_bytes(bytes)
}

/// Any reference is there, under a digest that its text decides.
pub struct FakeRegistry;

pub fn image(tag: &str) -> String {
    let digit = |byte: u8| format!("{byte:02x}");
    let hex: String = tag.bytes().chain(std::iter::repeat(0)).take(32).map(digit).collect();
    format!("{PLACE}/default/hello@sha256:{hex}")
}

impl Resolve for FakeRegistry {
    fn resolve<'a>(
        &'a self,
        _: &'a RegistryAccess,
        reference: &'a str,
        architecture: &'a str,
    ) -> BoxFuture<'a, Result<PushedImage, Error>> {
        Box::pin(async move {
            let reference = image(reference.rsplit_once(':').unwrap().1);
            let digest = reference.split_once('@').unwrap().1.to_owned();
            Ok(PushedImage {
                reference,
                digest,
                architecture: architecture.to_owned(),
                run_as: Some(1_000),
                size_bytes: 7,
            })
        })
    }
}

pub struct Rig {
    pub app: App,
    pub clusters: Arc<FakeClusters>,
    pub cluster: Arc<FakeCluster>,
    pub caller: Caller,
    pub agent: AgentId,
    drivers: Vec<(JoinHandle<()>, CancellationToken)>,
    pub folder: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.drivers.iter().for_each(|(task, _)| task.abort());
    }
}

pub fn caller(organization: &str) -> Caller {
    Caller {
        key: "key_test".into(),
        organization: OrganizationId::parse(organization).unwrap(),
        scopes: Scopes::new(vec![Scope::Admin]),
    }
}

/// A controller over that database.
pub async fn controller(database: DatabaseConfig, folder: &TempDir, timing: Timing, env: &[(&str, &str)]) -> App {
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, "the tests' own cluster").unwrap();
    let env: BTreeMap<String, String> = [
        ("COFFERDAM_IMAGES", PLACE),
        ("COFFERDAM_ARCHITECTURE", "amd64"),
        ("KUBECONFIG", kubeconfig.to_str().unwrap()),
    ]
    .iter()
    .chain(env)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    let flags = Flags { data_dir: Some(folder.path().to_owned()), ..Flags::default() };
    let mut config = Config::parse(&flags, &|name| env.get(name).cloned(), None).unwrap();
    config.agents.timing = timing;
    config.database = database;
    let store = Store::open(&config.database).await.unwrap();
    let app = Controller::new(Parts::new(config, store)).await.unwrap();
    app.agents.set_resolver(Arc::new(FakeRegistry));
    app
}

impl Rig {
    /// With an agent `hello` and no driver yet.
    pub async fn new(on: On) -> Self {
        Self::with(on, fast(), &[]).await
    }

    pub async fn with(on: On, timing: Timing, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = controller(on.database(&folder).await, &folder, timing, env).await;
        let clusters = Arc::new(FakeClusters::default());
        app.agents.set_clusters(Arc::clone(&clusters) as _);
        let (caller, agent) = (caller("default"), AgentId::parse("hello").unwrap());
        let request = CreateAgent { id: Some(agent.clone()), ..CreateAgent::default() };
        agents::create(&app, &caller, request, &Once::none()).await.unwrap();
        let cluster = Arc::clone(&clusters.local);
        Self { app, clusters, cluster, caller, agent, drivers: vec![], folder }
    }

    /// Another driver on the same store.
    pub fn start(&mut self) {
        let app = Arc::clone(&self.app);
        self.start_on(app);
    }

    pub fn start_on(&mut self, app: App) {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move { driver::drive(app, told).await.unwrap() });
        self.drivers.push((task, stop));
    }

    /// A process with the role `aws-operator` on the same store.
    pub fn start_operator(&mut self) {
        let (app, stop) = (Arc::clone(&self.app), CancellationToken::new());
        let told = stop.clone();
        let task = tokio::spawn(async move { cloud::operate(app, told).await.unwrap() });
        self.drivers.push((task, stop));
    }

    /// Ends every driver where it stands, as `kill -9` would.
    pub async fn kill(&mut self) {
        for (task, _) in self.drivers.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }

    /// Ends them as a shutdown would.
    pub async fn shut_down(&mut self) {
        for (task, stop) in self.drivers.drain(..) {
            stop.cancel();
            task.await.unwrap();
        }
    }

    pub async fn deploy(&self, tag: &str) -> DeploymentInfo {
        self.deploy_with(DeployRequest {
            image: Some(format!("{PLACE}/default/hello:{tag}")),
            ..DeployRequest::default()
        })
        .await
        .unwrap()
    }

    pub async fn deploy_with(&self, request: DeployRequest) -> Result<DeploymentInfo, Error> {
        agents::deploy(&self.app, &self.caller, &self.agent, &request, &Once::none()).await
    }

    pub async fn show(&self) -> AgentInfo {
        agents::show(&self.app, &self.caller, &self.agent).await.unwrap()
    }

    pub async fn version(&self, number: u64) -> DeploymentInfo {
        agents::deployment(&self.app, &self.caller, &self.agent, number).await.unwrap()
    }

    /// Waits until a version is in that state.
    pub async fn until(&self, number: u64, state: DeploymentState) -> DeploymentInfo {
        let begun = Instant::now();
        loop {
            // It may not have been made yet.
            let info = agents::deployment(&self.app, &self.caller, &self.agent, number).await.ok();
            if let Some(info) = info.as_ref().filter(|info| info.state == state) {
                return info.clone();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(15),
                "waited for {state:?}: {info:#?}\n{}",
                self.story().await
            );
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    /// Waits until exactly these versions are in the cluster.
    pub async fn until_there(&self, versions: &[u64]) {
        let begun = Instant::now();
        while self.cluster.versions() != versions {
            let there = self.cluster.versions();
            assert!(begun.elapsed() < Duration::from_secs(15), "{there:?}, not {versions:?}\n{}", self.story().await);
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    /// Every event of every version.
    pub async fn story(&self) -> String {
        let mut story = format!("serving {:?}\n", self.show().await.serving.map(|row| row.number));
        let rows = agents::deployments(&self.app, &self.caller, &self.agent, None, 100).await.unwrap();
        for row in rows.iter().rev() {
            let (events, _) =
                agents::events_after(&self.app, &self.caller, &self.agent, row.number, 0, 100).await.unwrap();
            for event in events {
                story += &format!("v{} {:?} {:?} {}\n", row.number, event.state, event.reason, event.detail);
            }
        }
        story + &self.cluster.state.lock().unwrap().calls.join(", ")
    }

    /// The states that a version went through.
    pub async fn states(&self, number: u64) -> Vec<DeploymentState> {
        let (events, _) = agents::events_after(&self.app, &self.caller, &self.agent, number, 0, 200).await.unwrap();
        let mut states: Vec<_> = events.iter().map(|event| event.state).collect();
        states.dedup();
        states
    }

    /// Nothing that must never happen has.
    pub fn unbroken(&self) {
        let broken = self.cluster.state.lock().unwrap().broken.clone();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

pub fn unreachable() -> ClusterError {
    ClusterError::Unreachable("no route to the cluster".into())
}

pub fn refused() -> ClusterError {
    ClusterError::Refused("forbidden: jobs is forbidden in namespace x (403)".into())
}

/// The problem that a refusal is.
pub fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    match result {
        Err(Error::Refused(problem)) => (problem.status, problem.detail),
        other => panic!("{other:?}"),
    }
}
