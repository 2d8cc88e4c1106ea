//! From S3 into the registry, in one pass. A carriage may be stopped at any point and started again: layers that are in the
//! registry are not sent twice, and the archive is deleted only after its image is complete.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::FailureReason;
use cofferdam_core::now;
use cofferdam_environments::{Cloud, Environment, Kind};
use cofferdam_registry::{Credentials, Reference};
use cofferdam_store::DeploymentRow;
use cofferdam_uploads::{Carrier, NotCarried, Presign, PushedImage, RegistryPipeline, UploadsConfig, look_up, target};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};

use crate::bucket::Bucket;
use crate::ecr::Ecr;
use crate::error::Error;

/// Carries images of AWS environments, and makes their upload links.
pub struct Aws {
    max_image_bytes: u64,
    pipeline: RegistryPipeline,
}

impl Aws {
    pub fn new(config: UploadsConfig, pipeline: RegistryPipeline) -> Self {
        Self { max_image_bytes: config.max_image_bytes, pipeline }
    }
}

impl Carrier for Aws {
    fn carry<'a>(
        &'a self,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        received: &'a AtomicU64,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>> {
        self.carry(environment, deployment, received).boxed()
    }
}

impl Presign for Aws {
    fn presign<'a>(
        &'a self,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<String, cofferdam_uploads::Error>> {
        presign(environment, deployment, expires_at).boxed()
    }
}

async fn presign(
    environment: &Environment,
    row: &DeploymentRow,
    expires_at: i64,
) -> Result<String, cofferdam_uploads::Error> {
    let no_bucket = || cofferdam_uploads::Error::NoBucket(environment.name.clone());
    let bucket = Bucket::open(cloud(environment).ok_or_else(no_bucket)?)?;
    let place = bucket.place(&row.organization, &row.agent, &row.id);
    let left = u64::try_from(expires_at.saturating_sub(now())).unwrap_or(0);
    Ok(bucket.link(&place, Duration::from_secs(left)).await?.into())
}

impl Aws {
    async fn carry(
        &self,
        environment: &Environment,
        row: &DeploymentRow,
        received: &AtomicU64,
    ) -> Result<PushedImage, NotCarried> {
        let cloud = cloud(environment).ok_or_else(|| NotCarried {
            reason: FailureReason::Internal,
            detail: format!("The environment {:?} has no bucket.", environment.name),
            retryable: false,
        })?;
        let bucket = Bucket::open(cloud)?;
        let place = bucket.place(&row.organization, &row.agent, &row.id);
        let size = bucket.size(&place).await?;
        let max = self.max_image_bytes;
        if size.is_some_and(|size| size > max) {
            let detail = format!("The archive is larger than the limit of {max} bytes (COFFERDAM_MAX_IMAGE_BYTES).");
            return Err(NotCarried { reason: FailureReason::BadImage, detail, retryable: false });
        }
        let credentials = if cloud.ecr { Some(ecr_credentials(cloud, environment, row).await?) } else { None };
        if size.is_none() {
            return carried_before(environment, row, credentials).await;
        }
        let broke = AtomicBool::new(false);
        received.store(0, Ordering::Relaxed);
        let count = |piece: &bytes::Bytes| {
            received.fetch_add(piece.len() as u64, Ordering::Relaxed);
        };
        let stream = bucket.read(&place).await?.inspect_ok(count).map_err(|error| {
            broke.store(true, Ordering::Relaxed);
            std::io::Error::other(error)
        });
        let pushed = self.pipeline.push_as(row, environment, credentials, stream).await.map_err(|failure| {
            if broke.load(Ordering::Relaxed) {
                let detail = "S3 closed the connection in the middle of the archive; retrying.";
                return Error::Unreachable(detail.to_owned()).into();
            }
            NotCarried::from(failure)
        })?;
        // The bucket's lifecycle removes the archive if this fails.
        if let Err(error) = bucket.delete(&place).await {
            tracing::warn!(%error, deployment = %row.id, "cannot delete an archive from its bucket");
        }
        Ok(pushed.image)
    }
}

fn cloud(environment: &Environment) -> Option<&Cloud> {
    match &environment.kind {
        Kind::Cloud(cloud) => Some(cloud),
        Kind::SelfDeployed => None,
    }
}

/// Finds the image of a carriage that was stopped after the archive was deleted: the image is complete then.
async fn carried_before(
    environment: &Environment,
    row: &DeploymentRow,
    credentials: Option<Credentials>,
) -> Result<PushedImage, NotCarried> {
    let mut target = target(row, environment)?;
    target.credentials = credentials.unwrap_or(target.credentials);
    // The tag is written last, and only this deployment uses it.
    look_up(&target, &environment.architecture).await.map_err(|problem| {
        tracing::info!(deployment = %row.id, detail = problem.detail, "no archive in the bucket and no image in the registry");
        Error::nothing_there().into()
    })
}

/// Makes the repository in ECR, and gets a password for it.
async fn ecr_credentials(
    cloud: &Cloud,
    environment: &Environment,
    row: &DeploymentRow,
) -> Result<Credentials, NotCarried> {
    let ecr = Ecr::open(cloud).await;
    let place = environment.repository(&row.organization, &row.agent).unwrap_or_default();
    let reference = Reference::parse(&place).map_err(|error| NotCarried {
        reason: FailureReason::Registry,
        detail: format!("{place:?}: {error}"),
        retryable: false,
    })?;
    ecr.ensure(reference.repository()).await?;
    let token = ecr.token().await?;
    Credentials::from_base64(token.expose())
        .ok_or_else(|| Error::Unreachable("ECR returned an invalid token; retrying.".to_owned()).into())
}

/// Selects the TLS provider that the rest of this program uses, for both AWS clients.
pub(crate) fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only if a provider is installed, which is the same one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    });
}
