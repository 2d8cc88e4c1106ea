//! Pushes an archive into the environment's registry as it arrives. Holds the registry's credentials only during a push and
//! never shows them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::FailureReason;
use cofferdam_environments::{Environment, Environments, ImageCompression};
use cofferdam_registry::client::error::Fault;
use cofferdam_registry::compress::{Choice, Compression};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::push::progress::Progress;
use cofferdam_registry::{
    Allow, ArchiveError, ArchiveLimits, Credentials, Platform, PushOptions, Reference, Rules, Target,
};
use cofferdam_store::{DeploymentRow, Store};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;

use crate::cache::StoreCache;
use crate::lookup::told;
use crate::{Incoming, Pipeline, PushFailure, Pushed, PushedImage, UploadsConfig};

/// Notes of one push that are passed on.
const MAX_NOTES: usize = 20;

/// Registries that are remembered because they refused an image with layers compressed by zstd.
const MAX_WITHOUT_ZSTD: usize = 1_000;

/// Registries that refused an image whose layers we had compressed by zstd unasked.
#[derive(Default)]
struct WithoutZstd(Mutex<VecDeque<String>>);

impl WithoutZstd {
    fn has(&self, registry: &str) -> bool {
        self.0.lock().iter().any(|one| one == registry)
    }

    fn add(&self, registry: &str) {
        let mut all = self.0.lock();
        if all.len() >= MAX_WITHOUT_ZSTD {
            all.pop_front();
        }
        all.push_back(registry.to_owned());
    }
}

/// Pushes archives into the registries of environments. Clones share their store.
#[derive(Clone)]
pub struct RegistryPipeline {
    store: Store,
    environments: Arc<Environments>,
    config: UploadsConfig,
    without_zstd: Arc<WithoutZstd>,
}

impl Pipeline for RegistryPipeline {
    fn push(
        &self,
        deployment: DeploymentRow,
        environment: Arc<Environment>,
        incoming: Incoming,
    ) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let pipeline = self.clone();
        async move { pipeline.push_as(&deployment, &environment, None, incoming).await }.boxed()
    }
}

impl RegistryPipeline {
    pub fn new(store: Store, environments: Arc<Environments>, config: UploadsConfig) -> Self {
        Self { store, environments, config, without_zstd: Arc::default() }
    }

    /// Pushes an archive as it arrives, with `credentials` instead of the environment's own.
    ///
    /// # Errors
    /// [`PushFailure`].
    pub async fn push_as(
        &self,
        row: &DeploymentRow,
        environment: &Environment,
        credentials: Option<Credentials>,
        mut incoming: impl Stream<Item = std::io::Result<Bytes>> + Unpin,
    ) -> Result<Pushed, PushFailure> {
        let mut target = target(row, environment)?;
        target.credentials = credentials.unwrap_or(target.credentials);
        let compression = self.compression(environment, &target.reference).await;
        let options = self.options(row, environment, compression);
        let (feed, source) = cofferdam_registry::push::pipe();
        let cache = Arc::new(StoreCache::new(self.store.clone()));
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
            // Fails only if the push has ended; its result says why.
            let _ = feed.end().await;
        };
        // A push that fails early, for example on a bad archive, does not wait for the rest.
        let pushed = tokio::select! {
            biased;
            pushed = &mut push => pushed,
            () = pump => push.await,
        };
        let pushed = pushed.map_err(|error| self.failed(&error, environment, &target.reference, compression))?;
        let fits = |platform: &str| platform.split('/').nth(1) == Some(environment.architecture.as_str());
        let chosen = pushed.images.iter().find(|image| fits(&image.platform));
        let image = PushedImage {
            reference: pushed.reference,
            digest: pushed.digest.to_string(),
            architecture: environment.architecture.clone(),
            run_as: chosen.and_then(|image| PushedImage::user(&image.user)),
            size_bytes: pushed.size,
        };
        Ok(Pushed {
            image,
            layers: pushed.layers.len() as u64,
            skipped: (pushed.skipped + pushed.mounted) as u64,
            sent_bytes: pushed.sent,
            notes: pushed.notes.into_iter().take(MAX_NOTES).collect(),
        })
    }

    async fn compression(&self, environment: &Environment, registry: &Reference) -> Compression {
        let choice = match environment.images.compression {
            ImageCompression::Auto => {
                let registry_may = !registry.is_on_this_machine() && !self.without_zstd.has(registry.registry());
                let zstd = registry_may && self.environments.unpacks_zstd(environment).await;
                if zstd { Choice::Zstd } else { Choice::Auto }
            }
            ImageCompression::Gzip => Choice::Gzip,
            ImageCompression::Zstd => Choice::Zstd,
            ImageCompression::None => Choice::None,
        };
        choice.at(None, registry)
    }

    fn failed(
        &self,
        error: &PushError,
        environment: &Environment,
        registry: &Reference,
        used: Compression,
    ) -> PushFailure {
        let mut failure = failure(error);
        let chosen = environment.images.compression == ImageCompression::Auto && matches!(used, Compression::Zstd(_));
        if chosen && matches!(error, PushError::Registry(error) if error.refuses_the_form()) {
            self.without_zstd.add(registry.registry());
            failure.detail.push_str(" It may not take zstd; send the image again, and it is compressed by gzip.");
            failure = failure.once_more();
        }
        failure
    }

    fn options(&self, row: &DeploymentRow, environment: &Environment, compression: Compression) -> PushOptions {
        PushOptions {
            compression,
            limits: ArchiveLimits { archive_bytes: self.config.max_image_bytes, ..ArchiveLimits::default() },
            rules: Rules {
                accepted: vec![Platform::new("linux", &environment.architecture, None)],
                name: row.spec.archive_image.clone(),
                allow: Allow { secrets: environment.images.allow.clone(), devices: false },
                ..Rules::default()
            },
            scope: row.organization.to_string(),
            whole: self.config.whole,
            ..PushOptions::default()
        }
    }
}

/// The place of a deployment's image in the environment's registry, with the environment's credentials.
///
/// # Errors
/// [`FailureReason::Registry`]: the environment has no registry, or its settings are invalid.
pub fn target(row: &DeploymentRow, environment: &Environment) -> Result<Target, PushFailure> {
    let invalid = |detail: String| PushFailure::new(FailureReason::Registry, detail);
    let Some(repository) = environment.repository(&row.organization, &row.agent) else {
        return Err(invalid(format!("The environment {:?} has no registry for images.", environment.name)));
    };
    // Registries delete images without a tag.
    let text = format!("{repository}:v{}", row.number);
    let reference = Reference::parse(&text).map_err(|error| invalid(format!("{text:?}: {error}")))?;
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
        // The source broke off; the archive may be fine.
        return PushFailure::new(FailureReason::UploadLost, error.to_string()).once_more();
    }
    let reason = match (error.fault(), error) {
        // An archive that ends early is a bad archive: its end did arrive.
        (_, PushError::Archive(_)) | (Fault::Archive, _) => FailureReason::BadImage,
        (Fault::Registry | Fault::Network | Fault::Credentials | Fault::Settings, _) => FailureReason::Registry,
        (Fault::Us, PushError::TooLong(_)) => FailureReason::UploadLost,
        (Fault::Us, _) => FailureReason::Internal,
    };
    if reason == FailureReason::Internal {
        tracing::error!(%error, "a push failed because of a bug");
    }
    let detail = match error {
        // The library names the options of `cofferdam image push`; here the environment decides.
        PushError::Archive(ArchiveError::Secret(secrets)) => {
            let paths = secrets.patterns().iter().map(|path| format!("{path:?}")).collect::<Vec<_>>().join(", ");
            match paths.is_empty() {
                true => secrets.sentence(),
                false => {
                    format!(
                        "{}, or let the environment allow these paths (`allow_in_images`: `--allow-in-images` of `cofferdam \
                         environment create`; for `local`, the server's COFFERDAM_ALLOW_IN_IMAGES): {paths}",
                        secrets.sentence()
                    )
                }
            }
        }
        PushError::Registry(error) => told(error),
        error => error.to_string(),
    };
    let failure = PushFailure::new(reason, detail);
    if error.is_retriable() && reason != FailureReason::BadImage { failure.once_more() } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_registries_are_remembered_within_a_bound() {
        let without = WithoutZstd::default();
        assert!(!without.has("r.example"));
        without.add("r.example");
        assert!(without.has("r.example"));
        (0..=MAX_WITHOUT_ZSTD).for_each(|n| without.add(&format!("r{n}.example")));
        assert!(!without.has("r.example") && without.has(&format!("r{MAX_WITHOUT_ZSTD}.example")));
        assert!(without.0.lock().len() <= MAX_WITHOUT_ZSTD);
    }

    #[test]
    fn all_secrets_are_named_with_the_environments_setting() {
        let secret =
            |path: &str| cofferdam_registry::Secret { layer: "l.tar".into(), what: "a private key", path: path.into() };
        let secrets = cofferdam_registry::Secrets { found: vec![secret("etc/a.key"), secret("etc/b.key")], all: true };
        let failure = failure(&PushError::Archive(ArchiveError::Secret(Box::new(secrets))));
        assert_eq!((failure.reason, failure.retryable), (FailureReason::BadImage, false));
        assert!(
            failure.detail.contains("COFFERDAM_ALLOW_IN_IMAGES): \"etc/a.key\", \"etc/b.key\""),
            "{}",
            failure.detail
        );
        assert!(failure.detail.contains("`etc/b.key`") && !failure.detail.contains("--allow "), "{}", failure.detail);
    }
}
