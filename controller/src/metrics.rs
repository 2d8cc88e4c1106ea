//! The controller's own metrics. Labels have bounded values only: routes as templates, never paths, ids or keys.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    pub route: String,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RestartLabels {
    /// `died` or `hung`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GatewayLabels {
    /// `http`, `tools`, `keyvalue`.
    pub service: &'static str,
    /// `ok`, or why it was refused.
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeploymentLabels {
    /// `up`, or why it failed.
    pub outcome: &'static str,
}

/// Of agents' logs. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct LogMetrics {
    pub lines: Counter,
    pub left_out: Counter,
    pub write_failures: Counter,
    pub followers: Gauge,
}

pub struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    pub durations: Family<RouteLabels, Histogram>,
    pub in_flight: Gauge,
    pub restarts: Family<RestartLabels, Counter>,
    pub tool_restarts: Family<RestartLabels, Counter>,
    pub workers_ready: Gauge<i64, AtomicI64>,
    pub gateway: Family<GatewayLabels, Counter>,
    pub deployments: Family<DeploymentLabels, Counter>,
    pub deployment_durations: Histogram,
    pub logs: LogMetrics,
}

fn durations() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cofferdam_api");
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            in_flight: Gauge::default(),
            restarts: Family::default(),
            tool_restarts: Family::default(),
            workers_ready: Gauge::default(),
            gateway: Family::default(),
            deployments: Family::default(),
            deployment_durations: Histogram::new([0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]),
            logs: LogMetrics::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests answered", metrics.requests.clone());
        let help = "Time until the head of the answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, metrics.durations.clone());
        registry.register("requests_in_flight", "Requests whose answer has not begun", metrics.in_flight.clone());
        registry.register("worker_restarts", "Restarts of the local worker", metrics.restarts.clone());
        let help = "Restarts of the local worker of tools";
        registry.register("tool_worker_restarts", help, metrics.tool_restarts.clone());
        registry.register("workers_ready", "Workers that take runs", metrics.workers_ready.clone());
        let help = "What sandboxes asked of the gateway, and how it ended";
        registry.register("gateway_requests", help, metrics.gateway.clone());
        let help = "Versions of agents that came up for the first time, or failed";
        registry.register("deployments", help, metrics.deployments.clone());
        let help = "Time from the making of a version until it serves, its upload included";
        registry.register_with_unit("deployment", help, Unit::Seconds, metrics.deployment_durations.clone());
        registry.register("log_lines", "Lines of agents' logs that were collected", metrics.logs.lines.clone());
        let help = "Lines of agents' logs beyond the rate that is kept";
        registry.register("log_lines_left_out", help, metrics.logs.left_out.clone());
        let help = "Writes of agents' logs that the object store did not take";
        registry.register("log_write_failures", help, metrics.logs.write_failures.clone());
        registry.register("log_followers", "Those who follow agents' logs", metrics.logs.followers.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A version of an agent has come to this.
    pub fn deployed(&self, outcome: &'static str) {
        self.deployments.get_or_create(&DeploymentLabels { outcome }).inc();
    }

    /// Our own text, and the workers' texts after it, under one end mark.
    pub fn text(&self, workers: &[&str]) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        let strip = |text: &str| text.trim_end().trim_end_matches("# EOF").trim_end().to_owned();
        let texts: Vec<String> = std::iter::once(&*text).chain(workers.iter().copied()).map(strip).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        format!("{}\n# EOF\n", texts.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_have_one_end() {
        let metrics = Metrics::default();
        metrics.restarts.get_or_create(&RestartLabels { reason: "died" }).inc();
        let text = metrics.text(&["", "# TYPE a counter\na_total 1\n# EOF\n"]);
        assert!(text.contains("cofferdam_api_worker_restarts_total{reason=\"died\"} 1\n"), "{text}");
        assert!(text.ends_with("a_total 1\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        assert!(!text.contains("\n\n"), "{text}");
    }
}
