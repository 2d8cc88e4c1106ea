//! Container images, without Docker: `docker save` archives and OCI layouts are read in one pass, without temporary
//! files, and pushed to an OCI registry as they arrive. It knows nothing of HTTP APIs of ours, clusters or databases.

pub mod archive;
pub mod client;
pub mod compress;
mod digest;
mod image;
pub mod inspect;
mod limits;
pub mod push;
mod reference;
mod scan;
mod tar;

pub use archive::{
    Archive, ArchiveError, Form, LayerEnd, LayerStart, Sink, SinkError, Skipped, Source, Want, read_archive,
};
pub use client::{Client, Target, credentials::Credentials, error::Fault};
pub use digest::{Digest, DigestError, Hasher};
pub use image::{EntryPoint, Image, LayerRef, Platform, PlatformError, StoredManifest};
pub use limits::{Allow, Limits, Rules};
pub use push::{Options, Pushed, push};
pub use reference::{Reference, ReferenceError};
