//! Makes a deployment's Job, and all that it needs. Before the cluster is asked, it is written that there may be something
//! of it there.

use cofferdam_contract::{DeploymentState as State, FailureReason};
use futures_util::FutureExt;

use super::write::Failed;
use super::{Act, Next};
use crate::Error;
use crate::agents::compose;
use crate::clock::now_ms;
use crate::cluster::{ClusterError, Workload, WorkloadId};
use crate::environments::{ClusterAccess, Environment};
use crate::store::DeploymentRow;

/// A Job that ended is kept for so long, for those who want to look at it.
const TTL_S: u32 = 24 * 3_600;

pub(super) fn workload_id(row: &DeploymentRow) -> WorkloadId {
    WorkloadId { organization: row.organization.clone(), agent: row.agent.clone(), version: row.number }
}

pub async fn apply(act: &Act) -> Result<Next, Error> {
    let environment = match act.environment().await {
        Ok(environment) => environment,
        Err(error) if is_final(&error) => {
            return act.fail(Failed::new(FailureReason::Cluster, safe(&error))).await;
        }
        Err(error) => return Err(error),
    };
    if let ClusterAccess::None(why) = &environment.cluster {
        return act.fail(Failed::new(FailureReason::NoCluster, sentence(why))).await;
    }
    if !act.row.architecture.is_empty() && act.row.architecture != environment.architecture {
        let (own, wanted) = (&act.row.architecture, &environment.architecture);
        let detail = format!(
            "The image is for {own}, and the nodes of environment {:?} are {wanted}: build it with \
             --platform=linux/{wanted}, or change the environment's architecture.",
            environment.name
        );
        return act.fail(Failed::new(FailureReason::BadImage, detail)).await;
    }
    let workload = match workload(act, &environment).await {
        Ok(workload) => workload,
        // A secret that is not there, or too much of it all. What else it is may come right.
        Err(Error::Refused(problem)) => {
            return act.fail(Failed::new(FailureReason::CannotStart, problem.detail)).await;
        }
        Err(error @ Error::Sealed(_)) => {
            return act.fail(Failed::new(FailureReason::Internal, error.to_string())).await;
        }
        Err(error) => return Err(error),
    };
    if !act.row.placed {
        let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
        row.placed = true;
        change.put(&mut row, false).await?;
        change.commit().await?;
    }
    let applied = act.call(&environment, |cluster| async move { cluster.apply(&workload).await }.boxed()).await;
    match applied {
        Ok(()) => act.to(State::Starting, "Its Job is made.").await,
        Err(error) => refused(act, error).await,
    }
}

/// What a cluster that does not do its part means for a deployment on its way up.
pub(super) async fn refused(act: &Act, error: ClusterError) -> Result<Next, Error> {
    let waited = now_ms().saturating_sub(act.row.since_ms);
    let patience = super::super::millis(act.app.config.agents.timing.patience);
    // What serves, or served, is not given up for a cluster that is away.
    let serves = act.agent.serving == act.row.number;
    if error.is_retryable() && (serves || waited < patience) {
        return act.later(sentence(&error.to_string())).await;
    }
    let reason = match error {
        ClusterError::None(_) => FailureReason::NoCluster,
        _ => FailureReason::Cluster,
    };
    act.fail(Failed::new(reason, sentence(&error.to_string()))).await
}

async fn workload(act: &Act, environment: &Environment) -> Result<Workload, Error> {
    let own = &act.row.spec.resources;
    let usual = &environment.resources;
    let or = |own: &Option<String>, usual: &Option<String>| own.clone().or_else(|| usual.clone());
    Ok(Workload {
        id: workload_id(&act.row),
        image: environment.pulled(&act.row.image),
        architecture: environment.architecture.clone(),
        run_as: act.row.run_as,
        env: compose::values(&act.app, environment, &act.row).await?,
        resources: cofferdam_contract::Resources {
            cpu: or(&own.cpu, &usual.cpu),
            memory: or(&own.memory, &usual.memory),
            ephemeral_storage: or(&own.ephemeral_storage, &usual.ephemeral_storage),
        },
        image_pull_secrets: environment.image_pull_secrets.clone(),
        runtime_class: environment.runtime_class.clone(),
        ttl_after_finished_s: TTL_S,
    })
}

/// Whether trying again does not help.
pub fn is_final(error: &Error) -> bool {
    matches!(error, Error::Refused(_) | Error::Sealed(_))
}

/// What may be shown of an error.
pub fn safe(error: &Error) -> String {
    match error {
        Error::Refused(problem) => problem.detail.clone(),
        Error::Sealed(why) => sentence(why),
        _ => "The environment could not be read; the server's log says why.".to_owned(),
    }
}

/// With a capital letter first and a full stop last.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.trim().chars();
    let mut sentence: String = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    sentence.push_str(characters.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}
