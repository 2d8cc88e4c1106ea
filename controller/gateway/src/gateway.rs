//! The gateway itself: what all uplinks of this process share.

use std::sync::Arc;

use cofferdam_core::random;
use cofferdam_identity::Secrets;
use cofferdam_models::Models;
use cofferdam_store::Store;

use crate::admission::{self, Admitted, Pass};
use crate::files::Folders;
use crate::models::ModelCalls;
use crate::token::Tokens;
use crate::upstream::Upstream;
use crate::{Error, GatewayMetrics, GatewaySettings, Resolve, ToolCallsSlot};

/// Carries out the requests of sandboxes.
pub struct Gateway {
    pub(crate) name: String,
    /// Placeholders are made from it.
    key: [u8; 32],
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) settings: GatewaySettings,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) upstream: Upstream,
    pub(crate) models: ModelCalls,
    pub(crate) folders: Folders,
    pub(crate) store: Store,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) tools: ToolCallsSlot,
    pub(crate) metrics: GatewayMetrics,
}

impl Gateway {
    /// `key` is secret and the same at every start: sessions outlive this process, and their placeholders with them.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    #[expect(clippy::too_many_arguments, reason = "each is a service or a setting of its own")]
    pub fn new(
        settings: GatewaySettings,
        key: [u8; 32],
        resolver: Arc<dyn Resolve>,
        models: Arc<Models>,
        store: Store,
        secrets: Arc<Secrets>,
        tools: ToolCallsSlot,
        metrics: GatewayMetrics,
    ) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            name: hex::encode(random::<8>()?),
            key,
            tokens: Arc::default(),
            upstream: Upstream::new(settings.extra_roots.clone()),
            settings,
            resolver,
            models: ModelCalls::new(models),
            folders: Folders::default(),
            store,
            secrets,
            tools,
            metrics,
        }))
    }

    /// 16 hex digits, new at each start. A worker tells the tokens of this gateway from those of another by it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets a run or a call in. Its token is revoked when the returned value is dropped.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn admit(&self, pass: Pass) -> Result<Admitted, Error> {
        admission::admit(&self.name, &self.key, &self.tokens, pass)
    }

    /// The number of tokens that are valid now.
    pub fn admitted(&self) -> usize {
        self.tokens.len()
    }
}
