//! Metrics of tasks. Labels have bounded values only; no organization and no agent is one.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

fn waits() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0])
}

/// Clones count together.
#[derive(Debug, Clone)]
pub struct TaskMetrics {
    ended: Family<StatusLabels, Counter>,
    pub(crate) added: Counter,
    pub(crate) handed_out: Counter,
    waited_for_worker: Histogram,
    pub(crate) writes_waiting: Gauge,
    pub(crate) write_failures: Counter,
    writes: Counter,
    commits: Counter,
    commit_time: Histogram,
    write_time: Histogram,
    pub(crate) followers: Gauge,
    pub(crate) events_sent: Counter,
    pub(crate) taken_back: Counter,
    pub(crate) leases_lost: Counter,
}

impl Default for TaskMetrics {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            added: Counter::default(),
            handed_out: Counter::default(),
            waited_for_worker: waits(),
            writes_waiting: Gauge::default(),
            write_failures: Counter::default(),
            writes: Counter::default(),
            commits: Counter::default(),
            commit_time: waits(),
            write_time: waits(),
            followers: Gauge::default(),
            events_sent: Counter::default(),
            taken_back: Counter::default(),
            leases_lost: Counter::default(),
        }
    }
}

impl TaskMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("tasks_added", "Tasks that were accepted", self.added.clone());
        registry.register("tasks_ended", "Tasks that ended, by their status", self.ended.clone());
        registry.register("tasks_handed_out", "Hand-outs of tasks to workers of this process", self.handed_out.clone());
        let help = "Time from a task's place in the queue to its hand-out";
        registry.register_with_unit("task_queue_wait", help, Unit::Seconds, self.waited_for_worker.clone());
        registry.register("task_writes", "Operations that were written", self.writes.clone());
        registry.register("task_commits", "Transactions that wrote them", self.commits.clone());
        registry.register("task_writes_waiting", "Operations that wait for a transaction", self.writes_waiting.clone());
        let help = "Transactions that failed; they are tried again, or divided";
        registry.register("task_write_failures", help, self.write_failures.clone());
        registry.register_with_unit("task_commit", "Time of a transaction", Unit::Seconds, self.commit_time.clone());
        let help = "Time of an operation, from when it was asked for until it was durable";
        registry.register_with_unit("task_write", help, Unit::Seconds, self.write_time.clone());
        registry.register("task_followers", "Streams of events that are open", self.followers.clone());
        registry.register("task_events_sent", "Events that were given to followers", self.events_sent.clone());
        registry.register("tasks_taken_back", "Tasks that were taken from dead workers", self.taken_back.clone());
        let help = "Times that this process could not say that it lives, and stopped its tasks";
        registry.register("task_leases_lost", help, self.leases_lost.clone());
    }

    pub(crate) fn ended(&self, status: &'static str) {
        self.ended.get_or_create(&StatusLabels { status }).inc();
    }

    pub(crate) fn committed(&self, writes: usize, took: Duration) {
        self.commits.inc();
        self.writes.inc_by(writes as u64);
        self.commit_time.observe(took.as_secs_f64());
    }

    pub(crate) fn waited(&self, took: Duration) {
        self.write_time.observe(took.as_secs_f64());
    }

    pub(crate) fn got(&self, waited_ms: u64) {
        self.handed_out.inc();
        self.waited_for_worker.observe(waited_ms as f64 / 1e3);
    }
}
