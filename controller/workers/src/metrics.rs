//! Restarts of the workers on this machine, by reason.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RestartLabels {
    /// `died`, `hung` or `unprepared`.
    pub reason: &'static str,
}

pub(crate) type Restarts = Family<RestartLabels, Counter>;

/// Restarts of the workers on this machine. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct RestartMetrics {
    pub(crate) worker: Restarts,
    pub(crate) tool_worker: Restarts,
}

impl RestartMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("worker_restarts", "Restarts of the local worker", self.worker.clone());
        let help = "Restarts of the local worker of tools";
        registry.register("tool_worker_restarts", help, self.tool_worker.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_have_the_names_that_dashboards_know() {
        let (metrics, mut registry) = (RestartMetrics::default(), Registry::with_prefix("cofferdam_api"));
        metrics.register(&mut registry);
        metrics.worker.get_or_create(&RestartLabels { reason: "died" }).inc();
        metrics.tool_worker.get_or_create(&RestartLabels { reason: "hung" }).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("cofferdam_api_worker_restarts_total{reason=\"died\"} 1\n"), "{text}");
        assert!(text.contains("cofferdam_api_tool_worker_restarts_total{reason=\"hung\"} 1\n"), "{text}");
    }
}
