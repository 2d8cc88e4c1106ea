//! The environment `local`: what this process was told by its operator. Every organization has it.

use std::collections::BTreeMap;

use cofferdam_contract::Resources;

use super::{ClusterAccess, Environment, Images, Kind, LOCAL};
use crate::config::{Config, LocalCluster, credentials_for};

const NO_CLUSTER: &str = "this server has no cluster to run containers in: start it with KUBECONFIG, run it in a \
                          cluster, or put a kubeconfig into an environment (PUT /v1/environments/NAME) and make the \
                          agent there; images can be uploaded meanwhile, and `start` runs them once there is one";

pub(super) fn local(config: &Config) -> Environment {
    let local = &config.agents.local;
    let credentials = local.images.as_deref().and_then(|place| credentials_for(&config.registries, place)).cloned();
    Environment {
        name: LOCAL.to_owned(),
        kind: Kind::SelfDeployed,
        images: Images {
            repository: local.images.clone(),
            pull_repository: local.images_pull.clone(),
            plain_http: local.plain_http,
            credentials,
            ca: None,
            allow: local.allow_in_images.clone(),
        },
        cluster: match &local.cluster {
            LocalCluster::Kubeconfig(path, context) => {
                ClusterAccess::Operator { path: path.clone(), context: context.clone() }
            }
            LocalCluster::InCluster => ClusterAccess::InCluster,
            LocalCluster::None => ClusterAccess::None(NO_CLUSTER.to_owned()),
        },
        namespace: local.namespace.clone(),
        architecture: local.architecture.clone(),
        runtime_class: local.runtime_class.clone(),
        image_pull_secrets: local.image_pull_secrets.clone(),
        env: BTreeMap::new(),
        resources: Resources::default(),
    }
}
