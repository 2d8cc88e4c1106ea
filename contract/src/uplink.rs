//! The uplink: how a worker, which can open no connection, asks the gateway for what a sandbox was granted.
//!
//! The controller connects to the worker (`POST /uplink`, `Connection: upgrade`, `Upgrade:` [`UPGRADE`], answered 101),
//! and on that connection the roles turn round: the worker is the HTTP/2 client, the controller the server. A worker may
//! have uplinks of several controllers; a token begins with the [`GATEWAY_HEADER`] text of the one that made it, up to a
//! dot, and is shown to that one only.
//!
//! Every request is a `POST` with the run's token in [`TOKEN_HEADER`]:
//!
//! | path | request -> response |
//! | --- | --- |
//! | `/http` | an outbound HTTP request: [`METHOD_HEADER`], [`URL_HEADER`], the guest's own headers and body -> the status, headers and body that came back. A refusal of ours has [`REFUSED_HEADER`] and a [`crate::Problem`] as its body |
//! | `/tools` | empty -> list of [`GrantedTool`] that the token may call |
//! | `/tools/{tool}/functions/{function}` | arguments in JSON -> [`crate::ToolOutcome`], or a [`crate::Problem`] with its status |
//! | `/keyvalue` | [`KeyValueRequest`] -> [`KeyValueResponse`] |
//! | `/files/load` | empty -> the tool's folder as an archive (no byte where nothing was kept yet), [`VERSION_HEADER`] |
//! | `/files/save` | an archive, with the [`VERSION_HEADER`] of what it was made from -> empty. The problem `conflict`, and nothing is changed, where that is not what is kept any more |

use serde::{Deserialize, Serialize};

/// The protocol's name in the `Upgrade` header.
pub const UPGRADE: &str = "cofferdam-uplink";
/// On `POST /uplink`: the gateway's own name, 16 hex digits, new at each start of a controller.
pub const GATEWAY_HEADER: &str = "cofferdam-gateway";
pub const TOKEN_HEADER: &str = "cofferdam-token";
pub const METHOD_HEADER: &str = "cofferdam-method";
pub const URL_HEADER: &str = "cofferdam-url";
/// Milliseconds that the guest would wait for a connection; none: as long as the gateway would.
pub const CONNECT_TIMEOUT_HEADER: &str = "cofferdam-connect-timeout-ms";
/// On a response without a body (to `HEAD`, or 304): the upstream's `Content-Length`. HTTP/2 would take that header for
/// the length of the body that follows here.
pub const LENGTH_HEADER: &str = "cofferdam-content-length";
/// On a response: the gateway's word, not the upstream's; the value is the [`RefusedBy`] as text. In the trailers of a
/// response: its body ends here because of that, and what came is not all of it.
pub const REFUSED_HEADER: &str = "cofferdam-refused";
/// Which state of a tool's folder an archive is, or was made from.
pub const VERSION_HEADER: &str = "cofferdam-files-version";
/// A guest can neither send nor see headers that begin so.
pub const RESERVED_PREFIX: &str = "cofferdam-";

/// The most headers of a request or a response, and the bytes of all their names and values together.
pub const MAX_HEADERS: usize = 128;
pub const MAX_HEADER_BYTES: usize = 64 << 10;

/// HTTP/2's flow control on both sides: what one body may have in flight before its reader takes it. The connection's own
/// window is larger than all bodies' together, so that one who reads slowly holds up nobody else.
pub const STREAM_WINDOW: u32 = 256 << 10;
pub const CONNECTION_WINDOW: u32 = 1 << 30;
/// Requests under way on one connection.
pub const MAX_STREAMS: u32 = 1_024;

/// Why the gateway carried a request out no further: enough for a guest's error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedBy {
    /// No grant covers the request, or the operator's policy does not.
    Policy,
    /// The name resolves to a private, loopback, link-local or metadata address.
    PrivateAddress,
    /// The name does not resolve.
    Dns,
    /// Nobody answers there, or TLS fails.
    Connect,
    Timeout,
    /// A body or the headers are larger than granted.
    TooLarge,
    /// The request or the upstream's answer is not HTTP as it should be.
    Malformed,
    /// What was read has changed since.
    Conflict,
    /// The token is not known: the run is over.
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
    /// As MCP has it: `{tool}-{function}`, or just `{tool}` where that has one function.
    pub name: String,
    pub tool: String,
    pub function: crate::ToolFunction,
}

/// One operation on the caller's namespace. Values are in base64.
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
    /// Sets the value only where it still is what was read (`None`: where there is none).
    CompareAndSwap {
        bucket: String,
        key: String,
        old: Option<String>,
        new: String,
    },
}

/// The answer: what the operation has of these.
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
    /// `compare-and-swap`: whether it was swapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<bool>,
}

/// The longest key-value key and value, in bytes.
pub const MAX_KEY_BYTES: usize = 1 << 10;
pub const MAX_VALUE_BYTES: usize = 1 << 20;
