//! What an environment is made from and shown as. Secrets go in and do not come out.

use std::collections::BTreeMap;
use std::fmt;

use cofferdam_contract::Resources;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// Images are uploaded to this server, which pushes them to the registry as they arrive.
    #[default]
    SelfDeployed,
    /// Images are uploaded to S3 and streamed into ECR from there.
    Cloud,
}

/// Settings of an environment, the secret ones among them.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRequest {
    #[serde(flatten)]
    pub settings: Settings,
    #[serde(flatten)]
    pub secrets: Secrets,
}

/// Settings that may be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    #[serde(default)]
    pub kind: EnvironmentKind,
    /// `host[:port][/prefix]` that images are pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// The same place as the cluster's nodes name it, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_pull: Option<String>,
    /// Whether the registry speaks plain HTTP.
    #[serde(default)]
    pub plain_http: bool,
    /// Certificates (PEM) that the registry's is signed by, beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The registry's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The context of the kubeconfig; its current one where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// `cofferdam-agents` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `amd64` (where it is left out) or `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class: Option<String>,
    /// Names of Secrets in the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Paths in image layers where `.env` files and private keys are let through, which are refused otherwise. `*`
    /// stands for any characters: `app/test/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_in_images: Vec<String>,
    /// What an agent gets that asks for nothing.
    #[serde(default)]
    pub resources: Resources,
    /// Of a cloud environment: where images are uploaded to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A server that speaks AWS' protocols, other than AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Whether the registry is ECR: its repositories are made and its tokens asked for.
    #[serde(default)]
    pub ecr: bool,
}

/// Settings that are kept encrypted and never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// In base64. It may name neither files nor programs. Without one there is no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub kubeconfig: Option<String>,
    /// The registry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub secret_access_key: Option<String>,
    /// Variables of every agent in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(write_only)]
    pub env: BTreeMap<String, String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secrets]")
    }
}

impl fmt::Debug for EnvironmentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentRequest").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An environment without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EnvironmentInfo {
    pub name: String,
    #[serde(flatten)]
    pub settings: Settings,
    /// Whether a kubeconfig is set, or the process has found a cluster.
    pub has_cluster: bool,
    pub has_password: bool,
    /// Names of the variables that every agent in it gets.
    pub env: Vec<String>,
    /// Whether it comes from the server's own settings and cannot be changed here.
    pub built_in: bool,
    /// Unix time in seconds.
    pub created_at: i64,
    pub updated_at: i64,
}
