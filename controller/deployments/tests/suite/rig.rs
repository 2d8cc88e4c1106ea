//! The service and its drivers, which can be stopped at any point, over a new database and a fake cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_cluster::ClusterError;
use cofferdam_contract::{AgentId, DeploymentState, OrganizationId};
use cofferdam_core::{Caller, Failure, Scope, Scopes, Vault};
use cofferdam_deployments::{
    AgentInfo, CreateAgent, DeployRequest, DeploymentInfo, DeploymentMetrics, Deployments, DeploymentsConfig, Driver,
    Error, Once, Operator, RegistryAccess, ResolveImage, Timing,
};
use cofferdam_environments::{Environments, LocalCluster, LocalEnvironment, Variables};
use cofferdam_identity::Secrets;
use cofferdam_logs::{LogMetrics, Logs, LogsConfig};
use cofferdam_policy::{KnownRegistry, RegistriesConfig};
use cofferdam_store::{DatabaseConfig, Store};
use cofferdam_testkit::cluster::{FakeCluster, FakeClusters};
pub(crate) use cofferdam_testkit::database::On;
use cofferdam_uploads::{Carrier, PushedImage, UploadsConfig};
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const PLACE: &str = "registry.test:5000/agents";

/// The usual timing, a hundred times as fast.
pub(crate) fn fast() -> Timing {
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
        drift: ms(60),
        ..Timing::default()
    }
}

/// Every reference exists, with a digest derived from its text.
pub(crate) struct FakeRegistry;

pub(crate) fn image(tag: &str) -> String {
    let digit = |byte: u8| format!("{byte:02x}");
    let hex: String = tag.bytes().chain(std::iter::repeat(0)).take(32).map(digit).collect();
    format!("{PLACE}/default/hello@sha256:{hex}")
}

impl ResolveImage for FakeRegistry {
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

    fn try_push<'a>(&'a self, _: &'a RegistryAccess, repository: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let full = repository.contains("full");
        Box::pin(async move { if full { Err("the registry is full".to_owned()) } else { Ok(()) } })
    }
}

/// Settings that tests change.
pub(crate) struct Settings {
    pub deployments: DeploymentsConfig,
    /// Registries that the operator names, besides the environments' own.
    pub registries: &'static [&'static str],
    /// The registry of the environment `local`.
    pub images: Option<&'static str>,
    pub has_cluster: bool,
    /// Images that an operator copies at once.
    pub carriages: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deployments: DeploymentsConfig { timing: fast(), ..DeploymentsConfig::default() },
            registries: &[],
            images: Some(PLACE),
            has_cluster: true,
            carriages: 8,
        }
    }
}

impl Settings {
    pub(crate) fn timing(timing: Timing) -> Self {
        Self { deployments: DeploymentsConfig { timing, ..DeploymentsConfig::default() }, ..Self::default() }
    }
}

/// One process's services over a database.
pub(crate) struct Room {
    pub store: Store,
    pub secrets: Arc<Secrets>,
    pub environments: Arc<Environments>,
    pub variables: Arc<Variables>,
    pub deployments: Arc<Deployments>,
    pub logs: Arc<Logs>,
    pub database: DatabaseConfig,
    carriages: usize,
}

pub(crate) type App = Arc<Room>;

pub(crate) struct Rig {
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

pub(crate) fn caller(organization: &str) -> Caller {
    Caller::new("key_test", OrganizationId::parse(organization).unwrap(), Scopes::new(vec![Scope::Admin]))
}

/// The services of one process over that database.
pub(crate) async fn room(
    database: DatabaseConfig,
    folder: &TempDir,
    clusters: &Arc<FakeClusters>,
    settings: &Settings,
) -> App {
    let store = Store::open(&database).await.unwrap();
    let vault = Arc::new(Vault::open(None, folder.path()).unwrap());
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, "the tests' own cluster").unwrap();
    let known = |name: &&str| ((*name).to_owned(), KnownRegistry { plain_http: false, credentials: None });
    let known: BTreeMap<String, KnownRegistry> = settings.registries.iter().map(known).collect();
    let registries = RegistriesConfig::new(known, Duration::from_secs(30));
    let local = LocalEnvironment {
        images: settings.images.map(str::to_owned),
        architecture: "amd64".to_owned(),
        cluster: if settings.has_cluster { LocalCluster::Kubeconfig(kubeconfig, None) } else { LocalCluster::None },
        ..LocalEnvironment::default()
    };
    let clusters = Arc::clone(clusters) as _;
    let environments = Arc::new(Environments::new(store.clone(), Arc::clone(&vault), clusters, local, &registries));
    let variables = Arc::new(Variables::new(store.clone(), Arc::clone(&vault)));
    let secrets = Arc::new(Secrets::new(store.clone(), Arc::clone(&vault)));
    let objects = cofferdam_objects::open(&format!("file://{}", folder.path().join("objects").display())).unwrap();
    let logs = Logs::new(store.clone(), objects, LogsConfig::default(), LogMetrics::default());
    let deployments = Deployments::new(
        store.clone(),
        vault,
        Arc::clone(&environments),
        Arc::clone(&variables),
        Arc::clone(&secrets),
        registries,
        Arc::new(FakeRegistry),
        settings.deployments,
        DeploymentMetrics::default(),
    );
    let carriages = settings.carriages;
    Arc::new(Room { store, secrets, environments, variables, deployments, logs, database, carriages })
}

impl Rig {
    /// With an agent `hello` and no driver.
    pub(crate) async fn new(on: On) -> Self {
        Self::with(on, &Settings::default()).await
    }

    pub(crate) async fn with(on: On, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clusters = Arc::new(FakeClusters::default());
        let app = room(on.database(&folder).await, &folder, &clusters, settings).await;
        let (caller, agent) = (caller("default"), AgentId::parse("hello").unwrap());
        let request = CreateAgent { id: Some(agent.clone()), ..CreateAgent::default() };
        app.deployments.create(&caller, request, &Once::none()).await.unwrap();
        let cluster = Arc::clone(&clusters.local);
        Self { app, clusters, cluster, caller, agent, drivers: vec![], folder }
    }

    /// Another driver on the same store.
    pub(crate) fn start(&mut self) {
        let app = Arc::clone(&self.app);
        self.start_on(&app);
    }

    pub(crate) fn start_on(&mut self, app: &App) {
        let stop = CancellationToken::new();
        let driver = Driver::new(Arc::clone(&app.deployments), Arc::clone(&app.logs), app.database.is_file()).unwrap();
        self.drivers.push((tokio::spawn(driver.drive(stop.clone())), stop));
    }

    /// A process with the role `aws-operator` on the same store.
    pub(crate) fn start_operator(&mut self, carrier: &Arc<dyn Carrier>) {
        let stop = CancellationToken::new();
        let uploads = UploadsConfig { max: self.app.carriages, ..uploads() };
        let file = self.app.database.is_file();
        let operator = Operator::new(Arc::clone(&self.app.deployments), Arc::clone(carrier), uploads, file).unwrap();
        self.drivers.push((tokio::spawn(operator.operate(stop.clone())), stop));
    }

    /// Stops every driver immediately, as `kill -9` would.
    pub(crate) async fn kill(&mut self) {
        for (task, _) in self.drivers.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }

    /// Stops every driver as a shutdown would.
    pub(crate) async fn shut_down(&mut self) {
        for (task, stop) in self.drivers.drain(..) {
            stop.cancel();
            task.await.unwrap();
        }
    }

    pub(crate) async fn deploy(&self, tag: &str) -> DeploymentInfo {
        self.deploy_with(DeployRequest {
            image: Some(format!("{PLACE}/default/hello:{tag}")),
            ..DeployRequest::default()
        })
        .await
        .unwrap()
    }

    pub(crate) async fn deploy_with(&self, request: DeployRequest) -> Result<DeploymentInfo, Error> {
        self.app.deployments.deploy(&self.caller, &self.agent, &request, &Once::none()).await
    }

    pub(crate) async fn show(&self) -> AgentInfo {
        self.app.deployments.show(&self.caller, &self.agent).await.unwrap()
    }

    pub(crate) async fn version(&self, number: u64) -> DeploymentInfo {
        self.app.deployments.deployment(&self.caller, &self.agent, number).await.unwrap()
    }

    /// Waits until a version is in that state.
    pub(crate) async fn until(&self, number: u64, state: DeploymentState) -> DeploymentInfo {
        let begun = Instant::now();
        loop {
            // It may not have been made yet.
            let info = self.app.deployments.deployment(&self.caller, &self.agent, number).await.ok();
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
    pub(crate) async fn until_there(&self, versions: &[u64]) {
        let begun = Instant::now();
        while self.cluster.versions() != versions {
            let there = self.cluster.versions();
            assert!(begun.elapsed() < Duration::from_secs(15), "{there:?}, not {versions:?}\n{}", self.story().await);
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    /// Every event of every version.
    pub(crate) async fn story(&self) -> String {
        let mut story = format!("serving {:?}\n", self.show().await.serving.map(|row| row.number));
        let rows = self.app.deployments.deployments(&self.caller, &self.agent, None, 100).await.unwrap();
        for row in rows.iter().rev() {
            let (events, _) =
                self.app.deployments.events_after(&self.caller, &self.agent, row.number, 0, 100).await.unwrap();
            for event in events {
                story += &format!("v{} {:?} {:?} {}\n", row.number, event.state, event.reason, event.detail);
            }
        }
        story + &self.cluster.state.lock().unwrap().calls.join(", ")
    }

    /// The states of a version, in order.
    pub(crate) async fn states(&self, number: u64) -> Vec<DeploymentState> {
        let (events, _) = self.app.deployments.events_after(&self.caller, &self.agent, number, 0, 200).await.unwrap();
        let mut states: Vec<_> = events.iter().map(|event| event.state).collect();
        states.dedup();
        states
    }

    /// Asserts that no rule was broken.
    pub(crate) fn unbroken(&self) {
        let broken = self.cluster.state.lock().unwrap().broken.clone();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

pub(crate) fn unreachable() -> ClusterError {
    ClusterError::Unreachable("no route to the cluster".into())
}

pub(crate) fn refused() -> ClusterError {
    ClusterError::Refused("forbidden: jobs is forbidden in namespace x (403)".into())
}

/// The status and detail of a refusal.
pub(crate) fn problem<T: std::fmt::Debug, E: Failure>(result: Result<T, E>) -> (u16, String) {
    let error = result.unwrap_err();
    let problem = error.refused().unwrap_or_else(|| panic!("{error:?}"));
    (problem.status, problem.detail.clone())
}

fn uploads() -> UploadsConfig {
    UploadsConfig {
        max_image_bytes: 1 << 30,
        max: 8,
        max_per_organization: 4,
        idle: Duration::from_secs(60),
        wait: Duration::from_secs(600),
        whole: Duration::from_secs(3_600),
        public_url: None,
    }
}
