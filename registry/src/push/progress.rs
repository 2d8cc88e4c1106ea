//! What a push tells while it is under way.

use std::sync::Arc;

use crate::digest::Digest;
use crate::image::Platform;

#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes of the archive that were read so far, as it is stored.
    Read {
        bytes: u64,
    },
    /// A layer of `bytes` (as the archive stores it) begins.
    LayerBegun {
        layer: usize,
        name: String,
        bytes: u64,
    },
    /// The registry has it.
    LayerSkipped {
        layer: usize,
        digest: Digest,
    },
    /// The registry took it over from another repository.
    LayerMounted {
        layer: usize,
        digest: Digest,
    },
    /// Bytes that the registry has acknowledged, of all layers together.
    Sent {
        bytes: u64,
    },
    LayerPushed {
        layer: usize,
        digest: Digest,
        bytes: u64,
    },
    /// A manifest is stored; with an index there are several, and the index comes last.
    Manifest {
        digest: Digest,
        platform: Option<Platform>,
    },
    /// The archive is read once more, because of that.
    Again {
        why: String,
    },
}

/// Takes events as they happen. It is called from several threads and must not wait.
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
