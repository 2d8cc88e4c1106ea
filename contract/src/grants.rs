//! What a run or a tool asks to be allowed. A grant that is not asked for is not given.

use serde::{Deserialize, Serialize};

/// The grants that a run, a session or a tool asks for. Empty by default: no network, no secrets, no tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grants {
    /// Outbound HTTP, host by host.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::object::objects")]
    pub http: Vec<HttpGrant>,
}

impl Grants {
    pub fn is_empty(&self) -> bool {
        self.http.is_empty()
    }
}

/// Outbound HTTP to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HttpGrant {
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
}
