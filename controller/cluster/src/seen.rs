//! A workload's state as its cluster shows it, in the terms of this crate's traits.

use cofferdam_contract::FailureReason;

use crate::Words;

/// A workload's state in its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The Job does not exist, or the cluster took its pod away and will not replace it: create the Job again.
    Gone,
    /// The workload is starting, or is held up; `waits_for` describes what is missing.
    Starting { waits_for: Words, held_by: HeldBy },
    /// The container has been ready for `for_s` seconds. `restarts` counts those of its pod.
    Ready { pod: String, for_s: u64, restarts: u32 },
    /// The container ended by itself, and its node has started it again or will. `now` is its state beside that: `Ready` or
    /// `Starting`.
    Crashed { failure: WorkloadFailure, now: Box<Seen> },
    /// The workload ended, or cannot start without a change.
    Failed(WorkloadFailure),
}

/// The party that keeps a workload from being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// The container, or nobody yet.
    Itself,
    /// The cluster or its operator: a node that does not answer, a drain, a suspended Job. No other version would do better.
    Cluster,
}

/// The reason why a workload does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadFailure {
    pub reason: FailureReason,
    /// The cause and the fix, for people.
    pub detail: Words,
    pub exit_code: Option<i32>,
    /// The restarts of its pod so far.
    pub restarts: u32,
    /// Identifies the container's end: its pod and when it ended. Empty if no container ended.
    pub end: String,
    /// The last lines of the log, oldest first. Not redacted yet.
    pub last_lines: Vec<String>,
}

/// Something that was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mended {
    /// The object's kind, as Kubernetes names it.
    pub kind: &'static str,
    /// It was missing, rather than different.
    pub was_missing: bool,
}
