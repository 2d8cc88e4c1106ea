//! What the API decides about uploads: who gets a link and who may send under it, and what a sender is told. A link that is
//! not good says nothing of why.

use std::sync::{Arc, RwLock};

use axum::body::Body;
use cofferdam_contract::{AgentId, DeploymentId, DeploymentState, FailureReason, Problem};
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::runtime::Handle;
use utoipa::ToSchema;

use super::push::Registries;
use super::receive::{Stopped, receive};
use super::work::{ImageWork, Pipeline};
use super::{At, Ended, Full, Hold, Limits, Links, Live, Progress, PushFailure, Refused, Ticket, Work};
use crate::Error;
use crate::agents::{self, Once};
use crate::auth::Caller;
use crate::clock::now;
use crate::config::{Config, UploadsConfig};
use crate::environments::{Environment, Kind};
use crate::services::App;
use crate::store::DeploymentRow;
use crate::vault::Vault;

/// After a failure that may come right, the archive may be sent again for so long.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(120);
/// The registry may take nothing for so long.
const STALL: std::time::Duration = std::time::Duration::from_secs(300);

/// Makes links that lead elsewhere: to a bucket.
pub trait Presign: Send + Sync {
    fn presign<'a>(
        &'a self,
        app: &'a App,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<String, Error>>;
}

pub struct Uploads {
    links: Links,
    live: Live,
    presign: RwLock<Option<Arc<dyn Presign>>>,
    pipeline: RwLock<Arc<dyn Pipeline>>,
}

impl Uploads {
    /// Pipelines run in the runtime that this is called in.
    pub fn new(config: &Config, vault: &Vault) -> Self {
        let UploadsConfig { max_image_bytes, max, max_per_organization, idle, wait, whole, .. } = config.uploads;
        let limits = Limits {
            image_bytes: max_image_bytes,
            at_once: max,
            per_organization: max_per_organization,
            idle,
            absence: wait,
            whole,
            stall: STALL,
            again: AGAIN,
        };
        let live = Live::new(limits, Handle::current());
        Self { links: Links::new(vault), live, presign: RwLock::default(), pipeline: RwLock::new(Arc::new(Registries)) }
    }

    pub fn set_presign(&self, presign: Arc<dyn Presign>) {
        *self.presign.write().unwrap_or_else(|e| e.into_inner()) = Some(presign);
    }

    fn presign(&self) -> Option<Arc<dyn Presign>> {
        self.presign.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Images go elsewhere from now on: tests have pipelines of their own.
    pub fn set_pipeline(&self, pipeline: Arc<dyn Pipeline>) {
        *self.pipeline.write().unwrap_or_else(|e| e.into_inner()) = pipeline;
    }

    fn pipeline(&self) -> Arc<dyn Pipeline> {
        Arc::clone(&self.pipeline.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Uploads that are under way in this process.
    pub fn count(&self) -> usize {
        self.live.count()
    }

    pub fn max_image_bytes(&self) -> u64 {
        self.live.limits().image_bytes
    }
}

/// Where an image is to be sent, and how. The same for every kind of environment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UploadLink {
    pub agent_id: AgentId,
    pub deployment_id: DeploymentId,
    /// The deployment's number.
    pub version: u64,
    /// Who has it may send one image; keep it as you would a password.
    pub link: String,
    pub method: &'static str,
    /// To be sent along.
    pub headers: std::collections::BTreeMap<String, String>,
    /// Unix time in seconds; an upload that has begun may go on after it.
    pub expires_at: i64,
    pub state: &'static str,
}

/// Begins an upload and makes its link. `base` is the address under which the caller has reached us.
///
/// # Errors
/// As [`agents::begin_upload`].
pub async fn begin(app: &App, caller: &Caller, base: &str, id: &AgentId, once: &Once) -> Result<UploadLink, Error> {
    let info = agents::begin_upload(app, caller, id, once).await?;
    let (row, environment) = agents::find_deployment(app, &info.id).await?;
    let life = i64::try_from(app.config.agents.timing.upload.as_secs()).unwrap_or(i64::MAX);
    let expires_at = now().saturating_add(life);
    let link = match environment.kind {
        Kind::SelfDeployed => {
            let deployment = row.id.clone();
            let ticket =
                Ticket { organization: row.organization.clone(), agent: row.agent.clone(), deployment, expires_at };
            format!("{base}/uploads/{}", app.uploads.links.token(&ticket)?.expose())
        }
        Kind::Cloud(_) => {
            let presign = app.uploads.presign().ok_or_else(|| {
                Problem::unavailable("This server has no access to the environment's bucket; its operator can give it.")
            })?;
            presign.presign(app, &environment, &row, expires_at).await?
        }
    };
    Ok(UploadLink {
        agent_id: row.agent,
        deployment_id: row.id,
        version: row.number,
        link,
        method: "PUT",
        headers: std::collections::BTreeMap::new(),
        expires_at,
        state: row.state.contract_name(),
    })
}

/// Why a sender is not served.
pub struct Refusal {
    pub error: Error,
    /// Where the upload is, for one who may go on.
    pub progress: Option<Progress>,
    /// Seconds to wait.
    pub retry_after: Option<u32>,
    /// Whether some of the body was read.
    pub reading: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, progress: None, retry_after: None, reading: false }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Error::from(problem).into()
    }
}

fn not_good() -> Error {
    Problem::not_found("There is no such upload; its link may have expired. Ask for a new one.").into()
}

/// What a link is for, if it is good.
async fn find(app: &App, token: &str) -> Result<(DeploymentRow, Environment), Error> {
    let ticket = app.uploads.links.open(token).ok_or_else(not_good)?;
    if ticket.expires_at < now() && !app.uploads.live.is_under_way(&ticket.deployment) {
        return Err(not_good());
    }
    let (row, environment) = agents::find_deployment(app, &ticket.deployment).await.map_err(|error| match error {
        Error::Refused(_) => not_good(),
        other => other,
    })?;
    let own = row.organization == ticket.organization && row.agent == ticket.agent;
    if own && matches!(environment.kind, Kind::SelfDeployed) { Ok((row, environment)) } else { Err(not_good()) }
}

/// Whether something can still be sent for it.
fn takes(row: &DeploymentRow) -> Result<(), Problem> {
    let waits = matches!(row.state, DeploymentState::Uploading | DeploymentState::Pushing);
    if waits || !row.image.is_empty() {
        return Ok(());
    }
    let state = row.state.name();
    let detail =
        format!("Deployment {} is {state}: {} Ask for a new link and send the image again.", row.number, row.detail);
    Err(Problem::conflict(detail))
}

/// How far an upload is.
///
/// # Errors
/// A link that is not good; a deployment that takes nothing any more.
pub async fn progress(app: &App, token: &str) -> Result<Progress, Refusal> {
    let (row, _) = find(app, token).await?;
    let (progress, ended) = app.uploads.live.look(&row.id);
    if let Some(Err(failure)) = ended.as_deref() {
        // One that may be sent again begins at 0.
        return if failure.retryable { Ok(Progress::NOTHING) } else { Err(problem(failure).into()) };
    }
    takes(&row)?;
    if row.image.is_empty() || progress.complete {
        return Ok(progress);
    }
    Ok(Progress { offset: row.received_bytes, length: Some(row.received_bytes), complete: true })
}

/// What a request says of its body.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    pub from: At,
    /// Whether the body's end is the archive's.
    pub last: bool,
    /// Of the whole archive, where it is known.
    pub length: Option<u64>,
    /// Of this body, where it is known.
    pub body_length: Option<u64>,
}

/// What has become of a body.
pub enum Sent {
    /// There is more to come.
    Part(Progress),
    All(Box<Uploaded>),
}

/// An image that has arrived.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Uploaded {
    pub deployment: agents::DeploymentInfo,
    /// Bytes of the archive.
    pub received_bytes: u64,
    pub layers: u64,
    /// Of those, how many the registry had already.
    pub skipped: u64,
    /// To the registry.
    pub sent_bytes: u64,
    /// What is worth knowing, such as what was left out of the archive.
    pub notes: Vec<String>,
}

/// Takes a body, and where it is the last one waits until the image is in the registry.
///
/// # Errors
/// [`Refusal`].
pub async fn send(app: &App, token: &str, sending: Sending, body: &mut Body) -> Result<Sent, Refusal> {
    let (row, environment) = find(app, token).await?;
    let live = &app.uploads.live;
    if takes(&row).is_err()
        && let (_, Some(ended)) = live.look(&row.id)
        && let Err(failure) = &*ended
    {
        return Err(problem(failure).into());
    }
    takes(&row)?;
    let most = live.limits().image_bytes;
    let start = if let At::Offset(offset) = sending.from { offset } else { 0 };
    let announced = sending.body_length.map(|length| start.saturating_add(length));
    // An offset that cannot be is refused with the right one below.
    if start <= most && sending.length.max(announced).is_some_and(|length| length > most) {
        return Err(too_large(most).into());
    }
    if let (Some(length), Some(announced)) = (sending.length, announced)
        && (announced > length || (sending.last && announced < length))
    {
        let detail = format!("The body would end at byte {announced} of {length}, which it says the whole has.");
        return Err(Problem::malformed(detail).into());
    }
    let (id, organization) = (row.id.clone(), row.organization.clone());
    let work: Arc<dyn Work> = Arc::new(ImageWork::new(app, app.uploads.pipeline(), row, environment));
    let hold = live.hold(&organization, &id, sending.from, &work).await.map_err(|why| refusal(why, live.limits()))?;
    let length = sending.length.or(announced.filter(|_| sending.last));
    if length.is_some_and(|length| !hold.announce(length)) {
        let detail = "The whole had another length when this upload began: start it again without an offset.";
        return Err(with_progress(Problem::malformed(detail), hold.progress()));
    }
    take(app, &id, hold, sending, body).await.map_err(|refusal| Refusal { reading: true, ..refusal })
}

async fn take(app: &App, id: &DeploymentId, hold: Hold, sending: Sending, body: &mut Body) -> Result<Sent, Refusal> {
    let limits = app.uploads.live.limits();
    let stopped = receive(&hold, body, limits).await;
    let progress = hold.progress();
    match stopped {
        Ok(()) => {
            if !sending.last || progress.length.is_some_and(|length| progress.offset < length) {
                return Ok(Sent::Part(progress));
            }
            if hold.complete().is_err() {
                return Err(with_progress(replaced(), progress));
            }
        }
        Err(Stopped::Ended) => {}
        Err(Stopped::TooLarge) => {
            let problem = too_large(limits.image_bytes);
            hold.give_up(PushFailure::new(FailureReason::BadImage, problem.detail.clone()));
            return Err(problem.into());
        }
        Err(Stopped::TooMuch) => {
            let detail = "More came than the upload was said to have in all; what was announced has been kept.";
            return Err(with_progress(Problem::malformed(detail), progress));
        }
        Err(Stopped::Replaced) => return Err(with_progress(replaced(), progress)),
        Err(Stopped::Silent) => {
            let (idle, wait) = (limits.idle.as_secs(), limits.absence.as_secs());
            let detail = format!(
                "Nothing came for {idle} s. Go on within {wait} s, at the offset that HEAD on the link answers."
            );
            return Err(with_progress(Problem::slow_request(detail), progress));
        }
        Err(Stopped::Broke(why)) => {
            let detail = format!("The body broke off ({why}). Go on at the offset that HEAD on the link answers.");
            return Err(with_progress(Problem::malformed(detail), progress));
        }
    }
    let ended = hold.ended().await;
    let received_bytes = hold.progress().offset;
    drop(hold);
    uploaded(app, id, received_bytes, &ended).await
}

async fn uploaded(app: &App, id: &DeploymentId, received_bytes: u64, ended: &Ended) -> Result<Sent, Refusal> {
    let pushed = ended.as_ref().as_ref().map_err(problem)?;
    let (row, _) = agents::find_deployment(app, id).await?;
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

fn with_progress(problem: Problem, progress: Progress) -> Refusal {
    Refusal { error: problem.into(), progress: Some(progress), retry_after: None, reading: false }
}

fn replaced() -> Problem {
    Problem::conflict("Another client has gone on with this upload.")
}

fn too_large(most: u64) -> Problem {
    let detail =
        format!("An image may have at most {most} bytes as it is sent; the operator sets COFFERDAM_MAX_IMAGE_BYTES.");
    Problem::too_large(detail)
}

fn refusal(why: Refused, limits: &Limits) -> Refusal {
    match why {
        Refused::Busy => {
            let mut problem =
                Problem::conflict("Another client is sending this upload; wait until it is done or gone.");
            problem.retryable = true;
            Refusal { error: problem.into(), progress: None, retry_after: Some(3), reading: false }
        }
        Refused::Mismatch(progress) => {
            let detail = format!(
                "The upload is at byte {}: go on from there with Upload-Offset: {}, or start again with PUT.",
                progress.offset, progress.offset
            );
            with_progress(Problem::conflict(detail), progress)
        }
        Refused::Full(full) => {
            let detail = match full {
                Full::Organization => {
                    let most = limits.per_organization;
                    format!(
                        "{most} uploads of this organization are under way, which is the most; wait for one to end."
                    )
                }
                Full::All => {
                    format!("{} uploads are under way, which is the most; wait for one to end.", limits.at_once)
                }
            };
            Refusal { error: Problem::overloaded(detail).into(), progress: None, retry_after: Some(10), reading: false }
        }
    }
}

/// A failed push as the sender is told of it.
fn problem(failure: &PushFailure) -> Problem {
    let detail = failure.detail.clone();
    let mut problem = match failure.reason {
        FailureReason::BadImage => Problem::bad_image(detail),
        FailureReason::Registry => Problem::bad_upstream(detail),
        FailureReason::UploadLost => Problem::slow_request(detail),
        FailureReason::Internal => Problem::internal(detail),
        _ => Problem::conflict(detail),
    };
    problem.retryable = failure.retryable;
    problem
}
