//! Clusters as their environments say, with what is the same for all of them: what the operator allows.

use futures_util::future::BoxFuture;

use super::Clusters;
use crate::cluster::{self, AnyCluster, ClusterError, Options};
use crate::config::AgentsConfig;
use crate::environments::Environment;
use crate::policy::OperatorPolicy;

pub struct Direct(cluster::Clusters);

impl Direct {
    pub fn new(config: &AgentsConfig, policy: &OperatorPolicy) -> Self {
        let options = Options {
            egress: config.egress.clone(),
            private: policy.network.private.clone(),
            ..Options::of_this_pod()
        };
        Self(cluster::Clusters::new(options))
    }
}

impl Clusters for Direct {
    fn connect<'a>(&'a self, environment: &'a Environment) -> BoxFuture<'a, Result<AnyCluster, ClusterError>> {
        // Made of settings alone; reached when it is asked something.
        Box::pin(std::future::ready(self.0.connect(environment)))
    }

    fn check(&self, kubeconfig: &str, context: Option<&str>) -> Result<(), ClusterError> {
        self.0.check_kubeconfig(kubeconfig, context)
    }
}
