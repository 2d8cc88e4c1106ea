//! The worker's metrics, as Prometheus text. Labels come from fixed sets, never from guests or callers.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::{Language, Outcome, Status};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Worker;
use crate::kernel::pool::PoolStats;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    language: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LanguageLabels {
    language: &'static str,
}

/// A counter of a pool.
type Count = fn(&PoolStats) -> &AtomicU64;

/// The worker's counters.
pub(crate) struct Metrics {
    registry: Registry,
    runs: Family<RunLabels, Counter>,
    limits: Family<LimitLabels, Counter>,
    seconds: Family<LanguageLabels, Histogram>,
    refused: AtomicU64,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("cofferdam_worker");
        let runs = Family::<RunLabels, Counter>::default();
        registry.register("runs", "Runs that ended, by language and status", runs.clone());
        let limits = Family::<LimitLabels, Counter>::default();
        registry.register("limits_hit", "Runs that a limit stopped, by limit", limits.clone());
        let seconds = Family::<LanguageLabels, Histogram>::new_with_constructor(|| {
            Histogram::new([0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0])
        });
        registry.register("run_seconds", "Run time from birth to end, in seconds", seconds.clone());
        Self { registry, runs, limits, seconds, refused: AtomicU64::new(0) }
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a run. Without an outcome it failed on our side or was refused late.
    pub(super) fn finished(&self, language: Language, outcome: Option<&Outcome>, took: Duration) {
        let language = language.as_str();
        let status = outcome.map_or("failed", |outcome| outcome.status.as_str());
        self.runs.get_or_create(&RunLabels { language, status }).inc();
        self.seconds.get_or_create(&LanguageLabels { language }).observe(took.as_secs_f64());
        let limited = outcome.filter(|outcome| matches!(outcome.status, Status::Limit | Status::Timeout));
        if let Some(error) = limited.and_then(|outcome| outcome.error.as_ref()) {
            let known = cofferdam_contract::LimitName::parse(&error.name).is_some();
            if known {
                self.limits.get_or_create(&LimitLabels { limit: error.name.clone() }).inc();
            }
        }
    }

    /// All metrics as text.
    pub(super) fn text(&self, worker: &Worker) -> String {
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry);
        let text_end = text.trim_end().strip_suffix("# EOF").map_or(text.len(), str::len);
        text.truncate(text_end);
        let (active, waiting) = worker.admission.load();
        let (live, suspended) = worker.sessions.count();
        let gauges = [
            ("runs_active", "Runs under way", active as u64),
            ("runs_waiting", "Runs that wait for a place", waiting as u64),
            ("sessions_live", "Sessions in memory", live as u64),
            ("sessions_suspended", "Sessions on disk", suspended as u64),
            ("files_bytes", "What sandboxes hold in files, in bytes", worker.budget.used()),
            ("answers_bytes", "What long answers hold until they are sent, in bytes", worker.unsent.bytes()),
            ("state_bytes", "Suspended sessions and snapshots on disk, in bytes", worker.sessions.disk_bytes()),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(text, "# HELP cofferdam_worker_{name} {help}.\n# TYPE cofferdam_worker_{name} gauge");
            let _ = writeln!(text, "cofferdam_worker_{name} {value}");
        }
        let _ = writeln!(text, "# HELP cofferdam_worker_runs_refused Runs refused because too many waited.");
        let _ = writeln!(text, "# TYPE cofferdam_worker_runs_refused counter");
        let _ = writeln!(text, "cofferdam_worker_runs_refused_total {}", self.refused.load(Ordering::Relaxed));
        self.slots(worker, &mut text);
        text.push_str("# EOF\n");
        text
    }

    /// The slots of each kernel: how often one was reused, and the cost of private image pages.
    fn slots(&self, worker: &Worker, text: &mut String) {
        let counters: [(&str, &str, Count); 4] = [
            ("slots_reused", "Births in a kept memory slot", |stats| &stats.reused),
            ("slots_mapped", "Births in a new mapping", |stats| &stats.mapped),
            ("slots_spoiled", "Slots whose reset failed or was found incomplete", |stats| &stats.spoiled),
            ("image_faults", "Image pages that runs had made private when their slot was reset", |stats| {
                &stats.private_pages
            }),
        ];
        for (name, help, value) in counters {
            let _ = writeln!(text, "# HELP cofferdam_worker_{name} {help}.\n# TYPE cofferdam_worker_{name} counter");
            for kernel in &worker.kernels {
                let count = value(&kernel.slots().stats).load(Ordering::Relaxed);
                let _ = writeln!(text, "cofferdam_worker_{name}_total{{kernel=\"{}\"}} {count}", kernel.name());
            }
        }
    }
}
