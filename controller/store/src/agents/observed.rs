//! The driver's last knowledge of a deployment in its cluster, besides its state, and the times that
//! the driver counts from. Stored as JSON.

use std::collections::BTreeMap;

use cofferdam_contract::FailureReason;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Pods that are remembered; more than a version has at once.
const MAX_PODS: usize = 64;

/// The last observations of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Since when a serving version has not been ready, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready_since_ms: Option<i64>,
    /// Since when nothing but the version itself has kept it from being ready, as far as it was seen, in Unix milliseconds.
    /// Its times count from here: not from a time at which its cluster held it up, or did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_since_ms: Option<i64>,
    /// Since when its cluster has not answered for it, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable_since_ms: Option<i64>,
    /// Its container's restarts, in all pods.
    pub restarts: u64,
    /// Its pods, with their restarts when each was seen last.
    pub pods: BTreeMap<String, u32>,
    /// The container's end that was dealt with last; see `WorkloadFailure::end`.
    pub end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_crash: Option<LastCrash>,
}

/// The last time that a version's container ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastCrash {
    /// When it was noticed, in Unix milliseconds.
    pub at_ms: i64,
    pub reason: FailureReason,
    /// The cause, and what to do about it.
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

impl Observed {
    /// Adds the restarts of a pod since it was seen last.
    pub fn count_restarts(&mut self, pod: &str, restarts: u32) {
        let known = self.pods.get(pod).copied();
        self.restarts = self.restarts.saturating_add(restarts.saturating_sub(known.unwrap_or(0)).into());
        if known.is_none() && self.pods.len() >= MAX_PODS {
            self.pods.clear();
        }
        self.pods.insert(pod.to_owned(), restarts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_counted_once_over_several_pods() {
        let mut observed = Observed::default();
        for (pod, restarts, all) in [("a", 0, 0), ("a", 2, 2), ("b", 1, 3), ("a", 2, 3), ("b", 2, 4), ("c", 0, 4)] {
            observed.count_restarts(pod, restarts);
            assert_eq!(observed.restarts, all, "{pod} {restarts}");
        }
        for number in 0..1_000 {
            observed.count_restarts(&number.to_string(), 0);
        }
        assert!(observed.pods.len() <= MAX_PODS && observed.restarts == 4);
        assert_eq!(serde_json::from_str::<Observed>("{}").unwrap(), Observed::default());
    }
}
