//! Remembers pushed layers: the blob that a layer became, and its repository. Keys are digests of bytes that were read here,
//! never claims. Entries are hints: the registry is asked each time, and a layer that is read is checked. Scopes are kept apart, so that no organization gets another one's
//! layer by claiming its digest.

mod file;
mod memory;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use file::FileCache;
pub use memory::MemoryCache;

use crate::compress::{Compression, Encoding};
use crate::digest::{Digest, Hasher};

/// A small store of texts by scope and key. Losing an entry only costs time, so the store logs its own failures.
pub trait LayerCache: Send + Sync {
    fn get<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, Option<String>>;
    fn put<'a>(&'a self, scope: &'a str, key: &'a str, value: String) -> BoxFuture<'a, ()>;
    fn forget<'a>(&'a self, scope: &'a str, key: &'a str) -> BoxFuture<'a, ()>;
}

/// The blob that a layer became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub digest: Digest,
    pub size: u64,
    /// A repository of the same registry that has it.
    pub repository: String,
    /// It was scanned with no exceptions to the rules, and nothing was found.
    pub clean: bool,
    /// The digest of its size and first bytes: see [`Start`].
    #[serde(default)]
    pub start: Option<Start>,
}

/// The digest of a layer's size and first bytes, as an archive stores them. An archive that has the same start as the layer
/// that we pushed is likely to have the rest, too. Without that proof, whoever knows the digest of a layer in one repository
/// could have it mounted into another one by claiming to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start(Digest);

impl Start {
    pub(super) fn of(size: u64, head: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&size.to_le_bytes());
        hasher.update(head);
        Self(hasher.finish())
    }
}

/// The digests of bytes that we have read ourselves, at a place that has not changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Read {
    pub diff_id: Digest,
    pub blob: Digest,
}

/// The key of a layer pushed in this form.
pub(super) fn layer_key(diff_id: &Digest, how: Stored) -> String {
    match how {
        Stored::AsIs(_) => format!("stored {}", diff_id.hex()),
        Stored::Packed(Compression::None) => format!("plain {}", diff_id.hex()),
        Stored::Packed(Compression::Gzip(level)) => format!("gzip{level} {}", diff_id.hex()),
        Stored::Packed(Compression::Zstd(level)) => format!("zstd{level} {}", diff_id.hex()),
    }
}

/// The form of a layer in the registry: as the archive stores it, or compressed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    AsIs(Encoding),
    Packed(Compression),
}

/// The key of a layer without a claimed digest: its name, size and first bytes.
pub(super) fn head_key(name: &str, size: u64, head: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(&size.to_le_bytes());
    hasher.update(head);
    format!("head {}", hasher.finish().hex())
}

/// The key of bytes at a place of this machine.
pub(super) fn place_key(place: &str) -> String {
    format!("place {}", Digest::of(place.as_bytes()).hex())
}

/// The key of a blob that the registry says it has and does not. Its next push sends it whatever the registry says.
pub(super) fn lost_key(repository: &str, blob: &Digest) -> String {
    format!("lost {repository} {}", blob.hex())
}

/// The entry to record once a layer has arrived.
#[derive(Clone)]
pub(super) struct Memo {
    pub cache: Arc<dyn LayerCache>,
    pub scope: String,
    pub key: String,
    pub head: Option<String>,
    /// The place of the layer that was read, if it has one.
    pub place: Option<String>,
    pub read: Read,
    pub start: Start,
    pub repository: String,
    pub clean: bool,
}

impl Memo {
    /// True if the registry said that it has this blob, and did not.
    pub(super) async fn is_lost(&self, digest: &Digest) -> bool {
        self.cache.get(&self.scope, &lost_key(&self.repository, digest)).await.is_some()
    }

    pub(super) async fn keep(self, digest: Digest, size: u64) {
        // It was sent, or the registry was never wrong about it: a blob that was lost is not skipped.
        self.cache.forget(&self.scope, &lost_key(&self.repository, &digest)).await;
        let known = Known { digest, size, repository: self.repository, clean: self.clean, start: Some(self.start) };
        if let Ok(text) = serde_json::to_string(&known) {
            self.cache.put(&self.scope, &self.key, text).await;
        }
        if let Some(head) = self.head {
            self.cache.put(&self.scope, &head, self.read.diff_id.to_string()).await;
        }
        if let (Some(place), Ok(text)) = (self.place, serde_json::to_string(&self.read)) {
            self.cache.put(&self.scope, &place_key(&place), text).await;
        }
    }
}
