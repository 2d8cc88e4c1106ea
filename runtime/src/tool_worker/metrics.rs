//! The tool worker's metrics, as Prometheus text. Labels come from fixed sets, never from tools or callers.

use std::fmt::Write;
use std::time::Duration;

use cofferdam_contract::ToolOutcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::ToolWorker;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    status: &'static str,
}

pub(super) struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    seconds: Histogram,
    refused: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("cofferdam_tools");
        let calls = Family::<CallLabels, Counter>::default();
        registry.register("calls", "Calls that ended, by status", calls.clone());
        let seconds = Histogram::new([
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0,
        ]);
        registry.register("call_seconds", "Time from the instance's start to the call's end", seconds.clone());
        let refused = Counter::default();
        registry.register("calls_refused", "Calls refused because too many waited", refused.clone());
        Self { registry, calls, seconds, refused }
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    /// Counts a call. Without an outcome it was refused late, or failed on our side.
    pub(super) fn finished(&self, outcome: Option<&ToolOutcome>, took: Duration) {
        let status = outcome.map_or("refused", |outcome| outcome.status.as_str());
        self.calls.get_or_create(&CallLabels { status }).inc();
        if outcome.is_some() {
            self.seconds.observe(took.as_secs_f64());
        }
    }

    /// All metrics as text.
    pub(super) fn text(&self, worker: &ToolWorker) -> String {
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry);
        let end = text.trim_end().strip_suffix("# EOF").map_or(text.len(), str::len);
        text.truncate(end);
        let (active, waiting) = worker.load();
        let gauges = [
            ("calls_active", "Calls under way", active as u64),
            ("calls_waiting", "Calls that wait for a place", waiting as u64),
            ("components", "Components in memory", worker.components.count() as u64),
            ("code_bytes", "Compiled code of the components in memory, in bytes", worker.components.bytes()),
            ("uplinks", "Connections to gateways", worker.uplinks.count() as u64),
            ("memory_bytes", "What calls take of the memory for all of them, in bytes", worker.memory.used() as u64),
            ("answers_bytes", "What long answers hold until they are sent, in bytes", worker.unsent.bytes()),
            ("files_bytes", "What sandboxes hold in files, in bytes", worker.base.budget.used()),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(text, "# HELP cofferdam_tools_{name} {help}.\n# TYPE cofferdam_tools_{name} gauge");
            let _ = writeln!(text, "cofferdam_tools_{name} {value}");
        }
        text.push_str("# EOF\n");
        text
    }
}
