//! Takes the bodies of an upload, and after the last one waits until the image is in the registry.

use std::sync::Arc;

use axum::body::Body;
use cofferdam_contract::{DeploymentId, FailureReason, Problem};
use cofferdam_uploads::{At, Ended, Hold, Progress, PushFailure, Stopped, UploadLimits, Work, receive};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::{self, Refusal, too_large};
use super::work::ImageWork;
use super::{Uploads, takes_image};
use crate::DeploymentInfo;

/// The part of an archive that a request's body holds.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    pub from: At,
    /// The body's end is the archive's end.
    pub last: bool,
    /// Bytes of the whole archive, if known.
    pub length: Option<u64>,
    /// Bytes of this body, if known.
    pub body_length: Option<u64>,
    /// The client can continue, or begin again, after a broken connection.
    pub resumable: bool,
}

/// The result of a body.
pub enum Sent {
    /// More of the archive is to come.
    Part(Progress),
    All(Box<Uploaded>),
}

/// An image that has arrived in the registry.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Uploaded {
    pub deployment: DeploymentInfo,
    /// Bytes of the archive.
    pub received_bytes: u64,
    pub layers: u64,
    /// Layers that the registry already had.
    pub skipped: u64,
    /// Bytes sent to the registry.
    pub sent_bytes: u64,
    /// Remarks for the user, such as parts of the archive that were left out.
    pub notes: Vec<String>,
}

impl Uploads {
    /// Takes a body. After the last one it returns once the image is in the registry.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn send(&self, token: &str, sending: Sending, body: &mut Body) -> Result<Sent, Refusal> {
        let (row, environment) = self.find(token).await?;
        if let Err(problem) = takes_image(&row) {
            // The failure of the push itself says more than the deployment's state.
            return Err(match self.live.look(&row.id).1.as_deref() {
                Some(Err(failure)) => refusal::problem(failure).into(),
                Some(Ok(_)) | None => problem.into(),
            });
        }
        let limits = self.live.limits();
        let announced = check_lengths(sending, limits)?;
        let (id, organization) = (row.id.clone(), row.organization.clone());
        let work = ImageWork::new(Arc::clone(&self.deployments), Arc::clone(&self.pipeline), row, environment);
        let work: Arc<dyn Work> = Arc::new(work);
        let hold = self.live.hold(&organization, &id, sending.from, &work).await;
        let mut hold = hold.map_err(|why| refusal::not_held(why, limits))?;
        if sending.last && !sending.resumable {
            hold.only_once();
        }
        let length = sending.length.or(announced.filter(|_| sending.last));
        if length.is_some_and(|length| !hold.announce(length)) {
            let detail = "The archive had another total length when this upload began: start again without an offset.";
            return Err(Refusal::at(Problem::malformed(detail), hold.progress()));
        }
        self.take(&id, hold, sending, body).await.map_err(|refusal| Refusal { reading: true, ..refusal })
    }

    async fn take(&self, id: &DeploymentId, hold: Hold, sending: Sending, body: &mut Body) -> Result<Sent, Refusal> {
        let limits = self.live.limits();
        let stopped = receive(&hold, body, limits).await;
        let progress = hold.progress();
        match stopped {
            Ok(()) => {
                if !sending.last || progress.length.is_some_and(|length| progress.offset < length) {
                    return Ok(Sent::Part(progress));
                }
                if hold.complete().is_err() {
                    return Err(Refusal::at(replaced(), progress));
                }
            }
            Err(Stopped::Ended) => {}
            Err(Stopped::TooLarge) => {
                let problem = too_large(limits.image_bytes);
                hold.give_up(PushFailure::new(FailureReason::BadImage, problem.detail.clone()));
                return Err(problem.into());
            }
            Err(Stopped::TooMuch) => {
                let detail = "More bytes arrived than the upload announced; the announced bytes have been kept.";
                return Err(Refusal::at(Problem::malformed(detail), progress));
            }
            Err(Stopped::Replaced) => return Err(Refusal::at(replaced(), progress)),
            Err(Stopped::Silent) => {
                let (idle, wait) = (limits.idle.as_secs(), limits.absence.as_secs());
                let detail =
                    format!("No data arrived for {idle} s. Continue within {wait} s, at the offset that HEAD returns.");
                return Err(Refusal::at(Problem::slow_request(detail), progress));
            }
            Err(Stopped::Broke(why)) => {
                let detail = format!("The body broke off ({why}). Continue at the offset that HEAD returns.");
                return Err(Refusal::at(Problem::malformed(detail), progress));
            }
        }
        let ended = hold.ended().await;
        let received_bytes = hold.progress().offset;
        drop(hold);
        self.uploaded(id, received_bytes, &ended).await
    }

    async fn uploaded(&self, id: &DeploymentId, received_bytes: u64, ended: &Ended) -> Result<Sent, Refusal> {
        let pushed = ended.as_ref().as_ref().map_err(refusal::problem)?;
        let (row, _) = self.deployments.find_deployment(id).await?;
        tracing::info!(
            organization = %row.organization, agent = %row.agent, version = row.number, received_bytes,
            sent_bytes = pushed.sent_bytes, layers = pushed.layers, skipped = pushed.skipped, "an image was uploaded"
        );
        Ok(Sent::All(Box::new(Uploaded {
            deployment: (&row).into(),
            received_bytes,
            layers: pushed.layers,
            skipped: pushed.skipped,
            sent_bytes: pushed.sent_bytes,
            notes: pushed.notes.clone(),
        })))
    }
}

/// The offset at which the body will end, if the request says so.
fn check_lengths(sending: Sending, limits: &UploadLimits) -> Result<Option<u64>, Problem> {
    let most = limits.image_bytes;
    let start = match sending.from {
        At::Start => 0,
        At::Offset(offset) => offset,
    };
    let announced = sending.body_length.map(|length| start.saturating_add(length));
    // A wrong offset is refused later, with the right one.
    if start <= most && sending.length.max(announced).is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    if let (Some(length), Some(announced)) = (sending.length, announced)
        && (announced > length || (sending.last && announced < length))
    {
        let detail = format!("The body would end at byte {announced}, beyond the announced total of {length}.");
        return Err(Problem::malformed(detail));
    }
    Ok(announced)
}

fn replaced() -> Problem {
    Problem::conflict("Another client has continued this upload.")
}
