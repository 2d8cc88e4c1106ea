//! MCP servers whose tools agents may use: the client's side of streamable HTTP, the tools as models are offered them, and
//! logins by OAuth.
//!
//! Never calls a tool twice by itself once a request may have arrived; never dials an address that it has not judged; never
//! shows a credential. Start reading at `connectors.rs`, `link.rs` and `exchange.rs`.

mod breaker;
mod challenge;
mod clean;
mod connectors;
mod credentials;
mod error;
mod exchange;
mod hidden;
mod http;
mod link;
mod listener;
mod listing;
mod names;
mod net;
mod oauth;
mod place;
mod result;
mod rpc;
mod spec;
mod sse;
mod wire;

pub use connectors::{CallOptions, Connectors, MAX_CONNECTORS, MAX_PAGE};
pub use error::{CallError, ConnectorError};
pub use exchange::{OnProgress, Progress};
pub use listing::{MAX_SCHEMA_BYTES, MAX_TOOLS, MAX_TOOLS_BYTES, ToolList};
pub use net::{Addresses, Net, Resolve};
pub use oauth::{Browser, Finished, LoginAnswer, LoginError, LoginShown};
pub use result::{MAX_RESULT_CHARACTERS, ToolResult};
