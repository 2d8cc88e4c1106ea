//! What a run or a tool asks to be allowed. A grant that is not asked for is not given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bounds on what one document may ask for.
pub const MAX_HTTP_GRANTS: usize = 64;
pub const MAX_NAMES: usize = 256;
/// Configuration values: how many, and bytes of all names and values together.
pub const MAX_CONFIG_VALUES: usize = 256;
pub const MAX_CONFIG_BYTES: usize = 128 << 10;
/// Where a sandbox finds the models that it was granted: the gateway answers there, no name server knows it.
pub const LLM_HOST: &str = "llm.cofferdam.internal";

/// The grants that a run, a session or a tool asks for. Empty by default: no network, no secrets, no tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grants {
    /// Outbound HTTP, host by host.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::object::objects")]
    pub http: Vec<HttpGrant>,
    /// Secrets by name. The sandbox gets a placeholder; the value goes out only to the hosts that the secret is bound to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// Deployed tools that may be called, by name; `*` is all that the caller's key may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// A key-value namespace of the tool's own (`wasi:keyvalue`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyvalue: Option<KeyValueGrant>,
    /// A private folder of the tool's own that lasts between calls: `/data` (`wasi:filesystem`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesGrant>,
    /// Values that the tool reads by name (`wasi:config`, and its environment). Not for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Models of the upstream that the operator configured, at `http://llm.cofferdam.internal/v1` (OpenAI's API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmGrant>,
}

impl Grants {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what is granted is carried out beyond the sandbox, by the gateway.
    pub fn needs_gateway(&self) -> bool {
        self.reaches_http() || !self.tools.is_empty() || self.keyvalue.is_some() || self.files.is_some()
    }

    /// Whether there is anything for outbound HTTP to reach.
    pub fn reaches_http(&self) -> bool {
        !self.http.is_empty() || self.llm.is_some()
    }
}

/// Outbound HTTP to one host, or to the hosts below one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HttpGrant {
    /// `api.example.com`, `*.example.com` (the names below it, not itself), an address, each with or without `:port`.
    /// Without one it is 443 for `https` and 80 for `http`.
    pub host: String,
    /// Upper case; every method when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Starts with `/`; matches whole segments: `/v1` covers `/v1` and `/v1/x`, not `/v10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// The longest request body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_request_bytes: Option<u64>,
    /// The longest response body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_response_bytes: Option<u64>,
    /// From the request's start to the end of the response's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The use of one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretGrant {
    /// The secret's name in `/v1/secrets`.
    pub name: String,
    /// The environment variable that holds the placeholder; the secret's own name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

impl SecretGrant {
    pub fn variable(&self) -> &str {
        self.env.as_deref().unwrap_or(&self.name)
    }
}

/// A key-value namespace, bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyValueGrant {
    /// Bytes of all keys and values together.
    pub max_bytes: u64,
    pub max_keys: u64,
}

impl Default for KeyValueGrant {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_keys: 10_000 }
    }
}

/// Where a tool finds its folder.
pub const FOLDER: &str = "/data";
/// The most that a grant of files can say. A call gets all of the folder in memory.
pub const MAX_FOLDER_BYTES: u64 = 64 << 20;
pub const MAX_FOLDER_FILES: u64 = 20_000;

/// A private folder, bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FilesGrant {
    pub read_only: bool,
    /// Contents of files, holes included; at most [`MAX_FOLDER_BYTES`].
    pub max_bytes: u64,
    /// Files, folders and symlinks together; at most [`MAX_FOLDER_FILES`].
    pub max_files: u64,
}

impl FilesGrant {
    /// The longest archive of a folder within such a grant: contents, a number for each 64 KiB, and for each file its
    /// name (255 bytes) and what is written beside it.
    pub fn archive_bytes(&self) -> u64 {
        let pieces = (self.max_bytes / (64 << 10)).saturating_add(self.max_files);
        let names = self.max_files.saturating_mul(320);
        self.max_bytes.saturating_add(pieces.saturating_mul(4)).saturating_add(names).saturating_add(64)
    }

    /// The longest archive that there can be.
    pub const MOST: Self = Self { read_only: false, max_bytes: MAX_FOLDER_BYTES, max_files: MAX_FOLDER_FILES };
}

impl Default for FilesGrant {
    fn default() -> Self {
        Self { read_only: false, max_bytes: 16 << 20, max_files: 1_000 }
    }
}

/// The use of models, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LlmGrant {
    /// By name; `*` is every model that the operator allows.
    pub models: Vec<String>,
    /// The most tokens that one request may ask for, of all its choices together.
    #[serde(default = "LlmGrant::usual_tokens")]
    pub max_tokens: u64,
    /// Requests of one run, or of one call of a tool.
    #[serde(default = "LlmGrant::usual_requests")]
    pub max_requests: u64,
}

impl LlmGrant {
    /// These models, within the usual bounds.
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
