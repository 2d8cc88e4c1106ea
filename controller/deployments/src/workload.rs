//! The workload of a deployment, as its cluster gets it: the deployment's own settings, else the environment's.

use std::time::Duration;

use cofferdam_cluster::{Workload, WorkloadId};
use cofferdam_contract::Resources;
use cofferdam_environments::Environment;
use cofferdam_store::DeploymentRow;

use crate::{Deployments, Error};

/// The cluster keeps an ended Job for this long, for those who want to look at it.
const TTL_S: u32 = 24 * 3_600;

pub(crate) fn workload_id(row: &DeploymentRow) -> WorkloadId {
    WorkloadId { organization: row.organization.clone(), agent: row.agent.clone(), version: row.number }
}

impl Deployments {
    /// The time within which the deployment must become ready.
    pub(crate) fn start_time(&self, row: &DeploymentRow) -> Duration {
        row.spec.health.start_s.map_or(self.config.timing.start, |seconds| Duration::from_secs(seconds.into()))
    }

    /// The time for which the deployment must stay ready before it serves.
    pub(crate) fn min_ready(&self, row: &DeploymentRow) -> Duration {
        row.spec.health.min_ready_s.map_or(self.config.timing.steady, |seconds| Duration::from_secs(seconds.into()))
    }

    /// # Errors
    /// A secret is missing, or the variables are too large; the store's failure.
    pub(crate) async fn workload(&self, environment: &Environment, row: &DeploymentRow) -> Result<Workload, Error> {
        let own = &row.spec.resources;
        let usual = &environment.resources;
        let or = |own: &Option<String>, usual: &Option<String>| own.clone().or_else(|| usual.clone());
        Ok(Workload {
            id: workload_id(row),
            image: environment.pulled(&row.image),
            architecture: environment.architecture.clone(),
            run_as: row.run_as,
            env: self.values(environment, row).await?,
            secrets: row.spec.secrets.iter().cloned().collect(),
            resources: Resources {
                cpu: or(&own.cpu, &usual.cpu),
                memory: or(&own.memory, &usual.memory),
                ephemeral_storage: or(&own.ephemeral_storage, &usual.ephemeral_storage),
            },
            image_pull_secrets: environment.image_pull_secrets.clone(),
            runtime_class: environment.runtime_class.clone(),
            pod: row.spec.pod.clone(),
            health: row.spec.health.clone(),
            start_s: u32::try_from(self.start_time(row).as_secs()).unwrap_or(u32::MAX),
            ttl_after_finished_s: TTL_S,
        })
    }
}
