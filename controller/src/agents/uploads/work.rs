//! What an upload is for: a deployment that waits for its image. The pipeline brings the bytes into a registry; what came
//! of it is written down here before anybody is told.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{DeploymentId, FailureReason};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Incoming, PushFailure, Pushed, Work};
use crate::Error;
use crate::agents;
use crate::environments::Environment;
use crate::services::App;
use crate::store::DeploymentRow;

/// How often the store is asked again to write down what came of an upload, three times later each time.
const TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Brings an archive into the registry of an environment. Ends early where the archive is bad; ends for good when it is
/// dropped.
pub trait Pipeline: Send + Sync {
    fn push(
        &self,
        app: App,
        deployment: DeploymentRow,
        environment: Arc<Environment>,
        incoming: Incoming,
    ) -> BoxFuture<'static, Result<Pushed, PushFailure>>;
}

pub struct ImageWork {
    app: App,
    pipeline: Arc<dyn Pipeline>,
    row: DeploymentRow,
    environment: Arc<Environment>,
}

impl ImageWork {
    pub fn new(app: &App, pipeline: Arc<dyn Pipeline>, row: DeploymentRow, environment: Environment) -> Self {
        Self { app: Arc::clone(app), pipeline, row, environment: Arc::new(environment) }
    }
}

impl Work for ImageWork {
    fn push(&self, incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let (app, row, environment) = (Arc::clone(&self.app), self.row.clone(), Arc::clone(&self.environment));
        let pipeline = Arc::clone(&self.pipeline);
        async move {
            // One that has an image already is sent once more: what comes out has to be the same.
            if row.image.is_empty() {
                agents::pushing(&app, &row.id).await.map_err(|error| failure_of(&error))?;
            }
            pipeline.push(app, row, environment, incoming).await
        }
        .boxed()
    }

    fn wanted(&self, received: u64) -> BoxFuture<'static, bool> {
        let (app, id) = (Arc::clone(&self.app), self.row.id.clone());
        let has_image = !self.row.image.is_empty();
        async move {
            match agents::upload_progress(&app, &id, received).await {
                Ok(wanted) => wanted || has_image,
                // A store that cannot be asked says nothing.
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "an upload's progress could not be noted");
                    true
                }
            }
        }
        .boxed()
    }

    fn record(&self, ended: Result<Pushed, PushFailure>) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let (app, id) = (Arc::clone(&self.app), self.row.id.clone());
        async move {
            let mut wait = FIRST_WAIT;
            for attempt in 1.. {
                match write(&app, &id, &ended).await {
                    Ok(()) => break,
                    Err(Error::Refused(problem)) => {
                        return Err(PushFailure::new(FailureReason::Superseded, problem.detail.clone()));
                    }
                    Err(error) if attempt == TRIES => return Err(failure_of(&error)),
                    Err(error) => tracing::warn!(error = %error.chain(), "an upload's end could not be written down"),
                }
                tokio::time::sleep(wait).await;
                wait *= 3;
            }
            ended
        }
        .boxed()
    }
}

async fn write(app: &App, id: &DeploymentId, ended: &Result<Pushed, PushFailure>) -> Result<(), Error> {
    match ended {
        Ok(pushed) => agents::image_arrived(app, id, pushed.image.clone()).await.map(drop),
        Err(failure) => agents::upload_failed(app, id, failure.reason, &failure.detail).await.map(drop),
    }
}

/// A failure of the controller's own, without its chain, which is in the log.
fn failure_of(error: &Error) -> PushFailure {
    match error {
        Error::Refused(problem) => PushFailure::new(FailureReason::Superseded, problem.detail.clone()),
        error => {
            tracing::error!(error = %error.chain(), "an upload failed on our side");
            let detail = "Something failed on our side while the image was pushed: send it again.";
            PushFailure::new(FailureReason::Internal, detail).once_more()
        }
    }
}
