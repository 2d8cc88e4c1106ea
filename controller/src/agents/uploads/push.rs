//! An upload's pipeline: what arrives goes into the registry as it comes, what came of it is written down. It holds the
//! registry's credentials for as long as the push takes and shows them nowhere.

use std::sync::Arc;

use cofferdam_contract::{DeploymentId, FailureReason};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::push::progress::Progress;
use cofferdam_registry::{Credentials, Fault, Limits, Options, Platform, Reference, Rules, Target};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use super::cache::StoreCache;
use super::{Incoming, PushFailure, Pushed, Work};
use crate::Error;
use crate::agents::{self, PushedImage};
use crate::environments::Environment;
use crate::services::App;
use crate::store::DeploymentRow;

/// How often the store is asked again to write down what came of an upload, a little later each time.
const TRIES: u32 = 6;

pub struct PushWork {
    app: App,
    row: DeploymentRow,
    environment: Arc<Environment>,
}

impl PushWork {
    pub fn new(app: &App, row: DeploymentRow, environment: Environment) -> Self {
        Self { app: Arc::clone(app), row, environment: Arc::new(environment) }
    }
}

impl Work for PushWork {
    fn push(&self, incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let (app, row, environment) = (Arc::clone(&self.app), self.row.clone(), Arc::clone(&self.environment));
        async move {
            // One that has an image already is sent once more: what comes out has to be the same.
            if row.image.is_empty() {
                agents::pushing(&app, &row.id).await.map_err(|error| failure_of(&error))?;
            }
            push(&app, &row, &environment, incoming).await
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
            let mut wait = std::time::Duration::from_millis(100);
            for _ in 1..TRIES {
                match write(&app, &id, &ended).await {
                    Ok(()) => return ended,
                    Err(Error::Refused(problem)) => {
                        return Err(PushFailure::new(FailureReason::Superseded, problem.detail.clone()));
                    }
                    Err(error) => tracing::warn!(error = %error.chain(), "an upload's end could not be written down"),
                }
                tokio::time::sleep(wait).await;
                wait *= 3;
            }
            match write(&app, &id, &ended).await {
                Ok(()) => ended,
                Err(error) => Err(failure_of(&error)),
            }
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

async fn push(
    app: &App,
    row: &DeploymentRow,
    environment: &Environment,
    mut incoming: Incoming,
) -> Result<Pushed, PushFailure> {
    let target = target(row, environment)?;
    let uploads = &app.config.uploads;
    let accepted = vec![Platform::new("linux", &environment.architecture, None)];
    let options = Options {
        limits: Limits { archive_bytes: uploads.max_image_bytes, ..Limits::default() },
        rules: Rules { accepted, ..Rules::default() },
        scope: row.organization.to_string(),
        whole: uploads.whole,
        ..Options::default()
    };
    let (feed, source) = cofferdam_registry::push::pipe();
    let cache = Arc::new(StoreCache::new(app.store.clone()));
    let progress = Progress::none();
    let mut push = std::pin::pin!(cofferdam_registry::push(source, &target, &options, cache, &progress));
    let pump = async {
        while let Some(Ok(piece)) = incoming.next().await {
            if feed.send(piece).await.is_err() {
                return;
            }
        }
        // Where it has ended already, it says why.
        let _ = feed.end().await;
    };
    // A push that has seen enough, as of a bad archive, does not wait for the rest.
    let pushed = tokio::select! {
        biased;
        pushed = &mut push => pushed,
        () = pump => push.await,
    };
    let pushed = pushed.map_err(|error| failure(&error))?;
    let image = PushedImage {
        reference: pushed.reference.clone(),
        digest: pushed.digest.to_string(),
        architecture: environment.architecture.clone(),
        size_bytes: pushed.size,
    };
    Ok(Pushed {
        image,
        layers: pushed.layers.len() as u64,
        skipped: (pushed.skipped + pushed.mounted) as u64,
        sent_bytes: pushed.sent,
        notes: pushed.notes.into_iter().take(20).collect(),
    })
}

fn target(row: &DeploymentRow, environment: &Environment) -> Result<Target, PushFailure> {
    let settings = |detail: String| PushFailure::new(FailureReason::Registry, detail);
    let Some(repository) = environment.repository(&row.organization, &row.agent) else {
        return Err(settings(format!("The environment {:?} has no registry for images.", environment.name)));
    };
    // Registries delete what has no tag.
    let text = format!("{repository}:v{}", row.number);
    let reference = Reference::parse(&text).map_err(|error| settings(format!("{text:?}: {error}")))?;
    let mut target = Target::new(reference);
    target.plain_http = environment.images.plain_http;
    target.ca = environment.images.ca.clone().map(bytes::Bytes::from);
    if let Some((name, password)) = &environment.images.credentials {
        target.credentials = Credentials::basic(name.clone(), password.expose());
    }
    Ok(target)
}

fn failure(error: &PushError) -> PushFailure {
    let reason = match error.fault() {
        Fault::Archive => FailureReason::BadImage,
        Fault::Registry | Fault::Network | Fault::Credentials | Fault::Settings => FailureReason::Registry,
        Fault::Us => match error {
            PushError::TooLong(_) => FailureReason::UploadLost,
            _ => FailureReason::Internal,
        },
    };
    if reason == FailureReason::Internal {
        tracing::error!(%error, "a push failed on our side");
    }
    let failure = PushFailure::new(reason, error.to_string());
    if error.is_retriable() { failure.once_more() } else { failure }
}
