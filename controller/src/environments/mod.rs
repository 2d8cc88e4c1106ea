//! Environments: where an organization's agents run and where their images lie. One named `local` comes from this
//! process's own settings; others are kept in the store, their secrets sealed. It pushes nothing and applies nothing.

mod check;
mod local;
mod names;
mod request;
mod stored;

use std::collections::BTreeMap;

use cofferdam_contract::Resources;

use crate::config::Secret;

pub(crate) use names::path_part;
pub use request::{EnvironmentInfo, EnvironmentKind, EnvironmentRequest, Secrets, Settings};
pub use stored::{delete, find, list, put, show};

/// The environment that every organization has.
pub const LOCAL: &str = "local";

/// All that deploying into one environment needs, opened.
#[derive(Debug, Clone)]
pub struct Environment {
    pub name: String,
    pub kind: Kind,
    pub images: Images,
    pub cluster: ClusterAccess,
    pub namespace: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    pub runtime_class: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// Variables of every agent in it; an agent's own come after them.
    pub env: BTreeMap<String, Secret>,
    /// What an agent gets that asks for nothing.
    pub resources: Resources,
}

/// How an image gets into the registry. No caller can tell them apart.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Uploaded to us, pushed as it arrives.
    SelfDeployed,
    /// Uploaded to S3 by a presigned link, streamed into ECR.
    Cloud(Cloud),
}

#[derive(Debug, Clone)]
pub struct Cloud {
    pub bucket: String,
    /// Before each object's name; empty or ending in `/`.
    pub prefix: String,
    pub region: String,
    /// Other than AWS' own: a server that speaks its protocols.
    pub endpoint: Option<String>,
    /// Access key id and secret; the role of the machine or pod where there are none.
    pub credentials: Option<(String, Secret)>,
    /// Whether ECR's repository is made, and its token asked for. Not for other registries.
    pub ecr: bool,
}

/// Where images are pushed and pulled.
#[derive(Debug, Clone)]
pub struct Images {
    /// `host[:port][/prefix]` that we push to; repositories are `{prefix}/{organization}/{agent}`.
    pub repository: Option<String>,
    /// `host[:port][/prefix]` that nodes pull from, where that is another name of the same place.
    pub pull_repository: Option<String>,
    pub plain_http: bool,
    pub credentials: Option<(String, Secret)>,
    /// PEM; beside the system's own.
    pub ca: Option<String>,
    /// Where in layers `.env` files and private keys are let through.
    pub allow: Vec<String>,
}

/// How the cluster is reached.
#[derive(Debug, Clone)]
pub enum ClusterAccess {
    /// A kubeconfig that was handed over: it may not name files or programs.
    Kubeconfig { yaml: Secret, context: Option<String> },
    /// The operator's own: the file of `KUBECONFIG`.
    Operator { path: std::path::PathBuf, context: Option<String> },
    /// The service account of this pod.
    InCluster,
    /// There is none; why, and what to do.
    None(String),
}
