//! One upstream of models: a provider's API, its keys in turn, and all that a call to it needs: the provider's paths and
//! headers, signatures, a circuit breaker, time-outs, safe dialing, and answers in one shape.
//!
//! Start reading at `upstream.rs`. Never retries, never chooses between upstreams, knows no store and no budgets, follows no
//! redirect, and never shows a key: not in an error, not in the log, not in what an upstream says.

mod answer;
mod ask;
mod aws;
mod bedrock;
mod body;
mod breaker;
mod credential;
mod defaults;
mod dial;
mod error;
mod eventstream;
mod google;
mod headers;
mod keys;
mod kind;
mod members;
mod net;
mod per_model;
mod place;
mod pool;
mod probe;
mod proxy;
mod request;
mod retry_after;
mod scrub;
mod slots;
mod spec;
mod tls;
mod upstream;
mod wire;

pub use answer::{MAX_ANSWER_BYTES, MAX_ERROR_BYTES};
pub use ask::{Ask, Closed, Content, Sent, Served};
pub use body::UpstreamBody;
pub use credential::Credential;
pub use error::{BodyError, Protocol, SendError, Stage, TlsFailure};
pub use eventstream::{BadFrame, Decoder, MAX_FRAME_BYTES};
pub use headers::hops;
pub use kind::{Kind, Service};
pub use net::{Addresses, Net, Owner, Resolve};
pub use probe::TestReport;
pub use proxy::EnvironmentProxy;
pub use scrub::{MIN_KEY_BYTES, Scrub};
pub use spec::{ModelSpec, UpstreamSpec};
pub use upstream::{MAX_KEYS, Upstream};
