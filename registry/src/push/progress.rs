//! Progress events of a push.

use std::sync::Arc;

use crate::digest::Digest;
use crate::image::Platform;

#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes of the archive read so far, as stored.
    Read {
        bytes: u64,
    },
    /// A layer of `bytes` (as stored in the archive) begins.
    LayerBegun {
        layer: usize,
        name: String,
        bytes: u64,
    },
    /// The registry already has it.
    LayerSkipped {
        layer: usize,
        digest: Digest,
    },
    /// The registry mounted it from another repository.
    LayerMounted {
        layer: usize,
        digest: Digest,
    },
    /// Bytes acknowledged by the registry, over all layers.
    Sent {
        bytes: u64,
    },
    LayerPushed {
        layer: usize,
        digest: Digest,
        bytes: u64,
    },
    /// A manifest was stored. With an index there are several, and the index comes last.
    Manifest {
        digest: Digest,
        platform: Option<Platform>,
    },
    /// The archive is read again, for this reason.
    Again {
        why: String,
    },
}

/// Receives events as they happen. Called from several threads; must not block.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Event) + Send + Sync>);

impl Progress {
    pub fn new(take: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub fn none() -> Self {
        Self::new(drop)
    }

    pub(super) fn say(&self, event: Event) {
        (self.0)(event);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}
