//! Looking at deployments and at what happened to them.

use cofferdam_contract::{AgentId, DeploymentId, Problem};

use super::ask::no_deployment;
use super::{DeploymentEvent, DeploymentInfo, no_agent};
use crate::Error;
use crate::auth::Caller;
use crate::environments::{self, Environment};
use crate::services::App;
use crate::store::{DeploymentRow, Wanted};

const MAX_PAGE: u64 = 200;

/// A page of an agent's deployments, the newest first, from below `before` on.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn deployments(
    app: &App,
    caller: &Caller,
    id: &AgentId,
    before: Option<u64>,
    most: u64,
) -> Result<Vec<DeploymentInfo>, Error> {
    app.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
    let before = before.unwrap_or(u64::MAX);
    let rows = app.store.deployments(&caller.organization, id, before, most.clamp(1, MAX_PAGE)).await?;
    Ok(rows.iter().map(Into::into).collect())
}

async fn row(app: &App, caller: &Caller, id: &AgentId, number: u64) -> Result<DeploymentRow, Error> {
    match app.store.deployment(&caller.organization, id, number).await? {
        Some(row) => Ok(row),
        None if app.store.agent(&caller.organization, id).await?.is_none() => Err(no_agent(id)),
        None => Err(no_deployment(id, number)),
    }
}

/// # Errors
/// [`Problem::not_found`].
pub async fn deployment(app: &App, caller: &Caller, id: &AgentId, number: u64) -> Result<DeploymentInfo, Error> {
    Ok((&row(app, caller, id, number).await?).into())
}

/// Events after `after`, oldest first; and whether it is settled, so that no more come by themselves soon.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn events_after(
    app: &App,
    caller: &Caller,
    id: &AgentId,
    number: u64,
    after: u64,
    most: u64,
) -> Result<(Vec<DeploymentEvent>, bool), Error> {
    let row = row(app, caller, id, number).await?;
    let events = app.store.deployment_events(&row.id, after, most.clamp(1, MAX_PAGE)).await?;
    Ok((events.into_iter().map(Into::into).collect(), row.state.is_settled()))
}

/// A deployment by its own id, with the environment that it goes to: for uploads, whose link says which one it is.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn find_deployment(app: &App, id: &DeploymentId) -> Result<(DeploymentRow, Environment), Error> {
    let gone = || Error::from(Problem::not_found("There is no such deployment any more."));
    let row = app.store.deployment_by_id(id).await?.ok_or_else(gone)?;
    let agent = app.store.agent(&row.organization, &row.agent).await?;
    let agent = agent.filter(|agent| agent.wanted != Wanted::Delete).ok_or_else(gone)?;
    let environment = environments::find(app, &row.organization, &agent.environment).await?;
    Ok((row, environment))
}
