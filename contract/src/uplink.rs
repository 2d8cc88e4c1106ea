//! The uplink: the connection over which a worker, which cannot open connections, sends granted requests to the
//! gateway.
//!
//! The controller connects to the worker (`POST /uplink`, `Connection: upgrade`, `Upgrade:` [`UPGRADE`], answered 101),
//! and on that connection the roles swap: the worker is the HTTP/2 client, the controller the server. A worker may have
//! uplinks to several controllers. A token begins with the [`GATEWAY_HEADER`] value of the controller that issued it
//! and a dot, and is sent to that controller only.
//!
//! Every request is a `POST` with the run's token in [`TOKEN_HEADER`]:
//!
//! | path | request -> response |
//! | --- | --- |
//! | `/http` | an outbound HTTP request: [`METHOD_HEADER`], [`URL_HEADER`], the guest's own headers and body -> the status, headers and body that came back. The gateway's own refusal has [`REFUSED_HEADER`] and a [`crate::Problem`] as its body |
//! | `/tools` | empty -> list of [`GrantedTool`]s that the token may call |
//! | `/tools/{tool}/functions/{function}` | arguments in JSON -> [`crate::ToolOutcome`], or a [`crate::Problem`] with its status |
//! | `/keyvalue` | [`KeyValueRequest`] -> [`KeyValueResponse`] |
//! | `/files/load` | empty -> the tool's folder as an archive (empty if nothing was saved yet), [`VERSION_HEADER`] |
//! | `/files/save` | an archive, with the [`VERSION_HEADER`] that it was made from -> empty. If that is no longer the current version, the problem `conflict` and no change |

use serde::{Deserialize, Serialize};

/// The protocol's name in the `Upgrade` header.
pub const UPGRADE: &str = "cofferdam-uplink";
/// On `POST /uplink`: the gateway's own name, 16 hex digits, new at each start of a controller.
pub const GATEWAY_HEADER: &str = "cofferdam-gateway";
pub const TOKEN_HEADER: &str = "cofferdam-token";
pub const METHOD_HEADER: &str = "cofferdam-method";
pub const URL_HEADER: &str = "cofferdam-url";
/// The guest's connect timeout in milliseconds. Absent: the gateway's default.
pub const CONNECT_TIMEOUT_HEADER: &str = "cofferdam-connect-timeout-ms";
/// On a response without a body (to `HEAD`, or 304): the upstream's `Content-Length`. HTTP/2 would read that header as
/// the length of the body that follows here.
pub const LENGTH_HEADER: &str = "cofferdam-content-length";
/// On a response: the gateway produced it, not the upstream, and the value is the [`RefusedBy`] as text. In trailers:
/// the body was cut off for that reason.
pub const REFUSED_HEADER: &str = "cofferdam-refused";
/// The version of a tool's folder that an archive holds, or was made from.
pub const VERSION_HEADER: &str = "cofferdam-files-version";
/// Guests can neither send nor see headers with this prefix.
pub const RESERVED_PREFIX: &str = "cofferdam-";

/// The most headers of a request or response, and the most bytes of all names and values together.
pub const MAX_HEADERS: usize = 128;
pub const MAX_HEADER_BYTES: usize = 64 << 10;
/// The longest URL of a guest's request, in bytes.
pub const MAX_URL_BYTES: usize = 16 << 10;
/// The most bytes of a head as HTTP/2 counts it: names, values, and 32 for each header; the gateway's own included. A
/// longer head costs the whole connection, so both sides check it before they send.
pub const MAX_HEADER_LIST: u32 = 2 * MAX_HEADER_BYTES as u32;

/// HTTP/2 flow control on both sides: the bytes of one body in flight before its reader takes them. The connection's
/// window is larger than all streams' windows together, so a slow reader does not block the others.
pub const STREAM_WINDOW: u32 = 256 << 10;
pub const CONNECTION_WINDOW: u32 = 1 << 30;
/// Concurrent requests on one connection.
pub const MAX_STREAMS: u32 = 1_024;

/// Why the gateway stopped a request, in enough detail for the guest's error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedBy {
    /// No grant covers the request, or the operator's policy forbids it.
    Policy,
    /// The name resolves to a private, loopback, link-local or metadata address.
    PrivateAddress,
    /// The name does not resolve.
    Dns,
    /// The connection or the TLS handshake failed.
    Connect,
    Timeout,
    /// The body or the headers exceed the grant.
    TooLarge,
    /// The request or the upstream's response is not valid HTTP.
    Malformed,
    /// The data has changed since it was read.
    Conflict,
    /// The token is unknown: the run is over.
    Token,
    /// Our failure.
    Internal,
}

impl RefusedBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::PrivateAddress => "private-address",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Conflict => "conflict",
            Self::Token => "token",
            Self::Internal => "internal",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Policy,
            Self::PrivateAddress,
            Self::Dns,
            Self::Connect,
            Self::Timeout,
            Self::TooLarge,
            Self::Malformed,
            Self::Conflict,
            Self::Token,
            Self::Internal,
        ]
        .into_iter()
        .find(|by| by.as_str() == text)
    }
}

/// A function that a token may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrantedTool {
    /// The name as in MCP: `{tool}-{function}`, or just `{tool}` for a tool with one function.
    pub name: String,
    pub tool: String,
    pub function: crate::ToolFunction,
}

/// One operation on the caller's namespace. Values are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyValueRequest {
    Get {
        bucket: String,
        key: String,
    },
    Set {
        bucket: String,
        key: String,
        value: String,
    },
    Delete {
        bucket: String,
        key: String,
    },
    Exists {
        bucket: String,
        key: String,
    },
    ListKeys {
        bucket: String,
        #[serde(default)]
        cursor: Option<String>,
    },
    Increment {
        bucket: String,
        key: String,
        delta: i64,
    },
    /// Sets the value only if it still equals the value that was read (`None`: the key is absent).
    CompareAndSwap {
        bucket: String,
        key: String,
        old: Option<String>,
        new: String,
    },
}

/// The answer. Only the fields of the operation are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValueResponse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    /// For `compare-and-swap`: true if the value was swapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<bool>,
}

/// The longest key and value, in bytes.
pub const MAX_KEY_BYTES: usize = 1 << 10;
pub const MAX_VALUE_BYTES: usize = 1 << 20;
