//! Shared test support: built archives, a misbehaving registry, and Debian's real one.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod archive;
pub(crate) mod fake;
pub(crate) mod http;
pub(crate) mod quirks;
pub(crate) mod real;
pub(crate) mod uploads;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::client::backoff::Patience;
use cofferdam_registry::push::cache::{LayerCache, MemoryCache};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::push::progress::Progress;
use cofferdam_registry::{ArchiveSource, PushOptions, PushReport, Reference, Target};

/// The usual number of retries, but short waits.
pub(crate) fn quick() -> Patience {
    Patience {
        attempts: 4,
        first: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        limited: Duration::from_secs(2),
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(5),
        chunk: Duration::from_secs(8),
        silence: Duration::from_secs(5),
    }
}

pub(crate) fn target(registry: &str, image: &str) -> Target {
    let reference = Reference::parse(&format!("{registry}/{image}")).unwrap();
    Target { plain_http: true, patience: quick(), ..Target::new(reference) }
}

/// As a file, which can be read again.
pub(crate) fn file(bytes: &[u8]) -> ArchiveSource {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    ArchiveSource::File(file)
}

/// As a pipe, which can be read only once.
pub(crate) fn stream(bytes: Vec<u8>) -> ArchiveSource {
    ArchiveSource::Stream(Box::new(std::io::Cursor::new(bytes)))
}

pub(crate) fn memory() -> Arc<dyn LayerCache> {
    Arc::new(MemoryCache::new())
}

pub(crate) async fn push_with(
    source: ArchiveSource,
    target: &Target,
    options: &PushOptions,
    cache: &Arc<dyn LayerCache>,
) -> Result<PushReport, PushError> {
    cofferdam_registry::push(source, target, options, Arc::clone(cache), &Progress::none()).await
}

pub(crate) async fn push(source: ArchiveSource, target: &Target) -> Result<PushReport, PushError> {
    push_with(source, target, &PushOptions::default(), &memory()).await
}
