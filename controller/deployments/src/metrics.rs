//! Metrics of deployments. The composition registers them under the prefix `cofferdam_api`.

use cofferdam_contract::FailureReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeploymentLabels {
    /// `up`, or the reason of the failure.
    outcome: &'static str,
}

/// Counts versions that came up for the first time or failed. Clones share the counters.
#[derive(Debug, Clone)]
pub struct DeploymentMetrics {
    deployments: Family<DeploymentLabels, Counter>,
    durations: Histogram,
}

impl Default for DeploymentMetrics {
    fn default() -> Self {
        Self {
            deployments: Family::default(),
            durations: Histogram::new([0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]),
        }
    }
}

impl DeploymentMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Versions of agents that came up for the first time, or failed";
        registry.register("deployments", help, self.deployments.clone());
        let help = "Time from the making of a version until it serves, its upload included";
        registry.register_with_unit("deployment", help, Unit::Seconds, self.durations.clone());
    }

    /// Counts a version that came up for the first time, `took_s` seconds after it was created.
    pub(crate) fn up(&self, took_s: i64) {
        self.count("up");
        self.durations.observe(u32::try_from(took_s).unwrap_or(0).into());
    }

    /// Counts a version that failed.
    pub(crate) fn failed(&self, reason: FailureReason) {
        self.count(reason.name());
    }

    fn count(&self, outcome: &'static str) {
        self.deployments.get_or_create(&DeploymentLabels { outcome }).inc();
    }
}
