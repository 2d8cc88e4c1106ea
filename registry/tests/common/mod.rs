//! What the tests of this crate share: archives that are made, a registry that misbehaves, and the real one of Debian.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod archive;
pub mod fake;
pub mod http;
pub mod real;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::client::backoff::Patience;
use cofferdam_registry::push::cache::{LayerCache, MemoryCache};
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::push::progress::Progress;
use cofferdam_registry::{Options, Pushed, Reference, Source, Target};

/// Patience for tests: as often as usual, never as long.
pub fn quick() -> Patience {
    Patience {
        attempts: 4,
        first: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        longest_retry_after: Duration::from_secs(2),
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(5),
        chunk: Duration::from_secs(8),
        silence: Duration::from_secs(5),
    }
}

pub fn target(registry: &str, image: &str) -> Target {
    let reference = Reference::parse(&format!("{registry}/{image}")).unwrap();
    Target { plain_http: true, patience: quick(), ..Target::new(reference) }
}

/// As a pipe: it can be read once.
pub fn stream(bytes: Vec<u8>) -> Source {
    Source::Stream(Box::new(std::io::Cursor::new(bytes)))
}

pub fn memory() -> Arc<dyn LayerCache> {
    Arc::new(MemoryCache::new())
}

pub async fn push_with(
    source: Source,
    target: &Target,
    options: &Options,
    cache: &Arc<dyn LayerCache>,
) -> Result<Pushed, PushError> {
    cofferdam_registry::push(source, target, options, Arc::clone(cache), &Progress::none()).await
}

pub async fn push(source: Source, target: &Target) -> Result<Pushed, PushError> {
    push_with(source, target, &Options::default(), &memory()).await
}
