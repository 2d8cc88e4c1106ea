//! Pushes an archive in one pass: a thread reads it, layers are compressed in parallel and sent while the next bytes
//! arrive, then the configuration, and the manifest last. Memory is bounded for any image size, and nothing is written
//! to disk. Dropping the future cancels the push.

pub mod cache;
pub mod error;
mod layer;
mod lost;
mod manifest;
mod pipe;
mod plan;
pub mod progress;
mod report;
mod sink;
mod tag;
mod whole;

use std::io::Seek;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use pipe::{Feed, PipeError, pipe};
pub use report::{PushReport, PushedImage, PushedLayer};
pub use sink::How;

use crate::archive::{ArchiveSource, read_archive};
use crate::client::{Client, Target};
use crate::compress::{Compression, Pool};
use crate::limits::{Allow, ArchiveLimits, Rules};
use cache::LayerCache;
use error::PushError;
use lost::Memory;
use progress::{Event, Progress};
use sink::PushSink;

/// The most times that a file is read again.
const MAX_READS: usize = 3;

#[derive(Debug, Clone)]
pub struct PushOptions {
    /// For layers that arrive uncompressed.
    pub compression: Compression,
    pub limits: ArchiveLimits,
    pub rules: Rules,
    /// The owner whose cached layers may be skipped or mounted: an organization. The registry's name is added.
    pub scope: String,
    /// Threads for compression.
    pub threads: usize,
    /// Timeout of the whole push.
    pub whole: Duration,
}

impl Default for PushOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            compression: Compression::GZIP,
            limits: ArchiveLimits::default(),
            rules: Rules::default(),
            scope: String::new(),
            threads: threads.min(8),
            whole: Duration::from_secs(4 * 3600),
        }
    }
}

/// Pushes an image archive and reports what the registry has now. Dropping the future cancels the push; a source that
/// hangs keeps its thread until it ends.
///
/// # Errors
/// The archive is invalid, or the registry or the connection failed. Nothing was tagged.
pub async fn push(
    source: ArchiveSource,
    target: &Target,
    options: &PushOptions,
    cache: Arc<dyn LayerCache>,
    progress: &Progress,
) -> Result<PushReport, PushError> {
    match tokio::time::timeout(options.whole, push_again(source, target, options, cache, progress)).await {
        Ok(done) => done,
        Err(_) => Err(PushError::TooLong(options.whole.as_secs())),
    }
}

async fn push_again(
    mut source: ArchiveSource,
    target: &Target,
    options: &PushOptions,
    cache: Arc<dyn LayerCache>,
    progress: &Progress,
) -> Result<PushReport, PushError> {
    let client = Arc::new(Client::new(target)?);
    client.check().await?;
    let mut said = None;
    for _ in 1..MAX_READS {
        let next = copy(&source);
        let error = match once(source, &client, options, &cache, progress).await {
            Err(error) if error.again() => error,
            done => return done,
        };
        source = match next {
            Some(next) => next,
            None => return Err(error),
        };
        // The same reason is a finding only once.
        let why = error.to_string();
        if said.as_ref() != Some(&why) {
            progress.say(Event::Again { why: why.clone() });
        }
        said = Some(why);
    }
    once(source, &client, options, &cache, progress).await
}

/// The same source from the start, if it can be read twice.
fn copy(source: &ArchiveSource) -> Option<ArchiveSource> {
    match source {
        ArchiveSource::Stream(_) => None,
        ArchiveSource::Directory(folder) => Some(ArchiveSource::Directory(folder.clone())),
        // A pipe opened as a file cannot seek.
        ArchiveSource::File(file) => {
            let mut file = file.try_clone().ok()?;
            file.stream_position().ok()?;
            Some(ArchiveSource::File(file))
        }
    }
}

/// Goes back to a file's start. Returns a second handle, which shares its position.
fn from_the_start(source: &mut ArchiveSource) -> Option<std::fs::File> {
    match source {
        ArchiveSource::File(file) => {
            // A pipe opened as a file has no other position.
            let _ = file.rewind();
            file.try_clone().ok()
        }
        ArchiveSource::Stream(_) | ArchiveSource::Directory(_) => None,
    }
}

async fn once(
    mut source: ArchiveSource,
    client: &Arc<Client>,
    options: &PushOptions,
    cache: &Arc<dyn LayerCache>,
    progress: &Progress,
) -> Result<PushReport, PushError> {
    let cancel = CancellationToken::new();
    let _ended_with_us = cancel.clone().drop_guard();
    let position = from_the_start(&mut source);
    let source = match source {
        ArchiveSource::Stream(stream) => {
            ArchiveSource::Stream(Box::new(pipe::ProgressReader::new(stream, progress.clone(), cancel.clone())))
        }
        other => other,
    };
    let scope = format!("{} {}", client.reference().registry(), options.scope);
    let memory_scope = scope.clone();
    let strict = options.rules.allow == Allow::default();
    let sink = PushSink::new(
        Arc::clone(client),
        Arc::clone(cache),
        scope,
        options.compression,
        strict,
        progress.clone(),
        cancel.clone(),
        position,
        Pool::new(options.threads)?,
    );
    let (limits, rules) = (options.limits, options.rules.clone());
    let failure = sink.failure.clone();
    let (archive, mut arrived) = on_a_thread(move || {
        let mut sink = sink;
        let archive = read_archive(source, &limits, &rules, &mut sink)?;
        Ok((archive, std::mem::take(&mut sink.arrived)))
    })
    .await
    .map_err(|error| match error {
        // Its bytes were no longer accepted; the shipment knows why.
        PushError::Cancelled | PushError::Compress(_) | PushError::Thread => failure.take().unwrap_or(error),
        error => error,
    })?;
    for layer in &mut arrived {
        if let Some(shipment) = layer.shipment.take() {
            let carried = shipment.await.ok().flatten();
            let carried = carried.ok_or_else(|| failure.take().unwrap_or(PushError::Thread))?;
            if !carried.sent {
                layer.how = How::Skipped;
            }
        }
    }
    let memory = Memory { cache, scope: &memory_scope, repository: client.reference().repository() };
    let pushed = tag::write(client, &archive, &arrived, progress, &memory).await?;
    Ok(report::report(client.reference(), &archive, &arrived, pushed))
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PushError> + Send + 'static,
) -> Result<T, PushError> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("image".to_owned());
    // The receiver is gone if the push was dropped.
    thread.spawn(move || drop(done.send(work()))).map_err(|_| PushError::Thread)?;
    result.await.map_err(|_| PushError::Thread)?
}
