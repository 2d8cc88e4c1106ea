//! Uploads as callers see them: who gets a link, who may send under it, and how far an upload is. The bytes themselves are
//! the business of `cofferdam-uploads`. A link that is not valid is refused without a reason.

mod receive;
mod refusal;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::{AgentId, DeploymentId, OrganizationId, Problem};
use cofferdam_core::{Caller, Vault, now};
use cofferdam_environments::{Environment, Kind};
use cofferdam_store::DeploymentRow;
use cofferdam_uploads::{Links, Live, Pipeline, Presign, Progress, Ticket, UploadsConfig};
use serde::Serialize;
use tokio::runtime::Handle;
use utoipa::ToSchema;

pub use receive::{Sending, Sent, Uploaded};
pub use refusal::Refusal;

use crate::states::expects_image;
use crate::{DeployRequest, Deployments, Error, Once};

/// Takes uploads of images for deployments.
pub struct Uploads {
    deployments: Arc<Deployments>,
    links: Links,
    live: Live,
    pipeline: Arc<dyn Pipeline>,
    presign: Option<Arc<dyn Presign>>,
}

/// A link under which an image can be sent. It looks the same for every kind of environment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UploadLink {
    pub agent_id: AgentId,
    pub deployment_id: DeploymentId,
    /// The deployment's number.
    pub version: u64,
    /// Its holder may send one image; keep it as you would a password.
    pub link: String,
    pub method: &'static str,
    /// Headers to send along.
    pub headers: BTreeMap<String, String>,
    /// Unix time in seconds. An upload that has begun may continue after it.
    pub expires_at: i64,
    pub state: &'static str,
}

impl Uploads {
    /// Call it within the runtime that the pipelines are to run in. Without `presign` there are no links for environments
    /// with a bucket.
    pub fn new(
        deployments: Arc<Deployments>,
        vault: &Vault,
        config: UploadsConfig,
        pipeline: Arc<dyn Pipeline>,
        presign: Option<Arc<dyn Presign>>,
    ) -> Arc<Self> {
        let live = Live::new(config.limits(), Handle::current());
        Arc::new(Self { deployments, links: Links::new(vault), live, pipeline, presign })
    }

    /// Uploads under way in this process.
    pub fn count(&self) -> usize {
        self.live.count()
    }

    /// The largest archive, in bytes as sent.
    pub fn max_image_bytes(&self) -> u64 {
        self.live.limits().image_bytes
    }

    /// Begins an upload and makes its link. `base` is the address under which the caller reached us, `archive_image` the
    /// wanted image in an archive that has several, `how` the settings with which it is to be deployed: they are only checked.
    ///
    /// # Errors
    /// As [`Deployments::begin_upload_of`]; [`Problem::unavailable`] if this server has no access to the environment's bucket.
    pub async fn begin(
        &self,
        caller: &Caller,
        base: &str,
        id: &AgentId,
        archive_image: Option<&str>,
        how: &DeployRequest,
        once: &Once,
    ) -> Result<UploadLink, Error> {
        let info = self.deployments.begin_upload_of(caller, id, archive_image, how, once).await?;
        let (row, environment) = self.deployments.find_deployment(&info.id).await?;
        let valid_s = i64::try_from(self.deployments.config.timing.upload.as_secs()).unwrap_or(i64::MAX);
        let expires_at = now().saturating_add(valid_s);
        let link = match environment.kind {
            Kind::SelfDeployed => {
                let (organization, agent) = (row.organization.clone(), row.agent.clone());
                let ticket = Ticket { organization, agent, deployment: row.id.clone(), expires_at };
                format!("{base}/uploads/{}", self.links.token(&ticket)?.expose())
            }
            Kind::Cloud(_) => {
                let presign = self.presign.as_ref().ok_or_else(|| {
                    let detail = "This server has no access to the environment's bucket; its operator can give it.";
                    Problem::unavailable(detail)
                })?;
                presign.presign(&environment, &row, expires_at).await?
            }
        };
        Ok(UploadLink {
            agent_id: row.agent,
            deployment_id: row.id,
            version: row.number,
            link,
            method: "PUT",
            headers: BTreeMap::new(),
            expires_at,
            state: row.state.contract_name(),
        })
    }

    /// The progress of an upload.
    ///
    /// # Errors
    /// An invalid link; a deployment that no longer accepts an image.
    pub async fn progress(&self, token: &str) -> Result<Progress, Refusal> {
        let (row, _) = self.find(token).await?;
        let (progress, ended) = self.live.look(&row.id);
        if let Some(Err(failure)) = ended.as_deref() {
            // After a temporary failure the archive is sent again from its start.
            return if failure.retryable { Ok(Progress::NOTHING) } else { Err(refusal::problem(failure).into()) };
        }
        takes_image(&row)?;
        if row.image.is_empty() || progress.complete {
            return Ok(progress);
        }
        Ok(Progress { offset: row.received_bytes, length: Some(row.received_bytes), complete: true })
    }

    /// The organization and the agent that a link is for, if it is one of ours. It may be over.
    pub fn named(&self, token: &str) -> Option<(OrganizationId, AgentId)> {
        self.links.open(token).map(|ticket| (ticket.organization, ticket.agent))
    }

    /// The deployment that a valid link names.
    async fn find(&self, token: &str) -> Result<(DeploymentRow, Environment), Error> {
        let ticket = self.links.open(token).ok_or_else(invalid_link)?;
        if ticket.expires_at < now() && !self.live.is_under_way(&ticket.deployment) {
            return Err(invalid_link());
        }
        let (row, environment) =
            self.deployments.find_deployment(&ticket.deployment).await.map_err(|error| match error {
                Error::Refused(_) => invalid_link(),
                other => other,
            })?;
        let own = row.organization == ticket.organization && row.agent == ticket.agent;
        match environment.kind {
            Kind::SelfDeployed if own => Ok((row, environment)),
            Kind::SelfDeployed | Kind::Cloud(_) => Err(invalid_link()),
        }
    }
}

fn invalid_link() -> Error {
    Problem::not_found("There is no such upload; its link may have expired. Ask for a new one.").into()
}

/// Checks that an image may still be sent, or sent again, for the deployment.
fn takes_image(row: &DeploymentRow) -> Result<(), Problem> {
    if expects_image(row.state) || !row.image.is_empty() {
        return Ok(());
    }
    let state = row.state.name();
    let detail =
        format!("Deployment {} is {state}: {} Ask for a new link and send the image again.", row.number, row.detail);
    Err(Problem::conflict(detail))
}
