//! Container images without Docker: reads `docker save` archives and OCI layouts in one pass, without temporary files,
//! and pushes them to an OCI registry as they arrive. Knows nothing of Cofferdam's APIs, clusters or databases.

#![warn(unreachable_pub)]

pub mod archive;
mod buffers;
pub mod client;
pub mod compress;
mod digest;
pub mod go;
mod image;
pub mod inspect;
mod limits;
pub mod push;
mod reference;
mod repeats;
mod scan;
mod shown;
mod tar;

pub use archive::{
    Archive, ArchiveError, ArchiveSource, Form, LayerEnd, LayerStart, Secret, Secrets, Sink, SinkError, Skipped, Want,
    read_archive,
};
pub use client::{Client, Target, credentials::Credentials, error::Fault};
pub use digest::{Digest, DigestError, Hasher};
pub use image::{EntryPoint, Image, LayerRef, Platform, PlatformError, StoredIndex, StoredManifest};
pub use limits::{Allow, ArchiveLimits, Rules};
pub use push::{PushOptions, PushReport, push};
pub use reference::{Reference, ReferenceError};
