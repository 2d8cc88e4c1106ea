//! The gateway: the only way out of a sandbox. A worker asks over its uplink with a run's token; what the token's grants
//! cover is carried out here, where the secrets, the resolver and the routes are.
//!
//! It trusts no worker: whatever one sends is worth what the token in it allows, a token is 128 random bits, and every
//! length is bounded. It follows no redirect, keeps no cookie, reads no proxy from the environment, and dials no address
//! that it has not judged. Start reading at `serve.rs` (who asks for what) and `outbound.rs` (a request's walk).

mod address;
mod admission;
mod body;
mod covers;
mod files;
mod headers;
mod kept;
mod keyvalue;
mod lifeline;
mod llm;
mod outbound;
mod refusal;
mod replace;
mod resolve;
mod scrub;
mod secrets;
mod serve;
mod settings;
mod target;
mod tls;
mod token;
mod tools;
mod uplink;
mod upstream;

use std::sync::Arc;

pub use address::{is_public, to_dial};
pub use admission::{Admitted, Pass};
pub use llm::{Models, NO_MODELS};
pub(crate) use replace::{Finder, Replacement};
pub use resolve::{Addresses, Resolve, SystemResolver};
pub(crate) use scrub::forms;
pub use settings::{Caps, GatewaySettings, read_roots};
pub use target::Target;
pub use uplink::{Uplink, keep_uplink, uplinks};

use crate::Error;
use crate::auth::hex;
use crate::clock::random;

/// What all uplinks of this process share.
pub struct Gateway {
    name: String,
    /// What placeholders are made from.
    key: [u8; 32],
    tokens: Arc<token::Tokens>,
    settings: GatewaySettings,
    resolver: Arc<dyn Resolve>,
    upstream: upstream::Upstream,
    models: Option<Models>,
    /// What archives of tools' folders may take of this process.
    folders: Arc<tokio::sync::Semaphore>,
}

impl Gateway {
    /// `key` is secret and the same at every start: sessions outlive this process, and their placeholders with them.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn new(
        settings: GatewaySettings,
        key: [u8; 32],
        resolver: Arc<dyn Resolve>,
        models: Option<Models>,
    ) -> Result<Self, Error> {
        let upstream = upstream::Upstream::new(settings.extra_roots.clone());
        let (name, folders) = (hex(&random::<8>()?), files::places());
        Ok(Self { name, key, tokens: Arc::default(), settings, resolver, upstream, models, folders })
    }

    /// Whether the operator has configured an upstream of models.
    pub fn has_models(&self) -> bool {
        self.models.is_some()
    }

    /// 16 hex digits, new at each start: how a worker tells this gateway's tokens from another's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets a run or a call in. What it gets is revoked when the answer is dropped.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn admit(&self, pass: Pass) -> Result<Admitted, Error> {
        admission::admit(&self.name, &self.key, &self.tokens, pass)
    }

    /// Tokens that are good now.
    pub fn admitted(&self) -> usize {
        self.tokens.len()
    }
}
