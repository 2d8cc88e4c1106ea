//! From the bucket into the registry, in one pass and without a disk. It may be stopped anywhere and begun again: layers
//! that are in the registry already are not sent twice, and the archive is deleted only when its image is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::FailureReason;
use cofferdam_registry::{Credentials, Reference};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};

use super::{Bucket, CloudError, Ecr};
use crate::Error;
use crate::agents::uploads::{Presign, PushFailure, push};
use crate::agents::{Carrier, NotCarried, PushedImage, registries};
use crate::clock::now;
use crate::environments::{Cloud, Environment, Kind};
use crate::services::App;
use crate::store::DeploymentRow;

/// The carrier of cloud environments, and the maker of their links.
pub struct S3ToRegistry;

impl S3ToRegistry {
    /// Makes it known to those who use it.
    pub fn install(app: &App) {
        app.agents.set_carrier(Arc::new(Self));
        app.uploads.set_presign(Arc::new(Self));
    }
}

impl Carrier for S3ToRegistry {
    fn carry<'a>(
        &'a self,
        app: &'a App,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        received: &'a AtomicU64,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>> {
        carry(app, environment, deployment, received).boxed()
    }
}

impl Presign for S3ToRegistry {
    fn presign<'a>(
        &'a self,
        _app: &'a App,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        expires_at: i64,
    ) -> BoxFuture<'a, Result<String, Error>> {
        async move {
            let cloud = cloud(environment).map_err(|failure| Error::Row(failure.detail))?;
            let bucket = Bucket::open(cloud).map_err(refused)?;
            let place = bucket.place(&deployment.organization, &deployment.agent, &deployment.id);
            let left = u64::try_from(expires_at.saturating_sub(now())).unwrap_or(0);
            let link = bucket.link(&place, Duration::from_secs(left)).await.map_err(refused)?;
            Ok(link.into())
        }
        .boxed()
    }
}

/// What the operator has to mend, or a moment of the cloud's.
fn refused(error: CloudError) -> Error {
    let detail = error.to_string();
    let problem = match error {
        CloudError::Settings(_) => cofferdam_contract::Problem::invalid(detail),
        CloudError::Unreachable(_) | CloudError::NothingThere(_) => cofferdam_contract::Problem::bad_upstream(detail),
    };
    problem.into()
}

fn cloud(environment: &Environment) -> Result<&Cloud, NotCarried> {
    match &environment.kind {
        Kind::Cloud(cloud) => Ok(cloud),
        Kind::SelfDeployed => Err(NotCarried {
            reason: FailureReason::Internal,
            detail: format!("The environment {:?} has no bucket.", environment.name),
            retryable: false,
        }),
    }
}

async fn carry(
    app: &App,
    environment: &Environment,
    row: &DeploymentRow,
    received: &AtomicU64,
) -> Result<PushedImage, NotCarried> {
    let cloud = cloud(environment)?;
    let bucket = Bucket::open(cloud)?;
    let place = bucket.place(&row.organization, &row.agent, &row.id);
    let most = app.config.uploads.max_image_bytes;
    let size = bucket.size(&place).await?;
    if size.is_some_and(|size| size > most) {
        let detail = format!("The archive is larger than {most} bytes, which is the most (COFFERDAM_MAX_IMAGE_BYTES).");
        return Err(NotCarried { reason: FailureReason::BadImage, detail, retryable: false });
    }
    let credentials = if cloud.ecr { Some(password(cloud, environment, row).await?) } else { None };
    if size.is_none() {
        return carried_before(environment, row, credentials).await;
    }
    let broke = AtomicBool::new(false);
    received.store(0, Ordering::Relaxed);
    let counted = |piece: &bytes::Bytes| {
        received.fetch_add(piece.len() as u64, Ordering::Relaxed);
    };
    let stream = bucket.read(&place).await?.inspect_ok(counted).map_err(|error| {
        broke.store(true, Ordering::Relaxed);
        std::io::Error::other(error)
    });
    let pushed = push::push(app, row, environment, credentials, stream).await.map_err(|failure| {
        if broke.load(Ordering::Relaxed) {
            return CloudError::Unreachable("S3 broke off in the middle of the archive. It is tried again.".to_owned())
                .into();
        }
        NotCarried::from(failure)
    })?;
    // What stays behind where this fails is removed by the bucket's own lifecycle.
    if let Err(error) = bucket.delete(&place).await {
        tracing::warn!(%error, deployment = %row.id, "an archive stays in the bucket");
    }
    Ok(pushed.image)
}

/// The archive is gone when its image is complete: then a carrier before us was stopped after its work was done.
async fn carried_before(
    environment: &Environment,
    row: &DeploymentRow,
    credentials: Option<Credentials>,
) -> Result<PushedImage, NotCarried> {
    let mut target = push::target(row, environment)?;
    target.credentials = credentials.unwrap_or(target.credentials);
    // A tag is written last, and it is this deployment's own.
    registries::ask(&target, &environment.architecture).await.map_err(|_| {
        let nothing = "Nothing was uploaded to the link. Send the archive with PUT, then deploy again.";
        CloudError::NothingThere(nothing.to_owned()).into()
    })
}

/// ECR's password for now, and the repository made.
async fn password(cloud: &Cloud, environment: &Environment, row: &DeploymentRow) -> Result<Credentials, NotCarried> {
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
        .ok_or_else(|| CloudError::Unreachable("ECR's token is none. It is tried again.".to_owned()).into())
}

impl From<CloudError> for NotCarried {
    fn from(error: CloudError) -> Self {
        Self { reason: error.reason(), retryable: error.is_retryable(), detail: error.to_string() }
    }
}

impl From<PushFailure> for NotCarried {
    fn from(failure: PushFailure) -> Self {
        Self { reason: failure.reason, retryable: failure.retryable, detail: failure.detail }
    }
}
