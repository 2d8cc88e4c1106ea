//! Connects the upload engine with a deployment that waits for its image. The pipeline brings the bytes into a
//! registry; the result is written to the store before it is announced.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{DeploymentId, FailureReason};
use cofferdam_core::chain;
use cofferdam_environments::Environment;
use cofferdam_store::DeploymentRow;
use cofferdam_uploads::{Incoming, Pipeline, PushFailure, Pushed, Work};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{Deployments, Error};

/// Attempts to store the result of an upload; each wait is three times as long as the one before.
const MAX_TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);

pub(super) struct ImageWork {
    deployments: Arc<Deployments>,
    pipeline: Arc<dyn Pipeline>,
    row: DeploymentRow,
    environment: Arc<Environment>,
}

impl ImageWork {
    pub(super) fn new(
        deployments: Arc<Deployments>,
        pipeline: Arc<dyn Pipeline>,
        row: DeploymentRow,
        environment: Environment,
    ) -> Self {
        Self { deployments, pipeline, row, environment: Arc::new(environment) }
    }
}

impl Work for ImageWork {
    fn push(&self, incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let (row, environment) = (self.row.clone(), Arc::clone(&self.environment));
        let (deployments, pipeline) = (Arc::clone(&self.deployments), Arc::clone(&self.pipeline));
        async move {
            // A deployment with an image is sent the same archive once more, and must get the same image.
            if row.image.is_empty() {
                deployments.pushing(&row.id).await.map_err(|error| failure_of(&error))?;
            }
            pipeline.push(row, environment, incoming).await
        }
        .boxed()
    }

    fn wanted(&self, received: u64, absent: Duration) -> BoxFuture<'static, bool> {
        let (deployments, id) = (Arc::clone(&self.deployments), self.row.id.clone());
        let has_image = !self.row.image.is_empty();
        async move {
            match deployments.upload_heard(&id, received, absent).await {
                Ok(wanted) => wanted || has_image,
                // The upload continues while the store is unreachable.
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "an upload's progress could not be stored");
                    true
                }
            }
        }
        .boxed()
    }

    fn record(&self, ended: Result<Pushed, PushFailure>) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let (deployments, id) = (Arc::clone(&self.deployments), self.row.id.clone());
        async move {
            let mut wait = FIRST_WAIT;
            for attempt in 1.. {
                match write(&deployments, &id, &ended).await {
                    Ok(()) => break,
                    Err(error @ Error::Refused(_)) => return Err(failure_of(&error)),
                    Err(error) if attempt == MAX_TRIES => return Err(failure_of(&error)),
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "an upload's result could not be stored");
                    }
                }
                tokio::time::sleep(wait).await;
                wait *= 3;
            }
            ended
        }
        .boxed()
    }
}

async fn write(deployments: &Deployments, id: &DeploymentId, ended: &Result<Pushed, PushFailure>) -> Result<(), Error> {
    match ended {
        Ok(pushed) => deployments.image_arrived(id, pushed.image.clone()).await.map(drop),
        Err(failure) => deployments.upload_failed(id, failure.reason, &failure.detail).await.map(drop),
    }
}

/// A failure as the sender is told of it. The causes of our own failures go to the log only.
fn failure_of(error: &Error) -> PushFailure {
    match error {
        Error::Refused(problem) => PushFailure::new(FailureReason::Superseded, problem.detail.clone()),
        error => {
            tracing::error!(error = %chain(error), "an upload failed on our side");
            let detail = "Something failed on our side while the image was pushed: send it again.";
            PushFailure::new(FailureReason::Internal, detail).once_more()
        }
    }
}
