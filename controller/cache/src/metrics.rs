//! Metrics of the connection to Redis and of the bus.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Numbers since the start of the process.
#[derive(Debug, Clone, Default)]
pub struct CacheMetrics(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    connected: Gauge,
    reconnects: Counter<u64, AtomicU64>,
    published: Counter<u64, AtomicU64>,
    lost: Counter<u64, AtomicU64>,
    alone: Counter<u64, AtomicU64>,
}

impl CacheMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let numbers = &self.0;
        registry.register(
            "redis_connected",
            "1 while messages of other processes arrive over Redis",
            numbers.connected.clone(),
        );
        registry.register("redis_connections", "Connections made to Redis for messages", numbers.reconnects.clone());
        registry.register("bus_messages", "Messages sent to other processes over Redis", numbers.published.clone());
        registry.register(
            "bus_messages_lost",
            "Messages for other processes that could not be sent",
            numbers.lost.clone(),
        );
        registry.register(
            "limits_checked_alone",
            "Rates that this process checked by itself because Redis did not answer in time",
            numbers.alone.clone(),
        );
    }

    pub(crate) fn connected(&self, yes: bool) {
        self.0.connected.set(i64::from(yes));
        if yes {
            self.0.reconnects.inc();
        }
    }

    pub(crate) fn published(&self, count: usize) {
        self.0.published.inc_by(u64::try_from(count).unwrap_or_default());
    }

    pub(crate) fn lost(&self, count: usize) {
        self.0.lost.inc_by(u64::try_from(count).unwrap_or_default());
    }

    pub(crate) fn alone(&self) {
        self.0.alone.inc();
    }
}
