//! Reports on a deployment's image: it is on its way, it has arrived, or it will not arrive.

use std::time::Duration;

use cofferdam_contract::{DeploymentId, DeploymentState, FailureReason, Problem};
use cofferdam_core::now;
use cofferdam_store::{AgentChange, DeploymentRow, Wanted};
use cofferdam_uploads::PushedImage;

use crate::request::enter;
use crate::states::awaits_image;
use crate::{DeploymentInfo, Deployments, Error};

impl Deployments {
    /// The deployment, within a change of its agent.
    async fn take(&self, id: &DeploymentId) -> Result<(AgentChange, DeploymentRow), Error> {
        let gone = || Error::from(Problem::not_found("This deployment no longer exists."));
        let row = self.store.deployment_by_id(id).await?.ok_or_else(gone)?;
        let change = self.store.change_agent(&row.organization, &row.agent, None).await?;
        let mut change = change.ok_or_else(gone)?;
        let row = change.deployment(row.number).await?.ok_or_else(gone)?;
        Ok((change, row))
    }

    /// Records that the image's upload to the registry has begun. Idempotent.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if the deployment is not waiting for an image.
    pub async fn pushing(&self, id: &DeploymentId) -> Result<(), Error> {
        let (mut change, mut row) = self.take(id).await?;
        if row.state == DeploymentState::Uploading {
            enter(&mut row, DeploymentState::Pushing, "Uploading the image to the registry.");
            change.put(&mut row, true).await?;
            change.commit().await?;
            self.announce(&row.organization, &row.agent);
            return Ok(());
        }
        let waits = awaits_image(&row);
        change.abandon().await?;
        if waits { Ok(()) } else { Err(awaits_none(&row)) }
    }

    /// Records how many bytes of an upload have arrived, and that its client was last there `absent` ago, which keeps it
    /// from expiring. Returns false if the deployment no longer waits for the upload.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn upload_heard(&self, id: &DeploymentId, received_bytes: u64, absent: Duration) -> Result<bool, Error> {
        let absent_s = i64::try_from(absent.as_secs()).unwrap_or(i64::MAX);
        Ok(self.store.note_received(id, received_bytes, now().saturating_sub(absent_s)).await?)
    }

    /// Records how many bytes of an upload have just arrived: see [`Deployments::upload_heard`].
    ///
    /// # Errors
    /// The store's failure.
    pub async fn upload_progress(&self, id: &DeploymentId, received_bytes: u64) -> Result<bool, Error> {
        self.upload_heard(id, received_bytes, Duration::ZERO).await
    }

    /// Records that the image is in the registry. The deployment starts if that was requested.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if it has another image, or is over.
    pub async fn image_arrived(&self, id: &DeploymentId, image: PushedImage) -> Result<DeploymentInfo, Error> {
        let (mut change, mut row) = self.take(id).await?;
        if !awaits_image(&row) {
            // Reporting the same image twice is fine.
            let same = row.image == image.reference;
            change.abandon().await?;
            return if same { Ok((&row).into()) } else { Err(awaits_none(&row)) };
        }
        image.put_into(&mut row);
        match (change.agent.wanted, row.turn) {
            (_, 0) => {
                enter(&mut row, DeploymentState::Pushing, "The image is in the registry and is not deployed yet.")
            }
            (Wanted::Run, _) => enter(&mut row, DeploymentState::Applying, "The image is in the registry."),
            (Wanted::Stop | Wanted::Delete | Wanted::Abandon, _) => {
                enter(&mut row, DeploymentState::Stopped, "Stopped before it ran.");
            }
        }
        change.put(&mut row, true).await?;
        change.commit().await?;
        self.announce(&row.organization, &row.agent);
        Ok((&row).into())
    }

    /// Records that the upload failed. The serving version is not affected.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn upload_failed(
        &self,
        id: &DeploymentId,
        reason: FailureReason,
        detail: &str,
    ) -> Result<DeploymentInfo, Error> {
        let (change, row) = self.take(id).await?;
        if !awaits_image(&row) {
            change.abandon().await?;
            return Ok((&row).into());
        }
        let row = self.give_up(change, row, reason, detail).await?;
        tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number, ?reason, "an upload failed");
        Ok((&row).into())
    }

    /// Updates the detail of a deployment whose image is still on its way. Returns the number of failed attempts,
    /// including this one if `failed`.
    ///
    /// # Errors
    /// The store's failure; [`Problem::not_found`].
    pub(crate) async fn on_its_way(&self, id: &DeploymentId, detail: &str, failed: bool) -> Result<u32, Error> {
        let (mut change, mut row) = self.take(id).await?;
        let attempts = u32::try_from(row.attempts).unwrap_or(u32::MAX).saturating_add(failed.into());
        let news = row.detail != detail;
        if !awaits_image(&row) || !(news || failed) {
            change.abandon().await?;
            return Ok(attempts);
        }
        row.attempts = attempts.into();
        detail.clone_into(&mut row.detail);
        change.put(&mut row, news).await?;
        change.commit().await?;
        if news {
            self.announce_to_listeners(&row.organization, &row.agent);
        }
        Ok(attempts)
    }

    /// Gives up an upload that has not changed since `before`.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn expire(&self, row: &DeploymentRow, before: i64) -> Result<(), Error> {
        let change = self.store.change_agent(&row.organization, &row.agent, None).await?;
        let Some(mut change) = change else { return Ok(()) };
        let current = change.deployment(row.number).await?;
        let expired =
            |row: &DeploymentRow| row.updated_at < before && (awaits_image(row) || row.turn == 0) && !row.is_over();
        let Some(row) = current.filter(expired) else { return Ok(change.abandon().await?) };
        let detail = match (row.image.is_empty(), row.state) {
            (true, DeploymentState::Pushing) => format!(
                "The upload stopped after about {} bytes and was not continued in time. Upload the image again.",
                row.received_bytes
            ),
            (true, _) => "The upload expired: no data arrived for too long. Upload the image again.".to_owned(),
            (false, _) => "The upload expired: it was not deployed in time. Upload the image again.".to_owned(),
        };
        self.give_up(change, row, FailureReason::UploadLost, &detail).await?;
        Ok(())
    }

    async fn give_up(
        &self,
        mut change: AgentChange,
        mut row: DeploymentRow,
        reason: FailureReason,
        detail: &str,
    ) -> Result<DeploymentRow, Error> {
        row.reason = Some(reason);
        enter(&mut row, DeploymentState::Failed, detail);
        change.put(&mut row, true).await?;
        change.commit().await?;
        self.announce(&row.organization, &row.agent);
        self.metrics.failed(reason);
        Ok(row)
    }
}

fn awaits_none(row: &DeploymentRow) -> Error {
    let detail = format!("Deployment {} is not waiting for an image: it is {}.", row.number, row.state.name());
    Problem::conflict(detail).into()
}
