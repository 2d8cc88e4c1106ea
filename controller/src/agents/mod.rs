//! Container agents: made, deployed, started, stopped, rolled back, deleted; and the driver that brings what is wanted
//! about. Everything that is asked for is written down first; the driver acts on what is written, and may be killed
//! anywhere. It speaks to a cluster only through [`crate::cluster::Cluster`] and never to a database but through the
//! store.

mod arrived;
mod ask;
mod changes;
pub mod cloud;
mod compose;
mod create;
mod deploy;
mod direct;
pub mod driver;
mod history;
mod image;
mod lifecycle;
pub mod logs;
mod once;
mod registries;
pub mod uploads;
pub mod variables;
mod wire;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use cofferdam_contract::{AgentId, OrganizationId, Problem};
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, broadcast};

pub use arrived::{image_arrived, pushing, upload_failed, upload_progress};
pub use changes::{Changed, Listener};
pub use compose::{redactor, values};
pub use create::{create, delete, list, show};
pub use deploy::{begin_upload, deploy};
pub use direct::Direct;
pub use history::{deployment, deployments, events_after, find_deployment};
pub use image::{RegistryAccess, Resolve};
pub use lifecycle::{restart, rollback, start, stop};
pub use once::Once;
pub use wire::{AgentInfo, CreateAgent, DeployRequest, DeploymentEvent, DeploymentInfo, PushedImage};

use crate::Error;
use crate::cluster::{AnyCluster, ClusterError};
use crate::environments::Environment;
use crate::services::App;
use crate::store::DeploymentRow;

/// Connects to clusters. Tests have their own.
pub trait Clusters: Send + Sync {
    fn connect<'a>(&'a self, environment: &'a Environment) -> BoxFuture<'a, Result<AnyCluster, ClusterError>>;

    /// Whether a kubeconfig that is handed over can be used.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    fn check(&self, kubeconfig: &str, context: Option<&str>) -> Result<(), ClusterError>;
}

/// Brings an image that was uploaded elsewhere into an environment's registry: S3 to ECR.
pub trait Carrier: Send + Sync {
    /// Idempotent: it may be begun again after it was stopped anywhere. `received` tells how much of it has come.
    fn carry<'a>(
        &'a self,
        app: &'a App,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        received: &'a AtomicU64,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>>;
}

/// Why an image could not be brought.
#[derive(Debug)]
pub struct NotCarried {
    pub reason: cofferdam_contract::FailureReason,
    /// What happened and what to do about it.
    pub detail: String,
    /// Whether it may come right by itself.
    pub retryable: bool,
}

/// What agents need beside the rest of the controller.
pub struct Agents {
    clusters: RwLock<Arc<dyn Clusters>>,
    carrier: RwLock<Option<Arc<dyn Carrier>>>,
    resolver: RwLock<Arc<dyn Resolve>>,
    /// An image was asked for that lies in a bucket.
    pub(crate) carriage: Notify,
    /// Agents that were changed in this process.
    changed: broadcast::Sender<Changed>,
}

/// Changes that a slow listener may be behind; it looks into the store when it has missed some.
const BEHIND: usize = 1_024;

impl Agents {
    pub fn new(clusters: Arc<dyn Clusters>) -> Self {
        Self {
            clusters: RwLock::new(clusters),
            carrier: RwLock::new(None),
            resolver: RwLock::new(Arc::new(registries::Registries)),
            carriage: Notify::new(),
            changed: broadcast::Sender::new(BEHIND),
        }
    }

    pub fn set_clusters(&self, clusters: Arc<dyn Clusters>) {
        *self.clusters.write().unwrap_or_else(|e| e.into_inner()) = clusters;
    }

    pub fn set_carrier(&self, carrier: Arc<dyn Carrier>) {
        *self.carrier.write().unwrap_or_else(|e| e.into_inner()) = Some(carrier);
    }

    pub fn set_resolver(&self, resolver: Arc<dyn Resolve>) {
        *self.resolver.write().unwrap_or_else(|e| e.into_inner()) = resolver;
    }

    fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::clone(&self.resolver.read().unwrap_or_else(|e| e.into_inner()))
    }

    fn clusters(&self) -> Arc<dyn Clusters> {
        Arc::clone(&self.clusters.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// # Errors
    /// Settings that cannot be, or no cluster.
    pub async fn connect(&self, environment: &Environment) -> Result<AnyCluster, ClusterError> {
        self.clusters().connect(environment).await
    }

    /// # Errors
    /// Why a kubeconfig cannot be used.
    pub fn check_kubeconfig(&self, kubeconfig: &str, context: Option<&str>) -> Result<(), ClusterError> {
        self.clusters().check(kubeconfig, context)
    }

    pub(crate) fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        self.carrier.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

fn no_agent(id: &AgentId) -> Error {
    Problem::not_found(format!("There is no agent {:?}.", id.as_str())).into()
}

/// Tells the driver and those who listen that an agent has changed. After the change is durable.
pub(crate) fn tell(app: &App, organization: &OrganizationId, agent: &AgentId) {
    // Nobody may listen.
    let (organization, agent) = (organization.clone(), agent.clone());
    let _ = app.agents.changed.send(Changed { organization, agent, by_driver: false });
}

/// The same, by the driver: it need not be woken.
pub(crate) fn tell_listeners(app: &App, organization: &OrganizationId, agent: &AgentId) {
    let (organization, agent) = (organization.clone(), agent.clone());
    let _ = app.agents.changed.send(Changed { organization, agent, by_driver: true });
}
