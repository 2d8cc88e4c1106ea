//! The quirks of well-known registries, as data: each file of `tests/registries` describes one.

use serde::Deserialize;

use super::fake::Access;

/// A registry that follows the specification in everything but these.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quirks {
    pub about: String,
    /// Public reports and documents that describe it.
    pub sources: Vec<String>,
    pub access: Access,
    /// The token service is on another host.
    pub token_elsewhere: bool,
    /// The status of an accepted chunk, instead of 202.
    pub patch_status: Option<u16>,
    pub ranges: Ranges,
    /// It does not tell how much of an upload it has (404).
    pub keeps_quiet: bool,
    /// The smallest chunk that may be followed by another one.
    pub chunk_min: usize,
    /// It names that minimum in `OCI-Chunk-Min-Length`.
    pub names_min: bool,
    /// The largest PATCH with a `Content-Range`; a larger one is answered 416.
    pub range_max: Option<usize>,
    /// The largest body of any request, by a proxy in front that answers 413 with a page.
    pub body_max: Option<usize>,
    /// Only one PATCH of an upload is taken; the next one is answered with this status.
    pub one_patch: Option<u16>,
    /// Each answer names another place for the next request of an upload, and forgets the last one.
    pub moves: bool,
    /// `Location` with scheme and host.
    pub absolute: bool,
    /// The body of the PUT that ends an upload is ignored.
    pub only_patch: bool,
    pub broken: Broken,
    /// It does not answer HEAD (405).
    pub no_head: bool,
    pub refuses: Option<Refuses>,
    /// A tag that exists is not written again (400 `TAG_INVALID`).
    pub immutable: bool,
    /// The answer to a first manifest's PUT is lost: it is stored, and answered 502.
    pub loses_answer: bool,
    /// `Docker-Content-Digest` without its algorithm.
    pub bare_digest: bool,
    /// A push through a pipe survives a connection that breaks in the middle of a large layer.
    pub resumes: bool,
}

/// The `Range` in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ranges {
    #[default]
    Exact,
    None,
    /// The first chunk's, always.
    Stuck,
    /// As if the last chunk were all. The upload's own state is told right.
    LastChunk,
    OneTooMany,
}

/// The fate of a request's bytes, if its connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Broken {
    /// They are stored.
    #[default]
    Kept,
    /// They are not stored.
    Dropped,
    /// They end the whole upload.
    Fatal,
}

/// The refusal of a form of manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refuses {
    /// A part of the media type, or of the manifest.
    pub form: String,
    pub status: u16,
    pub body: String,
}
