//! Lists the container runtimes of a cluster's nodes, as the kubelets report them. Reads nothing else of a node.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use serde::Deserialize;

use crate::ClusterError;
use crate::kubernetes::Kubernetes;
use crate::wire::Listed;

/// Nodes on one page, and pages of the list.
const PAGE: u32 = 500;
const MAX_PAGES: usize = 20;
/// The longest name and version of a runtime.
const MAX_RUNTIME: usize = 64;

#[derive(Deserialize)]
struct Reported {
    #[serde(default)]
    status: Option<NodeStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeStatus {
    node_info: Option<NodeInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeInfo {
    container_runtime_version: Option<String>,
}

impl Kubernetes {
    pub(crate) async fn node_runtimes(&self) -> Result<Vec<String>, ClusterError> {
        let wire = self.wire().await?;
        let path = <Node as kube::Resource>::url_path(&(), None);
        let nodes = wire.list::<Reported>(&path, ListParams::default().limit(PAGE), Listed::Objects, MAX_PAGES).await;
        let mut nodes = nodes.map_err(|e| self.explained(wire, e, "list", "Node"))?;
        let found: BTreeSet<String> = nodes.drain(..).map(runtime).collect();
        Ok(found.into_iter().collect())
    }
}

/// Empty for a node that does not report it.
fn runtime(node: Reported) -> String {
    let version = node.status.unwrap_or_default().node_info.unwrap_or_default().container_runtime_version;
    version.filter(|version| version.len() <= MAX_RUNTIME).unwrap_or_default()
}
