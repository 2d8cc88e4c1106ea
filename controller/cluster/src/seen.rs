//! A workload's state as its cluster shows it, in the terms of this crate's traits. What a cluster says is kept apart from
//! our own words: only the cluster's text can hold secrets, and it cannot be shown without having been looked through.

use cofferdam_contract::FailureReason;

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

/// A text for people: our words, and after them what the cluster says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    ours: String,
    theirs: String,
}

impl Words {
    /// Our own words. They hold no secret.
    pub fn ours(text: impl Into<String>) -> Self {
        Self { ours: text.into(), theirs: String::new() }
    }

    /// Adds what the cluster says, after words of ours such as `The node says:`. Adds nothing if it says nothing.
    #[must_use]
    pub fn saying(self, introduction: &str, theirs: &str) -> Self {
        if theirs.is_empty() {
            return self;
        }
        Self { ours: format!("{}{introduction}", self.ours), theirs: theirs.to_owned() }
    }

    /// Puts words of ours before.
    #[must_use]
    pub fn after(self, before: &str) -> Self {
        Self { ours: format!("{before}{}", self.ours), ..self }
    }

    /// Returns true if the cluster says a part of it.
    pub fn has_foreign_part(&self) -> bool {
        !self.theirs.is_empty()
    }

    /// The whole text. `scrub` takes secrets out of what the cluster says.
    pub fn shown(&self, scrub: impl FnOnce(&str) -> String) -> String {
        match self.theirs.is_empty() {
            true => self.ours.clone(),
            false => format!("{} {}", self.ours, scrub(&self.theirs)),
        }
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::ours(text)
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::ours(text)
    }
}
