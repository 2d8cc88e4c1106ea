//! Connectors: MCP servers whose tools agents may use. The words of the API; values that are secrets go in and never come out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use strum::{EnumString, IntoStaticStr};
use zeroize::Zeroizing;

/// Stands in the place of a value that is stored and not shown. Sent back, it keeps the stored value.
pub const SEALED: &str = "[sealed]";

/// A value that is never shown: serialized and printed it is `[sealed]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Zeroizing<String>);

impl Sealed {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The mark of a stored value.
    pub fn kept() -> Self {
        Self::new(SEALED)
    }

    /// The value itself. Never for a client, a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if this is the mark of a stored value.
    pub fn is_kept(&self) -> bool {
        self.0.as_str() == SEALED
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SEALED)
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SEALED)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An error of another type would repeat the value.
        match serde_json::Value::deserialize(deserializer) {
            Ok(serde_json::Value::String(text)) => Ok(Self::new(text)),
            _ => Err(serde::de::Error::custom("a secret value is a text")),
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Sealed {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Sealed {}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, EnumString)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum McpVersion {
    #[serde(rename = "2025-03-26")]
    #[strum(serialize = "2025-03-26")]
    V20250326,
    #[serde(rename = "2025-06-18")]
    #[strum(serialize = "2025-06-18")]
    V20250618,
    #[serde(rename = "2025-11-25")]
    #[strum(serialize = "2025-11-25")]
    V20251125,
}

impl McpVersion {
    /// The newest one that is spoken.
    pub const NEWEST: Self = Self::V20251125;

    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The credentials that the server wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConnectorAuth {
    /// Everybody, or those who send the connector's headers.
    #[default]
    None,
    /// Those who send a key in a header.
    ApiKey {
        /// `x-api-key` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
        key: Sealed,
    },
    /// Those who send a token in `Authorization`.
    Bearer { token: Sealed },
    /// Those who have logged in at the server's authorization server.
    #[serde(rename = "oauth2")]
    Oauth2 {
        /// The client's id, where the authorization server has given one. By default this server registers itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// It goes to the authorization server `issuer` only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<Sealed>,
        /// The authorization server. Without it the MCP server names one; a `client_secret` needs it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
        /// The scopes to ask for; by default those that the server names.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
        /// Each person logs in for himself. By default one login serves the whole organization.
        #[serde(default)]
        per_person: bool,
    },
}

/// An MCP server whose tools agents may use (`mcp:NAME` in an agent's tools).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorSpec {
    /// The server's endpoint for streamable HTTP.
    pub url: String,
    /// Headers of every request. Values are not shown again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Sealed>,
    #[serde(default)]
    pub auth: ConnectorAuth,
    /// Only tools with these names; `*` stands for any characters. By default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// No tools with these names, even if `only` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Other names for tools: the server's name, and the one that models are offered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Put before the names of tools that `rename` does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Seconds that a call may take: 120 by default, 3,600 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// Seconds without a byte from the server: 60 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// Calls at once: 16 by default, 64 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Authorities in PEM that sign the server's certificate, besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The oldest version of the protocol that is accepted; `2025-03-26` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_protocol: Option<McpVersion>,
}

/// A connector as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorInfo {
    pub name: String,
    pub spec: ConnectorSpec,
    /// Unix time in seconds.
    pub created_at: i64,
    pub updated_at: i64,
}

/// A tool of a connector, as models are offered it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorTool {
    /// The name that models are offered.
    pub name: String,
    /// The server's own name for it.
    pub original: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub description: String,
    pub input_schema: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<serde_json::Value>,
    pub hints: ToolHints,
}

/// The server's own claims about a tool. Nothing proves them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolHints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world: Option<bool>,
}

/// The findings of a test of a connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorReport {
    pub ok: bool,
    /// The first thing that went wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The address at which somebody has to log in first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_url: Option<String>,
    /// The server's name and version, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<McpVersion>,
    pub tools: Vec<ConnectorTool>,
    /// Tools of the server that are not offered, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// The address at which somebody logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorLogin {
    pub url: String,
    /// Unix time in seconds after which the address is of no use.
    pub expires_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_value_is_never_shown() {
        let text = r#"{"url":"https://a.example/mcp","headers":{"x-k":"canary-1"},"auth":{"type":"oauth2","client_secret":"canary-2"}}"#;
        let spec: ConnectorSpec = serde_json::from_str(text).unwrap();
        assert_eq!(spec.headers["x-k"].expose(), "canary-1");
        let shown = format!("{spec:?} {}", serde_json::to_string(&spec).unwrap());
        assert!(!shown.contains("canary") && shown.contains(SEALED), "{shown}");
        let wrong = serde_json::from_str::<ConnectorSpec>(r#"{"url":"u","headers":{"a":123456}}"#).unwrap_err();
        assert!(!wrong.to_string().contains("123456"), "{wrong}");
        assert_eq!(McpVersion::NEWEST.as_str(), "2025-11-25");
    }
}
