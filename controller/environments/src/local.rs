//! The environment `local`, made from this process's own settings. Every organization has it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cofferdam_cluster::Access;
use cofferdam_contract::{AllowedPods, Resources};
use cofferdam_policy::RegistriesConfig;

use crate::environment::DEFAULT_NAMESPACE;
use crate::{Environment, ImageCompression, Images, Kind, LOCAL};

const NO_CLUSTER: &str = "this server has no cluster to run containers in: start it with KUBECONFIG, run it in a cluster, \
                          or make an environment with a kubeconfig (`cofferdam environment create`) and create the agent \
                          there; images can be uploaded meanwhile, and `start` runs them once there is a cluster";

/// The operator's settings of the environment `local`.
#[derive(Debug, Clone)]
pub struct LocalEnvironment {
    /// `host[:port][/prefix]` that we push to.
    pub images: Option<String>,
    /// The same registry as nodes name it.
    pub images_pull: Option<String>,
    pub plain_http: bool,
    pub namespace: String,
    pub architecture: String,
    pub runtime_class: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// Paths in layers at which `.env` files and private keys are accepted.
    pub allow_in_images: Vec<String>,
    /// The compression of layers that arrive uncompressed.
    pub compression: ImageCompression,
    /// Pod settings that deployments may use.
    pub pods: AllowedPods,
    pub cluster: LocalCluster,
}

/// The cluster of the environment `local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalCluster {
    /// The first file of `KUBECONFIG`, and the context that `COFFERDAM_KUBE_CONTEXT` names.
    Kubeconfig(PathBuf, Option<String>),
    InCluster,
    None,
}

impl Default for LocalEnvironment {
    /// Without a registry and without a cluster.
    fn default() -> Self {
        Self {
            images: None,
            images_pull: None,
            plain_http: false,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            architecture: own_architecture().to_owned(),
            runtime_class: None,
            image_pull_secrets: Vec::new(),
            allow_in_images: Vec::new(),
            compression: ImageCompression::default(),
            pods: AllowedPods::default(),
            cluster: LocalCluster::None,
        }
    }
}

impl LocalEnvironment {
    /// The environment, with the operator's credentials for its registry.
    pub(crate) fn open(self, registries: &RegistriesConfig) -> Environment {
        let host = self.images.as_deref().and_then(|place| place.split('/').next());
        let credentials = host.and_then(|host| registries.find(host)).and_then(|known| known.credentials.clone());
        Environment {
            name: LOCAL.to_owned(),
            kind: Kind::SelfDeployed,
            images: Images {
                repository: self.images,
                pull_repository: self.images_pull,
                plain_http: self.plain_http,
                credentials,
                ca: None,
                allow: self.allow_in_images,
                compression: self.compression,
            },
            cluster: match self.cluster {
                LocalCluster::Kubeconfig(path, context) => Access::Operator { path, context },
                LocalCluster::InCluster => Access::InCluster,
                LocalCluster::None => Access::None(NO_CLUSTER.to_owned()),
            },
            namespace: self.namespace,
            architecture: self.architecture,
            runtime_class: self.runtime_class,
            image_pull_secrets: self.image_pull_secrets,
            env: BTreeMap::new(),
            resources: Resources::default(),
            pods: self.pods,
        }
    }
}

/// This machine's architecture as registries and Kubernetes name it.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cofferdam_core::Secret;
    use cofferdam_policy::KnownRegistry;

    use super::*;

    #[test]
    fn the_registry_gets_the_operators_credentials() {
        let credentials = Some(("robot".to_owned(), Secret::new("hush")));
        let known = KnownRegistry { plain_http: false, credentials };
        let registries = RegistriesConfig::new([("r.example:5000".to_owned(), known)].into(), Duration::from_secs(30));
        let at = |images: &str| LocalEnvironment { images: Some(images.to_owned()), ..LocalEnvironment::default() };
        assert!(at("r.example:5000/agents").open(&registries).images.credentials.is_some());
        assert!(at("r.example/agents").open(&registries).images.credentials.is_none());
        let nothing = LocalEnvironment::default().open(&registries);
        assert!(nothing.images.credentials.is_none() && matches!(nothing.cluster, Access::None(_)));
    }
}
