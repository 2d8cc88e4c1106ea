//! Clients of clusters: checks a place's settings, makes its client, and keeps a bounded number of clients. Asks a cluster
//! nothing itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::is_label;
use cofferdam_policy::Cidr;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::held::Room;
use crate::kubernetes::Kubernetes;
use crate::none::NoCluster;
use crate::place::PlaceKey;
use crate::{Access, AnyCluster, ClusterError, Clusters, Place, Workload, kubeconfig, manifests};

/// Clients kept at once.
const MAX_CLIENTS: u64 = 64;
/// A client is replaced after this time, so that an operator's renewed file or a moved cluster is noticed.
const CLIENT_LIFE: Duration = Duration::from_secs(600);
/// The file in which a pod finds its own namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Settings that all clusters of this controller share.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the controller's and the gateway's pods: the only pods that agents may reach.
    pub controller_namespace: Option<String>,
    /// More ranges that agents may reach, for a controller outside their cluster.
    pub egress: Vec<Cidr>,
    /// Loopback and link-local addresses that a caller's kubeconfig may name: `network.private` of the operator's policy.
    pub private: Vec<Cidr>,
    /// The time after which a pod without a node counts as failed, if no autoscaler is at work.
    pub unschedulable_after: Duration,
    /// The time between asking a container to end and killing it.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_namespace: None,
            egress: Vec::new(),
            private: Vec::new(),
            unschedulable_after: Duration::from_secs(30),
            grace: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// The defaults, with the namespace of this process's pod if it runs in one.
    pub fn of_this_pod() -> Self {
        let namespace = std::fs::read_to_string(OWN_NAMESPACE).ok().map(|text| text.trim().to_owned());
        Self { controller_namespace: namespace.filter(|name| is_label(name)), ..Self::default() }
    }
}

/// The settings that a client is made from.
#[derive(Debug, Clone)]
pub(crate) enum ClientSource {
    /// A caller's kubeconfig, already checked.
    HandedOver(Box<kube::Config>),
    Operator {
        path: PathBuf,
        context: Option<String>,
    },
    InCluster,
}

/// Kubernetes clusters, each with its client.
pub struct KubernetesClusters {
    options: Options,
    clients: Cache<PlaceKey, AnyCluster>,
    /// For the answers of all of them.
    room: Room,
}

impl KubernetesClusters {
    pub fn new(options: Options) -> Self {
        let clients = Cache::builder()
            .max_capacity(MAX_CLIENTS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(CLIENT_LIFE)
            .build();
        Self { options, clients, room: Room::new() }
    }
}

impl Clusters for KubernetesClusters {
    fn connect(&self, place: &Place<'_>) -> Result<AnyCluster, ClusterError> {
        if !is_label(place.namespace) {
            return Err(ClusterError::Settings(format!(
                "{:?} is not a valid namespace: use 1 to 63 of a-z, 0-9 and `-`, with a letter or digit first and last",
                place.namespace.chars().take(80).collect::<String>()
            )));
        }
        let key = place.key();
        if let Some(cluster) = self.clients.get(&key) {
            return Ok(cluster);
        }
        let kubernetes = |source| -> AnyCluster {
            Arc::new(Kubernetes::new(source, place.namespace.to_owned(), self.options.clone(), self.room.clone()))
        };
        let cluster: AnyCluster = match place.access {
            Access::Kubeconfig { yaml, context } => {
                let config = kubeconfig::handed_over(yaml.expose(), context.as_deref(), &self.options.private)?;
                kubernetes(ClientSource::HandedOver(Box::new(config)))
            }
            Access::Operator { path, context } => {
                kubernetes(ClientSource::Operator { path: path.clone(), context: context.clone() })
            }
            Access::InCluster => kubernetes(ClientSource::InCluster),
            Access::None(why) => Arc::new(NoCluster::new(why)),
        };
        self.clients.insert(key, Arc::clone(&cluster));
        // Evictions happen here and not at some later call, so that the bound is strict.
        self.clients.run_pending_tasks();
        Ok(cluster)
    }

    fn manifests(&self, namespace: &str, workload: &Workload) -> Result<Vec<serde_json::Value>, ClusterError> {
        manifests::manifests(workload, namespace, &self.options)
    }

    fn check_kubeconfig(&self, yaml: &str, context: Option<&str>) -> Result<(), ClusterError> {
        kubeconfig::check(yaml, context, &self.options.private)
    }
}
