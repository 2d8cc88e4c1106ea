//! Kubernetes as a place that runs containers: a client that is made at the first question, and a door for each of the
//! trait's questions.

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::connect::{Access, Options};
use super::wire::Wire;
use super::{Cluster, ClusterError, Lines, PodName, Seen, Workload, WorkloadId, dial, kubeconfig};
use crate::config::Secret;

pub(super) struct Kubernetes {
    access: Access,
    pub(super) namespace: String,
    pub(super) options: Options,
    wire: OnceCell<Wire>,
}

impl Kubernetes {
    pub(super) fn new(access: Access, namespace: String, options: Options) -> Self {
        Self { access, namespace, options, wire: OnceCell::new() }
    }

    pub(super) async fn wire(&self) -> Result<&Wire, ClusterError> {
        self.wire.get_or_try_init(|| self.connect()).await
    }

    /// On a thread of its own: files are read, and an operator's kubeconfig may name a program to run.
    async fn connect(&self) -> Result<Wire, ClusterError> {
        let (access, private) = (self.access.clone(), self.options.private.clone());
        let making = tokio::task::spawn_blocking(move || {
            let (config, guard) = match access {
                Access::HandedOver(config) => (*config, Some(private.into())),
                Access::Operator { path, context } => (kubeconfig::operators(&path, context.as_deref())?, None),
                Access::InCluster => (in_cluster()?, None),
            };
            let server = server(&config);
            let secrets = credentials(&config);
            if secrets.iter().any(|secret| http::HeaderValue::from_str(secret.expose()).is_err()) {
                return Err(ClusterError::Settings(
                    "The kubeconfig's token or password has letters that cannot be sent, such as a line's end"
                        .to_owned(),
                ));
            }
            Ok(Wire::new(dial::client(config, guard)?, server, secrets))
        });
        let made = tokio::time::timeout(super::wire::ANSWER, making).await;
        let made = made.map_err(|_| {
            ClusterError::Settings("The program that the kubeconfig names for credentials does not end".to_owned())
        })?;
        made.map_err(|_| ClusterError::Settings("The kubeconfig cannot be used".to_owned()))?
    }

    pub(super) fn path<K>(&self) -> String
    where
        K: kube::Resource<DynamicType = ()>,
    {
        K::url_path(&(), Some(&self.namespace))
    }
}

/// What must not be repeated. Written out is how kube gives it.
fn credentials(config: &kube::Config) -> Vec<Secret> {
    let written = serde_json::to_value(&config.auth_info).unwrap_or_default();
    let one = |field: &str| written.get(field).and_then(|value| value.as_str()).map(Secret::new);
    ["token", "password"].into_iter().filter_map(one).collect()
}

fn in_cluster() -> Result<kube::Config, ClusterError> {
    kube::Config::incluster().map_err(|_| {
        ClusterError::Settings(
            "This process is in no pod with a service account's token: the environment cannot mean the cluster that it is in"
                .to_owned(),
        )
    })
}

/// `host:port`, never what else an address may hold.
fn server(config: &kube::Config) -> String {
    let url = &config.cluster_url;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or("?"))
}

impl Cluster for Kubernetes {
    fn apply<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.apply_workload(workload))
    }

    fn see<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        Box::pin(self.see_workload(id))
    }

    fn remove<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.take_away(id))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>> {
        Box::pin(self.workloads())
    }

    fn pods<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        Box::pin(self.pod_names(id))
    }

    fn logs<'a>(&'a self, pod: &'a PodName, since: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        Box::pin(self.lines(pod, since))
    }
}
