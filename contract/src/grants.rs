//! The capabilities that a run or a tool asks for. A grant that is not requested is not given.

mod kind;

use std::collections::BTreeMap;

pub use kind::GrantKind;
use serde::{Deserialize, Serialize};

/// Bounds on the grants of one request.
pub const MAX_HTTP_GRANTS: usize = 64;
pub const MAX_NAMES: usize = 256;
/// The most configuration values, and the most bytes of all names and values together.
pub const MAX_CONFIG_VALUES: usize = 256;
pub const MAX_CONFIG_BYTES: usize = 128 << 10;
/// The host that serves granted models. Only the gateway knows it; it is not in DNS.
pub const LLM_HOST: &str = "llm.cofferdam.internal";

/// The grants of a run, a session or a tool. Empty by default: no network, no secrets, no tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grants {
    /// Outbound HTTP, by host.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::object::objects")]
    pub http: Vec<HttpGrant>,
    /// Secrets by name. The sandbox gets a placeholder, which the gateway replaces by the value for hosts that the
    /// secret is bound to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// Deployed tools that may be called, by name. `*` means every tool that the caller's key may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// A key-value namespace owned by the tool (`wasi:keyvalue`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyvalue: Option<KeyValueGrant>,
    /// A private folder at `/data` that persists between calls (`wasi:filesystem`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesGrant>,
    /// Configuration values for the tool (`wasi:config` and environment variables). Not for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Models, served at `http://llm.cofferdam.internal` with OpenAI's API and Anthropic's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmGrant>,
}

/// Outbound HTTP to one host, or to all subdomains of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HttpGrant {
    /// `api.example.com`, `*.example.com` (its subdomains, not the name itself) or an IP address, optionally with
    /// `:port`. The default port is 443 for `https` and 80 for `http`.
    pub host: String,
    /// Allowed methods in upper case. All methods if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Starts with `/` and matches whole segments: `/v1` covers `/v1` and `/v1/x`, not `/v10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Those of `GET`, `HEAD`, `DELETE` and `OPTIONS` whose requests may have a body. None if absent: a server that
    /// leaves such a body unread would take it for a further request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body_methods: Vec<String>,
    /// The longest request body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_request_bytes: Option<u64>,
    /// The longest response body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_response_bytes: Option<u64>,
    /// From the start of the request to the end of the response body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Permission to use one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretGrant {
    /// The secret's name in `/v1/secrets`.
    pub name: String,
    /// The environment variable that holds the placeholder. Defaults to the secret's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

impl SecretGrant {
    pub fn variable(&self) -> &str {
        self.env.as_deref().unwrap_or(&self.name)
    }
}

/// A key-value namespace with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyValueGrant {
    /// Total bytes of all keys and values.
    pub max_bytes: u64,
    pub max_keys: u64,
}

impl Default for KeyValueGrant {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_keys: 10_000 }
    }
}

/// The mount point of a tool's folder.
pub const FOLDER: &str = "/data";
/// The upper bounds of a files grant. A call holds the whole folder in memory.
pub const MAX_FOLDER_BYTES: u64 = 64 << 20;
pub const MAX_FOLDER_FILES: u64 = 20_000;

/// A private folder with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FilesGrant {
    pub read_only: bool,
    /// Total size of all files, holes included; at most [`MAX_FOLDER_BYTES`].
    pub max_bytes: u64,
    /// Number of files, folders and symlinks; at most [`MAX_FOLDER_FILES`].
    pub max_files: u64,
}

impl FilesGrant {
    /// The longest archive of a folder within this grant: contents, one number for each 64 KiB, and for each file its
    /// name (255 bytes) and metadata.
    pub fn archive_bytes(&self) -> u64 {
        let pieces = (self.max_bytes / (64 << 10)).saturating_add(self.max_files);
        let names = self.max_files.saturating_mul(320);
        self.max_bytes.saturating_add(pieces.saturating_mul(4)).saturating_add(names).saturating_add(64)
    }

    /// The largest grant.
    pub const MAXIMUM: Self = Self { read_only: false, max_bytes: MAX_FOLDER_BYTES, max_files: MAX_FOLDER_FILES };
}

impl Default for FilesGrant {
    fn default() -> Self {
        Self { read_only: false, max_bytes: 16 << 20, max_files: 1_000 }
    }
}

/// Access to models, with its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LlmGrant {
    /// Model names, letter by letter. `*` alone means every model that the operator allows.
    pub models: Vec<String>,
    /// The most tokens that one request may ask for, over all of its choices.
    #[serde(default = "LlmGrant::usual_tokens")]
    pub max_tokens: u64,
    /// The most requests of one run or tool call.
    #[serde(default = "LlmGrant::usual_requests")]
    pub max_requests: u64,
}

impl LlmGrant {
    /// A grant for these models with the default bounds.
    pub fn of(models: Vec<String>) -> Self {
        Self { models, max_tokens: Self::usual_tokens(), max_requests: Self::usual_requests() }
    }

    fn usual_tokens() -> u64 {
        4_096
    }

    fn usual_requests() -> u64 {
        100
    }
}
