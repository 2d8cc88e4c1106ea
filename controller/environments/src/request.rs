//! The request that puts an environment, and the answer that shows it. Secrets go in and do not come out.

use std::collections::BTreeMap;
use std::fmt;

use cofferdam_contract::{AllowedPods, Resources};
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

/// The compression of image layers that arrive uncompressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageCompression {
    /// `none` for a registry on this server's own machine, else `gzip`.
    #[default]
    Auto,
    Gzip,
    /// Smaller and faster than gzip; the nodes need containerd 1.5, CRI-O 1.20 or later.
    Zstd,
    None,
}

impl ImageCompression {
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// # Errors
    /// Another word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = serde_json::Value::String(text.to_owned());
        serde_json::from_value(word).map_err(|_| "auto, gzip, zstd or none".to_owned())
    }
}

/// All settings of an environment, including the secret ones.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRequest {
    #[serde(flatten)]
    pub settings: Settings,
    #[serde(flatten)]
    pub secrets: Secrets,
}

/// Settings that can be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    #[serde(default)]
    pub kind: EnvironmentKind,
    /// `host[:port][/prefix]` that images are pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// The same registry as the cluster's nodes name it, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_pull: Option<String>,
    /// The registry speaks plain HTTP.
    #[serde(default)]
    pub plain_http: bool,
    /// Certificates (PEM) of the registry's authorities, in addition to the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The user name at the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The context of the kubeconfig. Default: its current context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Default: `cofferdam-agents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `amd64` (the default) or `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class: Option<String>,
    /// Names of Secrets in the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Paths in image layers at which `.env` files and private keys are accepted, which are refused otherwise. `*` matches
    /// any characters: `app/test/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_in_images: Vec<String>,
    /// The compression of layers that arrive uncompressed.
    #[serde(default, skip_serializing_if = "ImageCompression::is_auto")]
    pub compression: ImageCompression,
    /// The resources of an agent that requests none.
    #[serde(default)]
    pub resources: Resources,
    /// Pod settings that deployments may use, besides empty folders.
    #[serde(default, skip_serializing_if = "AllowedPods::is_empty")]
    pub pods: AllowedPods,
    /// The bucket that images are uploaded to. For cloud environments only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A server that speaks AWS' protocols and is not AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The registry is ECR: its repositories are created and its tokens requested.
    #[serde(default)]
    pub ecr: bool,
}

/// Settings that are stored encrypted and never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// The kubeconfig in base64. It must not name files or programs. Without one the environment has no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub kubeconfig: Option<String>,
    /// The password at the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub secret_access_key: Option<String>,
    /// Variables of every agent in the environment.
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

/// The state of an environment's stored settings and secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentState {
    #[default]
    Usable,
    /// Its secrets do not open with this server's encryption key. Nothing can be deployed into it until the key is the one
    /// they were stored with, or the environment is put again.
    Sealed,
    /// Another release wrote its settings or secrets, and this one cannot read them.
    Unreadable,
}

/// An environment without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EnvironmentInfo {
    pub name: String,
    /// Unless it is `usable`, the settings may be missing, and those that tell of secrets are.
    pub state: EnvironmentState,
    #[serde(flatten)]
    pub settings: Settings,
    /// A kubeconfig is set, or the process has found a cluster.
    pub has_cluster: bool,
    pub has_password: bool,
    /// Names of the variables that every agent in the environment gets.
    pub env: Vec<String>,
    /// The environment comes from the server's own settings and cannot be changed by the API.
    pub built_in: bool,
    /// Unix time in seconds.
    pub created_at: i64,
    pub updated_at: i64,
}
