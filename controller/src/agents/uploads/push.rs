//! The pipeline's end: what arrives goes into the environment's registry as it comes. It holds the registry's credentials
//! for as long as a push takes and shows them nowhere.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::FailureReason;
use cofferdam_registry::client::error::Fault;
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::push::progress::Progress;
use cofferdam_registry::{Allow, ArchiveError, Credentials, Limits, Options, Platform, Reference, Rules, Target};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};

use super::cache::StoreCache;
use super::{Incoming, Pipeline, PushFailure, Pushed};
use crate::agents::PushedImage;
use crate::environments::Environment;
use crate::services::App;
use crate::store::DeploymentRow;

/// Notes that are passed on.
const MOST_NOTES: usize = 20;

/// Pushes to registries.
pub struct Registries;

impl Pipeline for Registries {
    fn push(
        &self,
        app: App,
        deployment: DeploymentRow,
        environment: Arc<Environment>,
        incoming: Incoming,
    ) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        async move { push(&app, &deployment, &environment, None, incoming).await }.boxed()
    }
}

/// Pushes an archive as it comes. `credentials` take the place of the environment's own.
pub(in crate::agents) async fn push(
    app: &App,
    row: &DeploymentRow,
    environment: &Environment,
    credentials: Option<Credentials>,
    mut incoming: impl Stream<Item = std::io::Result<Bytes>> + Unpin,
) -> Result<Pushed, PushFailure> {
    let mut target = target(row, environment)?;
    target.credentials = credentials.unwrap_or(target.credentials);
    let uploads = &app.config.uploads;
    let options = Options {
        limits: Limits { archive_bytes: uploads.max_image_bytes, ..Limits::default() },
        rules: Rules {
            accepted: vec![Platform::new("linux", &environment.architecture, None)],
            allow: Allow { secrets: environment.images.allow.clone(), devices: false },
            ..Rules::default()
        },
        scope: row.organization.to_string(),
        whole: uploads.whole,
        ..Options::default()
    };
    let (feed, source) = cofferdam_registry::push::pipe();
    let cache = Arc::new(StoreCache::new(app.store.clone()));
    let progress = Progress::none();
    let mut push = std::pin::pin!(cofferdam_registry::push(source, &target, &options, cache, &progress));
    let pump = async {
        while let Some(piece) = incoming.next().await {
            let sent = match piece {
                Ok(piece) => feed.send(piece).await,
                Err(error) => return feed.fail(error).await,
            };
            if sent.is_err() {
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
    let runs = |platform: &str| platform.split('/').nth(1) == Some(environment.architecture.as_str());
    let runs = pushed.images.iter().find(|image| runs(&image.platform));
    let image = PushedImage {
        reference: pushed.reference,
        digest: pushed.digest.to_string(),
        architecture: environment.architecture.clone(),
        run_as: runs.and_then(|image| PushedImage::user(&image.user)),
        size_bytes: pushed.size,
    };
    Ok(Pushed {
        image,
        layers: pushed.layers.len() as u64,
        skipped: (pushed.skipped + pushed.mounted) as u64,
        sent_bytes: pushed.sent,
        notes: pushed.notes.into_iter().take(MOST_NOTES).collect(),
    })
}

pub(in crate::agents) fn target(row: &DeploymentRow, environment: &Environment) -> Result<Target, PushFailure> {
    let settings = |detail: String| PushFailure::new(FailureReason::Registry, detail);
    let Some(repository) = environment.repository(&row.organization, &row.agent) else {
        return Err(settings(format!("The environment {:?} has no registry for images.", environment.name)));
    };
    // Registries delete what has no tag.
    let text = format!("{repository}:v{}", row.number);
    let reference = Reference::parse(&text).map_err(|error| settings(format!("{text:?}: {error}")))?;
    let mut target = Target::new(reference);
    target.plain_http = environment.images.plain_http;
    target.ca = environment.images.ca.clone().map(Bytes::from);
    if let Some((name, password)) = &environment.images.credentials {
        target.credentials = Credentials::basic(name.clone(), password.expose());
    }
    Ok(target)
}

fn failure(error: &PushError) -> PushFailure {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    if let PushError::Archive(ArchiveError::Read(why)) = error
        && !matches!(why.kind(), InvalidData | InvalidInput | UnexpectedEof)
    {
        // What it came from broke off, which says nothing of the archive.
        return PushFailure::new(FailureReason::UploadLost, error.to_string()).once_more();
    }
    let reason = match (error.fault(), error) {
        // Also one that ends too early: its end has come here.
        (_, PushError::Archive(_)) | (Fault::Archive, _) => FailureReason::BadImage,
        (Fault::Registry | Fault::Network | Fault::Credentials | Fault::Settings, _) => FailureReason::Registry,
        (Fault::Us, PushError::TooLong(_)) => FailureReason::UploadLost,
        (Fault::Us, _) => FailureReason::Internal,
    };
    if reason == FailureReason::Internal {
        tracing::error!(%error, "a push failed on our side");
    }
    let failure = PushFailure::new(reason, error.to_string());
    if error.is_retriable() && reason != FailureReason::BadImage { failure.once_more() } else { failure }
}
