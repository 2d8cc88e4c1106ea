//! From an environment to its cluster: settings are checked, clients are kept by what they were made of, a bounded number
//! of them. Nothing is asked of a cluster here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::kubernetes::Kubernetes;
use super::{AnyCluster, ClusterError, NoCluster, kubeconfig};
use crate::environments::{ClusterAccess, Environment};
use crate::policy::Cidr;

/// Clients kept at once.
const MOST_KEPT: usize = 64;
/// A client is made anew after so long, so that an operator's renewed file or a moved cluster is seen.
const KEPT: Duration = Duration::from_secs(600);
/// Where a pod reads which namespace it is in.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What is the same for all clusters of this controller.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the controller's and the gateway's pods: the only pods that agents may reach.
    pub controller_namespace: Option<String>,
    /// More that agents may reach, for a controller that is not in their cluster.
    pub egress: Vec<Cidr>,
    /// Loopback and link-local addresses that a kubeconfig which was handed over may name: `network.private` of the
    /// operator's policy.
    pub private: Vec<Cidr>,
    /// How long a pod may wait for a node before that counts as a failure, where no autoscaler is at work.
    pub unschedulable_after: Duration,
    /// How long a container may take to end after it was asked to.
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
    /// With the namespace of the pod that this process is in, where it is in one.
    pub fn of_this_pod() -> Self {
        let namespace = std::fs::read_to_string(OWN_NAMESPACE).ok().map(|text| text.trim().to_owned());
        Self { controller_namespace: namespace.filter(|name| is_namespace(name)), ..Self::default() }
    }
}

/// How a client is to be made.
#[derive(Debug, Clone)]
pub(super) enum Access {
    /// Checked already.
    HandedOver(Box<kube::Config>),
    Operator {
        path: PathBuf,
        context: Option<String>,
    },
    InCluster,
}

struct Kept {
    cluster: AnyCluster,
    made: Instant,
    used: Instant,
}

/// Clusters by environment.
#[derive(Default)]
pub struct Clusters {
    options: Options,
    kept: Mutex<HashMap<[u8; 32], Kept>>,
}

impl Clusters {
    pub fn new(options: Options) -> Self {
        Self { options, kept: Mutex::default() }
    }

    /// The cluster of an environment. It is reached at the first question that it is asked.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn connect(&self, environment: &Environment) -> Result<AnyCluster, ClusterError> {
        if let ClusterAccess::None(why) = &environment.cluster {
            return Ok(Arc::new(NoCluster::new(why)));
        }
        let namespace = &environment.namespace;
        if !is_namespace(namespace) {
            return Err(ClusterError::Settings(format!(
                "{:?} is no name of a namespace: 1 to 63 of a-z, 0-9 and `-`, with a letter or digit first and last",
                namespace.chars().take(80).collect::<String>()
            )));
        }
        let key = digest(environment);
        if let Some(kept) = self.kept(&key) {
            return Ok(kept);
        }
        let access = match &environment.cluster {
            ClusterAccess::Kubeconfig { yaml, context } => {
                let config = kubeconfig::handed_over(yaml.expose(), context.as_deref(), &self.options.private)?;
                Access::HandedOver(Box::new(config))
            }
            ClusterAccess::Operator { path, context } => {
                Access::Operator { path: path.clone(), context: context.clone() }
            }
            ClusterAccess::InCluster => Access::InCluster,
            ClusterAccess::None(why) => return Ok(Arc::new(NoCluster::new(why))),
        };
        let cluster: AnyCluster = Arc::new(Kubernetes::new(access, namespace.clone(), self.options.clone()));
        self.keep(key, &cluster);
        Ok(cluster)
    }

    /// Whether an environment's kubeconfig can be used, before it is stored.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn check_kubeconfig(&self, yaml: &str, context: Option<&str>) -> Result<(), ClusterError> {
        kubeconfig::check(yaml, context, &self.options.private)
    }

    fn kept(&self, key: &[u8; 32]) -> Option<AnyCluster> {
        let mut all = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        let kept = all.get_mut(key).filter(|kept| kept.made.elapsed() < KEPT)?;
        kept.used = Instant::now();
        Some(Arc::clone(&kept.cluster))
    }

    fn keep(&self, key: [u8; 32], cluster: &AnyCluster) {
        let mut all = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        all.retain(|_, kept| kept.made.elapsed() < KEPT);
        while all.len() >= MOST_KEPT {
            let Some(oldest) = all.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key) else { break };
            all.remove(&oldest);
        }
        let now = Instant::now();
        all.insert(key, Kept { cluster: Arc::clone(cluster), made: now, used: now });
    }
}

/// What two environments have to have in common to share a client.
fn digest(environment: &Environment) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(environment.namespace.as_bytes());
    let context = match &environment.cluster {
        ClusterAccess::Kubeconfig { yaml, context } => {
            part(b"kubeconfig");
            part(yaml.expose().as_bytes());
            context
        }
        ClusterAccess::Operator { path, context } => {
            part(b"operator");
            part(path.as_os_str().as_encoded_bytes());
            context
        }
        ClusterAccess::InCluster => {
            part(b"in-cluster");
            &None
        }
        ClusterAccess::None(_) => &None,
    };
    part(if context.is_some() { b"context" } else { b"" });
    part(context.as_deref().unwrap_or_default().as_bytes());
    hash.finalize().into()
}

pub(super) fn is_namespace(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().next_back().is_some_and(plain);
    ends && name.len() <= 63 && name.bytes().all(|b| plain(b) || b == b'-')
}
