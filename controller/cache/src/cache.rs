//! The door: everything that is fast and forgetful, in one value. Decides nothing but memory or Redis.

use std::sync::Arc;

use cofferdam_core::{ConfigError, Secret};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::limiter::Limiter;
use crate::lookups::Lookups;
use crate::memory::MemoryBus;
use crate::metrics::CacheMetrics;
use crate::redis_bus::RedisBus;
use crate::server;

/// Wake-ups, rates and look-ups of this process, or of all that use the same Redis.
#[derive(Debug, Clone)]
pub struct Cache {
    /// May be replaced by another bus before it is given away.
    pub bus: Arc<dyn Bus>,
    pub limiter: Arc<Limiter>,
    pub lookups: Arc<Lookups>,
    redis: Option<Arc<RedisBus>>,
    metrics: CacheMetrics,
}

impl Cache {
    /// The cache of a process that knows no other.
    pub fn memory() -> Self {
        let metrics = CacheMetrics::default();
        Self {
            bus: Arc::new(MemoryBus::default()),
            limiter: Arc::new(Limiter::new(None, metrics.clone())),
            lookups: Arc::new(Lookups::new(None)),
            redis: None,
            metrics,
        }
    }

    /// The cache over `REDIS_URL`, or in memory without it. Opens no connection: [`Cache::keep`] does, and a Redis that does
    /// not answer is a warning.
    ///
    /// # Errors
    /// The address is none of a Redis; the error names the variable and shows nothing of the address.
    pub fn connect(redis_url: Option<&Secret>) -> Result<Self, ConfigError> {
        let Some(server) = server::server(redis_url)? else { return Ok(Self::memory()) };
        let metrics = CacheMetrics::default();
        let bus = RedisBus::new(Arc::clone(&server), metrics.clone())
            .map_err(|error| ConfigError::value("REDIS_URL", error))?;
        let bus = Arc::new(bus);
        Ok(Self {
            bus: Arc::clone(&bus) as Arc<dyn Bus>,
            limiter: Arc::new(Limiter::new(Some(Arc::clone(&server)), metrics.clone())),
            lookups: Arc::new(Lookups::new(Some(server))),
            redis: Some(bus),
            metrics,
        })
    }

    /// Checks if a Redis joins this process with others.
    pub fn has_redis(&self) -> bool {
        self.redis.is_some()
    }

    /// Adds the metrics to a registry. A process without Redis has none.
    pub fn register(&self, registry: &mut Registry) {
        if self.redis.is_some() {
            self.metrics.register(registry);
        }
    }

    /// Keeps the connections to Redis until it is stopped.
    pub async fn keep(self, stop: CancellationToken) {
        match &self.redis {
            Some(bus) => bus.keep(&stop).await,
            None => stop.cancelled().await,
        }
    }
}
