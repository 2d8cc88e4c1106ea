//! An image as the documents of an archive describe it, before its layers are looked at.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::compress::Encoding;
use crate::digest::Digest;
use crate::image::{EntryPoint, Platform, StoredManifest};

/// An image as its documents describe it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub config: Bytes,
    pub config_digest: Digest,
    pub config_media_type: Option<String>,
    pub platform: Platform,
    pub entry_point: EntryPoint,
    pub diff_ids: Vec<Digest>,
    pub layers: Vec<Listed>,
    pub names: Vec<String>,
    pub manifest: Option<StoredManifest>,
    pub annotations: BTreeMap<String, String>,
    /// The index that names it, below `index.json`.
    pub nested: Option<Digest>,
    /// Its entry point or its command is a text, where a list has to be.
    pub text_command: bool,
}

impl Candidate {
    /// True if this is the digest of its manifest, its index or its configuration.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        self.config_digest == *digest || self.nested == Some(*digest) || self.has_manifest(digest)
    }

    pub(super) fn has_manifest(&self, digest: &Digest) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.digest == *digest)
    }

    /// True if nothing would run in it.
    pub(super) fn is_idle(&self) -> bool {
        self.entry_point.entrypoint.iter().chain(&self.entry_point.cmd).all(String::is_empty)
    }

    /// Remarks on it, for its owner.
    pub(super) fn remarks(&self) -> Vec<String> {
        let idle = self.is_idle().then(|| {
            format!(
                "the image for {} has neither ENTRYPOINT nor CMD: it is a base for others, and a deployment of it is refused",
                self.platform
            )
        });
        let text = self.text_command.then(|| {
            format!(
                "the image for {} has an ENTRYPOINT or CMD that is a text instead of a list, which containerd may refuse: \
                 build it with a current tool",
                self.platform
            )
        });
        idle.into_iter().chain(text).collect()
    }
}

/// A layer as a manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub path: String,
    pub blob: Option<Digest>,
    pub size: Option<u64>,
    pub encoding: Option<Encoding>,
}
