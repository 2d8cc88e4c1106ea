//! Finds strays: Jobs in a cluster that should not be there, of agents that we know. They were left by a crash in an
//! unlucky moment, or made by hand under our labels. Jobs of agents that we do not know are left alone.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_cluster::{Access, AnyCluster, ClusterError, WorkloadId};
use cofferdam_contract::OrganizationId;
use cofferdam_core::chain;
use cofferdam_environments::LOCAL;
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::calls::CallKind;
use super::context::Context;
use crate::Error;

/// Environments that are searched at once.
const MAX_SEARCHES: usize = 8;
/// Strays that are remembered.
const MAX_STRAYS: usize = 10_000;

/// Strays by environment, and since when each is known.
#[derive(Default)]
pub(super) struct Strays(HashMap<(EnvironmentKey, WorkloadId), Instant>);

type EnvironmentKey = (OrganizationId, String);

/// Searches every environment that has agents, and removes the strays that have been there for long enough.
pub(super) async fn reconcile(context: &Arc<Context>, mut strays: Strays) -> Strays {
    let inhabited = match context.store().inhabited_environments().await {
        Ok(inhabited) => inhabited,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the environments could not be read");
            return strays;
        }
    };
    context.deployments.metrics.keep_clusters(&inhabited);
    // `local` is the same cluster for every organization.
    let mut local = false;
    let keys = inhabited.into_iter().filter(|(_, name)| name != LOCAL || !std::mem::replace(&mut local, true));
    let mut searches = JoinSet::new();
    let mut found = Vec::new();
    for key in keys {
        if searches.len() >= MAX_SEARCHES
            && let Some(Ok(done)) = searches.join_next().await
        {
            found.push(done);
        }
        let context = Arc::clone(context);
        searches.spawn(async move {
            let listed = list(&context, &key).await;
            (key, listed)
        });
    }
    while let Some(done) = searches.join_next().await {
        found.extend(done.ok());
    }
    for (key, listed) in found {
        // Nothing is known about a cluster that cannot be seen now.
        let Some(listed) = listed else { continue };
        if let Err(error) = search(context, &mut strays, &key, listed).await {
            tracing::warn!(environment = key.1, error = %chain(&error), "an environment could not be searched");
        }
    }
    strays
}

/// All of our workloads in an environment's cluster; `None` if the cluster cannot be read now.
async fn list(context: &Context, key: &EnvironmentKey) -> Option<Vec<WorkloadId>> {
    let environment = context.deployments.environments.find(&key.0, &key.1).await.ok()?;
    if matches!(environment.cluster, Access::None(_)) {
        return None;
    }
    let list = |cluster: AnyCluster| async move { cluster.list().await }.boxed();
    match context.call(&key.0, &environment, CallKind::Short, list).await {
        Ok(listed) => Some(listed),
        Err(error) => {
            tracing::debug!(environment = key.1, %error, "an environment cannot be searched now");
            None
        }
    }
}

/// It is a version of an agent that we know, and should not be in the cluster.
async fn is_stray(context: &Context, key: &EnvironmentKey, id: &WorkloadId) -> Result<bool, Error> {
    // An organization's own cluster may hold workloads of other organizations.
    if key.1 != LOCAL && key.0 != id.organization {
        return Ok(false);
    }
    let store = context.store();
    let Some(agent) = store.agent(&id.organization, &id.agent).await? else { return Ok(false) };
    if agent.environment != key.1 {
        return Ok(false);
    }
    Ok(!store.placed_versions(&id.organization, &id.agent).await?.contains(&id.version))
}

async fn search(
    context: &Context,
    strays: &mut Strays,
    environment: &EnvironmentKey,
    listed: Vec<WorkloadId>,
) -> Result<(), Error> {
    strays.0.retain(|(at, id), _| at != environment || listed.contains(id));
    for id in listed {
        let key = (environment.clone(), id);
        if !is_stray(context, environment, &key.1).await? {
            strays.0.remove(&key);
            continue;
        }
        if !strays.0.contains_key(&key) && strays.0.len() >= MAX_STRAYS {
            continue;
        }
        let since = *strays.0.entry(key.clone()).or_insert_with(Instant::now);
        if since.elapsed() < context.timing().stray {
            continue;
        }
        tracing::warn!(organization = %key.1.organization, agent = %key.1.agent, version = key.1.version,
            environment = environment.1, "removing a stray Job");
        match remove(context, environment, key.1.clone()).await {
            Ok(()) => {
                strays.0.remove(&key);
            }
            Err(error) => tracing::warn!(environment = environment.1, %error, "a stray Job cannot be removed yet"),
        }
    }
    Ok(())
}

async fn remove(context: &Context, key: &EnvironmentKey, id: WorkloadId) -> Result<(), ClusterError> {
    let environment = context.deployments.environments.find(&key.0, &key.1).await;
    let environment = environment.map_err(|error| ClusterError::Settings(error.to_string()))?;
    let remove = |cluster: AnyCluster| async move { cluster.remove(&id).await }.boxed();
    context.call(&key.0, &environment, CallKind::Waiting, remove).await
}
