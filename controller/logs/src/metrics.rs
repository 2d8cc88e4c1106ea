//! Metrics of logs.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Clones count together.
#[derive(Debug, Clone, Default)]
pub struct LogMetrics {
    pub(crate) lines: Counter,
    pub(crate) left_out: Counter,
    pub(crate) write_failures: Counter,
    pub(crate) followers: Gauge,
}

impl LogMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("log_lines", "Lines of agents' logs that were collected", self.lines.clone());
        let help = "Lines of agents' logs beyond the rate that is kept";
        registry.register("log_lines_left_out", help, self.left_out.clone());
        let help = "Writes of agents' logs that the object store did not take";
        registry.register("log_write_failures", help, self.write_failures.clone());
        registry.register("log_followers", "Those who follow agents' logs", self.followers.clone());
    }
}
