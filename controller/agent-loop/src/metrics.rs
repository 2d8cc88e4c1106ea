//! Metrics of the loop. Labels have bounded values only.

use cofferdam_contract::work::TaskStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    status: &'static str,
    why: &'static str,
}

/// Clones count together.
#[derive(Debug, Clone)]
pub struct LoopMetrics {
    ended: Family<EndLabels, Counter>,
    pub(crate) running: Gauge,
    pub(crate) steps: Counter,
    pub(crate) tool_calls: Counter,
    pub(crate) tool_errors: Counter,
    pub(crate) bad_calls: Counter,
    pub(crate) retries: Counter,
    pub(crate) unknown_outcomes: Counter,
    pub(crate) compactions: Counter,
    hand_out: Histogram,
}

impl Default for LoopMetrics {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            running: Gauge::default(),
            steps: Counter::default(),
            tool_calls: Counter::default(),
            tool_errors: Counter::default(),
            bad_calls: Counter::default(),
            retries: Counter::default(),
            unknown_outcomes: Counter::default(),
            compactions: Counter::default(),
            hand_out: Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0]),
        }
    }
}

impl LoopMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("agent_tasks_ended", "Tasks that this process ended", self.ended.clone());
        registry.register("agent_tasks_running", "Tasks that this process runs", self.running.clone());
        registry.register("agent_steps", "Calls of models that were answered", self.steps.clone());
        registry.register("agent_tool_calls", "Tool calls that were made", self.tool_calls.clone());
        registry.register("agent_tool_errors", "Tool calls whose result is an error", self.tool_errors.clone());
        let help = "Tool calls that could not be made: unknown tools, arguments that do not fit";
        registry.register("agent_bad_tool_calls", help, self.bad_calls.clone());
        registry.register("agent_model_retries", "Calls of models that were tried again", self.retries.clone());
        let help = "Tool calls whose outcome is unknown";
        registry.register("agent_unknown_outcomes", help, self.unknown_outcomes.clone());
        registry.register("agent_compactions", "Threads whose context was compacted", self.compactions.clone());
        let help = "Time from a task's place in the queue to the first step of a worker";
        registry.register_with_unit("agent_hand_out", help, Unit::Seconds, self.hand_out.clone());
    }

    pub(crate) fn ended(&self, status: TaskStatus, why: Option<cofferdam_contract::work::Why>) {
        let why = why.map_or("", cofferdam_contract::work::Why::name);
        self.ended.get_or_create(&EndLabels { status: status.name(), why }).inc();
    }

    pub(crate) fn handed_out(&self, waited_ms: u64) {
        self.hand_out.observe(std::time::Duration::from_millis(waited_ms).as_secs_f64());
    }
}
