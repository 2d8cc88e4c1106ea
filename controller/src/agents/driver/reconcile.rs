//! Finds what is in a cluster and should not be: versions of agents that we know, which the store says are not there.
//! Left by a crash in an unlucky moment, or made by hand under our labels. What belongs to agents that we do not know is
//! not ours to take away.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::places::Places;
use crate::Error;
use crate::cluster::{ClusterError, WorkloadId};
use crate::environments::{self, ClusterAccess, LOCAL};
use crate::services::App;

/// Environments that are searched at once.
const SIDE_BY_SIDE: usize = 8;
/// Strays that are remembered.
const MOST: usize = 10_000;

/// What was there that should not be, by environment, and since when.
#[derive(Default)]
pub struct Strays(HashMap<(Place, WorkloadId), Instant>);

type Place = (OrganizationId, String);

pub async fn reconcile(app: &App, places: &Arc<Places>, mut strays: Strays) -> Strays {
    let inhabited = match app.store.inhabited_environments().await {
        Ok(inhabited) => inhabited,
        Err(error) => {
            tracing::warn!(error = %error.chain(), "the environments could not be read");
            return strays;
        }
    };
    // `local` is the same cluster for everybody.
    let mut local = false;
    let wanted = inhabited.into_iter().filter(|(_, name)| name != LOCAL || !std::mem::replace(&mut local, true));
    let mut searches: JoinSet<(Place, Option<Vec<WorkloadId>>)> = JoinSet::new();
    let mut found = Vec::new();
    for place in wanted {
        if searches.len() >= SIDE_BY_SIDE
            && let Some(Ok(done)) = searches.join_next().await
        {
            found.push(done);
        }
        let (app, places) = (Arc::clone(app), Arc::clone(places));
        searches.spawn(async move {
            let listed = list(&app, &places, &place).await;
            (place, listed)
        });
    }
    while let Some(done) = searches.join_next().await {
        found.extend(done.ok());
    }
    for (place, listed) in found {
        // What cannot be seen now is neither there nor gone.
        let Some(listed) = listed else { continue };
        if let Err(error) = search(app, &mut strays, &place, listed).await {
            tracing::warn!(environment = place.1, error = %error.chain(), "an environment could not be searched");
        }
    }
    strays
}

async fn list(app: &App, places: &Places, place: &Place) -> Option<Vec<WorkloadId>> {
    let environment = environments::find(app, &place.0, &place.1).await.ok()?;
    if matches!(environment.cluster, ClusterAccess::None(_)) {
        return None;
    }
    let _place = places.place(&place.0, &place.1, false).await;
    let listed = tokio::time::timeout(app.config.agents.timing.call, async {
        app.agents.connect(&environment).await?.list().await
    });
    match listed.await {
        Ok(Ok(listed)) => Some(listed),
        Ok(Err(error)) => {
            tracing::debug!(environment = place.1, %error, "an environment cannot be searched now");
            None
        }
        Err(_) => None,
    }
}

/// Whether it is a version of an agent that we know, and not one that should be there.
async fn is_stray(app: &App, place: &Place, id: &WorkloadId) -> Result<bool, Error> {
    // In an environment of its own an organization's cluster may have others' as well.
    if place.1 != LOCAL && place.0 != id.organization {
        return Ok(false);
    }
    let Some(agent) = app.store.agent(&id.organization, &id.agent).await? else { return Ok(false) };
    if agent.environment != place.1 {
        return Ok(false);
    }
    Ok(!app.store.placed_versions(&id.organization, &id.agent).await?.contains(&id.version))
}

async fn search(app: &App, strays: &mut Strays, place: &Place, listed: Vec<WorkloadId>) -> Result<(), Error> {
    strays.0.retain(|(at, id), _| at != place || listed.contains(id));
    for id in listed {
        let key = (place.clone(), id);
        if !is_stray(app, place, &key.1).await? {
            strays.0.remove(&key);
            continue;
        }
        if !strays.0.contains_key(&key) && strays.0.len() >= MOST {
            continue;
        }
        let since = *strays.0.entry(key.clone()).or_insert_with(Instant::now);
        if since.elapsed() < app.config.agents.timing.stray {
            continue;
        }
        tracing::warn!(organization = %key.1.organization, agent = %key.1.agent, version = key.1.version,
            environment = place.1, "a Job that should not be there is taken away");
        match remove(app, place, &key.1).await {
            Ok(()) => {
                strays.0.remove(&key);
            }
            Err(error) => tracing::warn!(environment = place.1, %error, "it cannot be taken away yet"),
        }
    }
    Ok(())
}

async fn remove(app: &App, place: &Place, id: &WorkloadId) -> Result<(), ClusterError> {
    let environment = environments::find(app, &place.0, &place.1).await;
    let environment = environment.map_err(|error| ClusterError::Settings(error.to_string()))?;
    let most = app.config.agents.timing.call;
    let silent = |_| ClusterError::Unreachable(format!("the cluster did not answer within {} s", most.as_secs()));
    let whole = async { app.agents.connect(&environment).await?.remove(id).await };
    tokio::time::timeout(most, whole).await.map_err(silent)?
}
