//! What those who bring images tell: that one is on its way, is there, or will not come.

use cofferdam_contract::{DeploymentId, DeploymentState, FailureReason, Problem};

use super::ask::enter;
use super::{DeploymentInfo, PushedImage, tell, tell_listeners};
use crate::Error;
use crate::clock::now;
use crate::services::App;
use crate::store::{AgentChange, DeploymentRow, Wanted};

/// The deployment, within a change of its agent.
async fn take(app: &App, id: &DeploymentId) -> Result<(AgentChange, DeploymentRow), Error> {
    let gone = || Error::from(Problem::not_found("There is no such deployment any more."));
    let row = app.store.deployment_by_id(id).await?.ok_or_else(gone)?;
    let change = app.store.change_agent(&row.organization, &row.agent, None).await?;
    let mut change = change.ok_or_else(gone)?;
    let row = change.deployment(row.number).await?.ok_or_else(gone)?;
    Ok((change, row))
}

pub(super) fn awaits_image(row: &DeploymentRow) -> bool {
    row.image.is_empty() && matches!(row.state, DeploymentState::Uploading | DeploymentState::Pushing)
}

/// Its first bytes go to the registry. Nothing where that was said before.
///
/// # Errors
/// [`Problem::not_found`]; [`Problem::conflict`] where it does not wait for an image.
pub async fn pushing(app: &App, id: &DeploymentId) -> Result<(), Error> {
    let (mut change, mut row) = take(app, id).await?;
    if row.state == DeploymentState::Uploading {
        enter(&mut row, DeploymentState::Pushing, "Its image goes to the registry.");
        change.put(&mut row, true).await?;
        change.commit().await?;
        tell(app, &row.organization, &row.agent);
        return Ok(());
    }
    let waits = awaits_image(&row);
    change.abandon().await?;
    if waits { Ok(()) } else { Err(awaits_none(&row)) }
}

fn awaits_none(row: &DeploymentRow) -> Error {
    let detail = format!("Deployment {} does not wait for an image: it is {}.", row.number, row.state.name());
    Problem::conflict(detail).into()
}

/// Notes how much of an upload has come, which keeps it from being given up; whether it is still wanted.
///
/// # Errors
/// The store's failure.
pub async fn upload_progress(app: &App, id: &DeploymentId, received_bytes: u64) -> Result<bool, Error> {
    app.store.note_received(id, received_bytes, now()).await
}

/// Its image is in the registry. It runs, where that was asked for.
///
/// # Errors
/// [`Problem::not_found`]; [`Problem::conflict`] where it has an image, or is over.
pub async fn image_arrived(app: &App, id: &DeploymentId, image: PushedImage) -> Result<DeploymentInfo, Error> {
    let (mut change, mut row) = take(app, id).await?;
    if !awaits_image(&row) {
        // Said twice is fine.
        let same = row.image == image.reference;
        change.abandon().await?;
        return if same { Ok((&row).into()) } else { Err(awaits_none(&row)) };
    }
    image.put_into(&mut row);
    match (change.agent.wanted, row.turn) {
        (_, 0) => enter(&mut row, DeploymentState::Pushing, "Its image is in the registry; `deploy` runs it."),
        (Wanted::Run, _) => enter(&mut row, DeploymentState::Applying, "Its image is in the registry."),
        _ => enter(&mut row, DeploymentState::Stopped, "It was stopped before it ran."),
    }
    change.put(&mut row, true).await?;
    change.commit().await?;
    tell(app, &row.organization, &row.agent);
    Ok((&row).into())
}

/// Its image will not come. What serves goes on serving.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn upload_failed(
    app: &App,
    id: &DeploymentId,
    reason: FailureReason,
    detail: &str,
) -> Result<DeploymentInfo, Error> {
    let (mut change, mut row) = take(app, id).await?;
    if !awaits_image(&row) {
        change.abandon().await?;
        return Ok((&row).into());
    }
    row.reason = Some(reason);
    enter(&mut row, DeploymentState::Failed, detail);
    change.put(&mut row, true).await?;
    change.commit().await?;
    tell(app, &row.organization, &row.agent);
    app.metrics.deployed(reason.name());
    tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number, ?reason, "an upload failed");
    Ok((&row).into())
}

/// Its image is still on its way: notes what is to be said of that; how many attempts there were, with a new failed one.
///
/// # Errors
/// The store's failure; [`Problem::not_found`].
pub(super) async fn on_its_way(app: &App, id: &DeploymentId, why: &str, failed: bool) -> Result<u32, Error> {
    let (mut change, mut row) = take(app, id).await?;
    let attempts = u32::try_from(row.attempts).unwrap_or(u32::MAX).saturating_add(failed.into());
    if !awaits_image(&row) || (row.detail == why && !failed) {
        change.abandon().await?;
        return Ok(attempts);
    }
    row.attempts = attempts.into();
    let told = row.detail != why;
    why.clone_into(&mut row.detail);
    change.put(&mut row, told).await?;
    change.commit().await?;
    if told {
        tell_listeners(app, &row.organization, &row.agent);
    }
    Ok(attempts)
}

/// Gives an upload up that nothing was heard of since `before`.
///
/// # Errors
/// The store's failure.
pub(super) async fn expire(app: &App, row: &DeploymentRow, before: i64) -> Result<(), Error> {
    let Some(mut change) = app.store.change_agent(&row.organization, &row.agent, None).await? else { return Ok(()) };
    let current = change.deployment(row.number).await?;
    let Some(mut row) = current.filter(|row| row.updated_at < before && (awaits_image(row) || row.turn == 0)) else {
        return change.abandon().await;
    };
    if row.is_over() {
        return change.abandon().await;
    }
    let detail = match row.image.is_empty() {
        true => "Nothing of its upload came for too long; upload it again.",
        false => "It was uploaded and not deployed for too long; upload it again.",
    };
    row.reason = Some(FailureReason::UploadLost);
    enter(&mut row, DeploymentState::Failed, detail);
    change.put(&mut row, true).await?;
    change.commit().await?;
    tell(app, &row.organization, &row.agent);
    app.metrics.deployed(FailureReason::UploadLost.name());
    Ok(())
}
