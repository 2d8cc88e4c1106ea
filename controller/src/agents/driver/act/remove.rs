//! Takes away what the cluster has of a deployment that is over or is to end.

use cofferdam_contract::DeploymentState as State;

use super::apply::sentence;
use super::{Act, Next};
use crate::Error;
use crate::agents::ask::enter;
use crate::clock::now_ms;
use crate::cluster::ClusterError;
use crate::store::Wanted;

/// A cluster that is away for so long keeps no agent from being deleted.
const GIVE_UP_MS: i64 = 24 * 3_600 * 1_000;

pub async fn remove(act: &Act) -> Result<Next, Error> {
    if !act.row.placed {
        return gone(act).await;
    }
    let environment = match act.environment().await {
        Ok(environment) => environment,
        // Without its environment nobody knows where it ran.
        Err(Error::Refused(_)) => return gone(act).await,
        Err(error) => return Err(error),
    };
    match act.take_away(&environment).await {
        Ok(()) => gone(act).await,
        Err(ClusterError::None(_)) => gone(act).await,
        Err(error) if act.agent.wanted == Wanted::Delete && now_ms() - act.row.since_ms > GIVE_UP_MS => {
            tracing::warn!(agent = %act.agent.id, version = act.row.number, %error,
                "a deleted agent's Job could not be taken away for a day; it is left there");
            gone(act).await
        }
        Err(error) if act.row.state == State::Stopping => {
            act.later(sentence(&format!("it cannot be taken away yet: {error}"))).await
        }
        // What it failed of stays to be read.
        Err(error) => {
            tracing::debug!(agent = %act.agent.id, version = act.row.number, %error, "a Job cannot be taken away yet");
            act.later(act.row.detail.clone()).await
        }
    }
}

/// Nothing of it is left in the cluster.
async fn gone(act: &Act) -> Result<Next, Error> {
    let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
    row.placed = false;
    let stops = row.state == State::Stopping;
    if stops {
        let why = if row.attempts > 0 { "It was stopped.".to_owned() } else { row.detail.clone() };
        enter(&mut row, State::Stopped, why);
    }
    if change.agent.serving == row.number {
        change.agent.serving = 0;
    }
    change.put(&mut row, stops).await?;
    act.done(change).await?;
    Ok(Next::now())
}
