//! Implements `Cluster` for Kubernetes. The client is made at the first call.

use std::sync::Arc;

use cofferdam_core::Secret;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::connect::{ClientSource, Options};
use crate::held::Room;
use crate::ours::Ours;
use crate::wire::Wire;
use crate::{
    Cluster, ClusterError, Finding, Lines, Mended, PodName, Seen, Workload, WorkloadId, dial, kubeconfig, wire,
};

pub(crate) struct Kubernetes {
    source: ClientSource,
    pub(crate) namespace: String,
    pub(crate) options: Options,
    room: Room,
    wire: OnceCell<Wire>,
}

impl Kubernetes {
    pub(crate) fn new(source: ClientSource, namespace: String, options: Options, room: Room) -> Self {
        Self { source, namespace, options, room, wire: OnceCell::new() }
    }

    pub(crate) async fn wire(&self) -> Result<&Wire, ClusterError> {
        self.wire.get_or_try_init(|| self.connect()).await
    }

    /// Runs on a blocking thread: it reads files, and an operator's kubeconfig may name a program to run.
    async fn connect(&self) -> Result<Wire, ClusterError> {
        let (source, private, room) = (self.source.clone(), self.options.private.clone(), self.room.clone());
        let making = tokio::task::spawn_blocking(move || {
            let (config, guard) = match source {
                ClientSource::HandedOver(config) => (*config, Some(private.into())),
                ClientSource::Operator { path, context } => (kubeconfig::operators(&path, context.as_deref())?, None),
                ClientSource::InCluster => (in_cluster()?, None),
            };
            let server = server(&config);
            let secrets = credentials(&config);
            if secrets.iter().any(|secret| http::HeaderValue::from_str(secret.expose()).is_err()) {
                return Err(ClusterError::Settings(
                    "The kubeconfig's token or password has characters that cannot be sent, such as a line break"
                        .to_owned(),
                ));
            }
            let ours = Ours::new(secrets);
            let unverified = config.accept_invalid_certs;
            let client = dial::client(config, guard, Arc::clone(&ours))?;
            Ok(Wire::new(client, server, ours, room, unverified))
        });
        let made = tokio::time::timeout(wire::ANSWER_TIMEOUT, making).await;
        let made = made.map_err(|_| {
            ClusterError::Settings(
                "The program that the kubeconfig names for credentials did not finish in time".to_owned(),
            )
        })?;
        made.map_err(|_| ClusterError::Settings("The kubeconfig cannot be used".to_owned()))?
    }

    pub(crate) fn path<K>(&self) -> String
    where
        K: kube::Resource<DynamicType = ()>,
    {
        K::url_path(&(), Some(&self.namespace))
    }
}

/// Credentials that must not appear in any text. kube shows them only when it serializes them.
fn credentials(config: &kube::Config) -> Vec<Secret> {
    let written = serde_json::to_value(&config.auth_info).unwrap_or_default();
    let one = |field: &str| written.get(field).and_then(|value| value.as_str()).map(Secret::new);
    ["token", "password"].into_iter().filter_map(one).collect()
}

fn in_cluster() -> Result<kube::Config, ClusterError> {
    kube::Config::incluster().map_err(|_| {
        ClusterError::Settings(
            "This process runs in no pod with a service account token, so it cannot use its own cluster".to_owned(),
        )
    })
}

/// `host:port`, and nothing else that an address may hold.
fn server(config: &kube::Config) -> String {
    let url = &config.cluster_url;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or("?"))
}

impl Cluster for Kubernetes {
    fn apply<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.apply_workload(workload))
    }

    fn mend<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<Vec<Mended>, ClusterError>> {
        Box::pin(self.mend_workload(workload))
    }

    fn see<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        Box::pin(self.see_workload(id))
    }

    fn survey(&self) -> BoxFuture<'_, Result<Vec<(WorkloadId, Seen)>, ClusterError>> {
        Box::pin(self.survey_workloads())
    }

    fn remove<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.remove_workload(id))
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, ClusterError>> {
        Box::pin(self.check_rights())
    }

    fn runtimes(&self) -> BoxFuture<'_, Result<Vec<String>, ClusterError>> {
        Box::pin(self.node_runtimes())
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>> {
        Box::pin(self.list_workloads())
    }

    fn pods<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        Box::pin(self.list_pods(id))
    }

    fn logs<'a>(&'a self, pod: &'a PodName, since: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        Box::pin(self.lines(pod, since))
    }
}
