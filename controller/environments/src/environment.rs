//! An environment with its secrets opened: everything that a deployment into it needs.

use std::collections::BTreeMap;

use cofferdam_cluster::Access;
use cofferdam_contract::{AllowedPods, Resources};
use cofferdam_core::Secret;

use crate::ImageCompression;

/// The name of the environment that every organization has.
pub const LOCAL: &str = "local";
/// The namespace of an environment that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "cofferdam-agents";

#[derive(Debug, Clone)]
pub struct Environment {
    pub name: String,
    pub kind: Kind,
    pub images: Images,
    pub cluster: Access,
    pub namespace: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    pub runtime_class: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// Variables of every agent in the environment. An agent's own override them.
    pub env: BTreeMap<String, Secret>,
    /// The resources of an agent that requests none.
    pub resources: Resources,
    /// Pod settings that deployments may use.
    pub pods: AllowedPods,
}

/// The way in which an image gets into the registry. Callers see no difference.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Callers upload to us, and we push the image as it arrives.
    SelfDeployed,
    /// Callers upload to S3 by a presigned link, and the image is streamed into ECR from there.
    Cloud(Cloud),
}

#[derive(Debug, Clone)]
pub struct Cloud {
    pub bucket: String,
    /// The prefix of every object's name: empty, or ends in `/`.
    pub prefix: String,
    pub region: String,
    /// A server that speaks AWS' protocols and is not AWS.
    pub endpoint: Option<String>,
    /// Access key id and secret. `None` for the role of the machine or pod.
    pub credentials: Option<(String, Secret)>,
    /// The registry is ECR: its repositories are created and its tokens requested.
    pub ecr: bool,
}

/// The registry of an environment's images.
#[derive(Debug, Clone)]
pub struct Images {
    /// `host[:port][/prefix]` that we push to. Repositories are `{prefix}/{organization}/{agent}`.
    pub repository: Option<String>,
    /// `host[:port][/prefix]` that nodes pull from, if they know the registry by another name.
    pub pull_repository: Option<String>,
    pub plain_http: bool,
    /// Name and password.
    pub credentials: Option<(String, Secret)>,
    /// Certificates in PEM that are trusted in addition to the system's.
    pub ca: Option<String>,
    /// Paths in layers at which `.env` files and private keys are accepted.
    pub allow: Vec<String>,
    /// The compression of layers that arrive uncompressed.
    pub compression: ImageCompression,
}
