//! Metrics of deployments. The composition registers them under the prefix `cofferdam_api`. Gauges show what this process
//! drives: with several controllers, their sum is the whole.

use std::collections::HashSet;
use std::sync::Arc;

use cofferdam_contract::{DeploymentState, FailureReason, OrganizationId};
use cofferdam_environments::LOCAL;
use cofferdam_store::DeploymentRow;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeploymentLabels {
    /// `up`, or the reason of the failure.
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CrashLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    state: &'static str,
    /// `ok`, `not_ready` or `unreachable`.
    condition: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    /// Empty for `local`, which all organizations share.
    organization: String,
    environment: String,
}

/// Clusters with a gauge.
const MAX_CLUSTERS: usize = 1_000;

/// Counts versions that came up for the first time, failed or crashed, and shows how those that live are. Clones share the
/// counters.
#[derive(Debug, Clone)]
pub struct DeploymentMetrics {
    deployments: Family<DeploymentLabels, Counter>,
    durations: Histogram,
    crashes: Family<CrashLabels, Counter>,
    mended: Family<KindLabels, Counter>,
    versions: Family<VersionLabels, Gauge>,
    unreachable: Family<ClusterLabels, Gauge>,
    /// The clusters in `unreachable`.
    away: Arc<Mutex<HashSet<ClusterLabels>>>,
}

impl Default for DeploymentMetrics {
    fn default() -> Self {
        Self {
            deployments: Family::default(),
            durations: Histogram::new([0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]),
            crashes: Family::default(),
            mended: Family::default(),
            versions: Family::default(),
            unreachable: Family::default(),
            away: Arc::default(),
        }
    }
}

impl DeploymentMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Versions of agents that came up for the first time, or failed";
        registry.register("deployments", help, self.deployments.clone());
        let help = "Time from the making of a version until it serves, its upload included";
        registry.register_with_unit("deployment", help, Unit::Seconds, self.durations.clone());
        let help = "Ends of containers of versions that served";
        registry.register("agent_crashes", help, self.crashes.clone());
        let help = "Objects in clusters that were deleted or changed outside Cofferdam and were restored";
        registry.register("agent_objects_restored", help, self.mended.clone());
        let help = "Live versions that this process drives, by state; condition is ok, not_ready or unreachable";
        registry.register("agent_versions", help, self.versions.clone());
        let help = "1 for each cluster that did not answer, or refused, when this process asked it last";
        registry.register("unreachable_clusters", help, self.unreachable.clone());
    }

    /// Counts a version that served and ended.
    pub(crate) fn crashed(&self, reason: FailureReason) {
        self.crashes.get_or_create(&CrashLabels { reason: reason.name() }).inc();
    }

    pub(crate) fn mended(&self, kind: &'static str) {
        self.mended.get_or_create(&KindLabels { kind }).inc();
    }

    /// Notes whether the cluster of an environment answered.
    pub(crate) fn asked(&self, organization: &OrganizationId, environment: &str, answered: bool) {
        let labels = cluster_labels(organization, environment);
        let mut away = self.away.lock();
        if answered {
            if away.remove(&labels) {
                self.unreachable.remove(&labels);
            }
        } else if away.len() < MAX_CLUSTERS && away.insert(labels.clone()) {
            self.unreachable.get_or_create(&labels).set(1);
        }
    }

    /// Forgets the clusters of environments without agents.
    pub(crate) fn keep_clusters(&self, inhabited: &[(OrganizationId, String)]) {
        let all: HashSet<ClusterLabels> = inhabited.iter().map(|(of, name)| cluster_labels(of, name)).collect();
        self.away.lock().retain(|labels| {
            let stays = all.contains(labels);
            if !stays {
                self.unreachable.remove(labels);
            }
            stays
        });
    }

    /// A count of the live versions of one agent.
    pub(crate) fn census(&self) -> Census {
        Census { versions: self.versions.clone(), counted: Vec::new() }
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

fn cluster_labels(organization: &OrganizationId, environment: &str) -> ClusterLabels {
    let organization = if environment == LOCAL { String::new() } else { organization.to_string() };
    ClusterLabels { organization, environment: environment.to_owned() }
}

/// The live versions of one agent in the gauge. Dropping it takes them out.
#[derive(Debug)]
pub(crate) struct Census {
    versions: Family<VersionLabels, Gauge>,
    counted: Vec<VersionLabels>,
}

impl Census {
    pub(crate) fn update(&mut self, rows: &[DeploymentRow]) {
        let now: Vec<VersionLabels> = rows.iter().map(version_labels).collect();
        if now == self.counted {
            return;
        }
        for labels in &now {
            self.versions.get_or_create(labels).inc();
        }
        self.leave();
        self.counted = now;
    }

    fn leave(&mut self) {
        for labels in self.counted.drain(..) {
            self.versions.get_or_create(&labels).dec();
        }
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.leave();
    }
}

fn version_labels(row: &DeploymentRow) -> VersionLabels {
    let up = row.state == DeploymentState::Up;
    let condition = match (&row.observed.unreachable_since_ms, &row.observed.not_ready_since_ms) {
        (Some(_), _) if up => "unreachable",
        (_, Some(_)) if up => "not_ready",
        _ => "ok",
    };
    VersionLabels { state: row.state.name(), condition }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn written(metrics: &DeploymentMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn versions_are_counted_by_state_and_leave_with_their_keeper() {
        let metrics = DeploymentMetrics::default();
        let mut row = testing::row(1);
        row.state = DeploymentState::Up;
        let mut census = metrics.census();
        census.update(std::slice::from_ref(&row));
        assert!(written(&metrics).contains("agent_versions{state=\"Up\",condition=\"ok\"} 1"));
        row.observed.not_ready_since_ms = Some(1);
        census.update(std::slice::from_ref(&row));
        row.observed.unreachable_since_ms = Some(1);
        let mut other = metrics.census();
        other.update(std::slice::from_ref(&row));
        let text = written(&metrics);
        for line in ["\"ok\"} 0", "\"not_ready\"} 1", "\"unreachable\"} 1"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        drop((census, other));
        assert!(written(&metrics).contains("agent_versions{state=\"Up\",condition=\"not_ready\"} 0"));
    }

    #[test]
    fn a_cluster_has_a_gauge_while_it_is_away() {
        let metrics = DeploymentMetrics::default();
        let organization = OrganizationId::default_organization();
        let gauge = "unreachable_clusters{organization=\"default\",environment=\"far\"} 1";
        metrics.asked(&organization, "far", false);
        metrics.asked(&organization, LOCAL, false);
        let text = written(&metrics);
        assert!(text.contains(gauge) && text.contains("{organization=\"\",environment=\"local\"} 1"), "{text}");
        metrics.asked(&organization, "far", true);
        metrics.keep_clusters(&[]);
        assert!(!written(&metrics).contains("unreachable_clusters{"));
        for number in 0..2 * MAX_CLUSTERS {
            metrics.asked(&organization, &number.to_string(), false);
        }
        assert_eq!(written(&metrics).matches("unreachable_clusters{").count(), MAX_CLUSTERS);
    }
}
