//! Surveys of environments: one look at all versions of an environment's cluster serves every keeper that asks within a
//! moment. A survey only tells that a version serves as it did; everything else is looked at by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_cluster::{AnyCluster, Seen, WorkloadId};
use cofferdam_contract::OrganizationId;
use cofferdam_environments::{Environment, LOCAL};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::calls::CallKind;
use super::context::Context;

/// Environments whose surveys are remembered; beyond that, those that nobody asks for are forgotten.
const MAX_ENVIRONMENTS: usize = 256;

/// The last survey of one environment. Whoever holds the lock makes the next one; the others wait for it.
#[derive(Default)]
struct Survey {
    begun: Option<Instant>,
    seen: HashMap<WorkloadId, Seen>,
}

type Shared = Arc<tokio::sync::Mutex<Survey>>;

#[derive(Default)]
pub(super) struct Surveys(Mutex<HashMap<(Option<OrganizationId>, String), Shared>>);

impl Surveys {
    fn of(&self, organization: &OrganizationId, environment: &Environment) -> Shared {
        // `local` is the same cluster for every organization.
        let owner = (environment.name != LOCAL).then(|| organization.clone());
        let mut known = self.0.lock();
        if known.len() >= MAX_ENVIRONMENTS {
            known.retain(|_, survey| Arc::strong_count(survey) > 1);
        }
        Arc::clone(known.entry((owner, environment.name.clone())).or_default())
    }
}

impl Context {
    /// Returns the state of a version according to a survey that is at most `age` old; `None` if it says nothing of it.
    pub(super) async fn surveyed(
        &self,
        organization: &OrganizationId,
        environment: &Environment,
        id: &WorkloadId,
        age: Duration,
    ) -> Option<Seen> {
        let shared = self.surveys.of(organization, environment);
        let mut survey = shared.lock().await;
        if survey.begun.is_none_or(|begun| begun.elapsed() > age) {
            survey.begun = Some(Instant::now());
            // Whoever makes the survey may be stopped: an old one must not be taken for it.
            survey.seen.clear();
            let ask = |cluster: AnyCluster| async move { cluster.survey().await }.boxed();
            // A cluster that hangs is found out by looking at each version, and not here.
            let asked =
                timeout(self.timing().watch * 2, self.call(organization, environment, CallKind::Short, ask)).await;
            survey.seen = match asked {
                Ok(Ok(seen)) => {
                    // An organization's own cluster may hold workloads of other organizations.
                    let ours = |id: &WorkloadId| environment.name == LOCAL || id.organization == *organization;
                    seen.into_iter().filter(|(id, _)| ours(id)).collect()
                }
                Ok(Err(error)) => {
                    tracing::debug!(environment = environment.name, %error, "an environment cannot be surveyed now");
                    HashMap::new()
                }
                Err(_) => HashMap::new(),
            };
        }
        survey.seen.get(id).cloned()
    }
}
