//! The gateway: the only way out of a sandbox. A worker sends requests over its uplink with a run's token; the gateway
//! carries out the requests that the token's grants cover, because it alone has the secrets, the resolver and the
//! routes.
//!
//! It trusts no worker: a request can do what its token allows and nothing else, a token is 128 random bits, and every
//! length is bounded. It never follows a redirect, keeps a cookie, reads a proxy from the environment, or dials an
//! address that it has not checked. Start reading at `serve.rs` (services and tokens) and `outbound.rs` (the path of a
//! request).

mod admission;
mod body;
mod config;
mod covers;
mod error;
mod files;
mod gateway;
mod headers;
mod kept;
mod keyvalue;
mod lifeline;
mod metrics;
mod models;
mod outbound;
mod refusal;
mod resolve;
mod secrets;
mod serve;
mod services;
mod settings;
mod target;
mod tls;
mod token;
mod tools;
mod uplink;
mod upstream;

pub use admission::{Admitted, Pass};
pub use config::GatewayConfig;
pub use error::Error;
pub use gateway::Gateway;
pub use metrics::GatewayMetrics;
pub use resolve::{Addresses, Resolve, SystemResolver};
pub use settings::{Caps, GatewaySettings, read_roots};
pub use target::Target;
pub use tools::{ToolCallError, ToolCalls, ToolCallsSlot};
pub use uplink::{Uplink, keep_uplink, uplinks};
