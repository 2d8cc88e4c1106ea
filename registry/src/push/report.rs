//! The result of a push.

use serde::Serialize;

use super::sink::{Arrived, How};
use super::tag::Written;
use crate::archive::Archive;
use crate::digest::Digest;
use crate::reference::Reference;

#[derive(Debug, Clone, Serialize)]
pub struct PushReport {
    /// The reference with the digest. Deployments are pinned to this.
    pub reference: String,
    pub digest: Digest,
    pub media_type: String,
    /// Bytes of all layers and configurations, as stored in the registry.
    pub size: u64,
    /// Bytes of layers sent by this push.
    pub sent: u64,
    pub skipped: usize,
    pub mounted: usize,
    pub layers: Vec<PushedLayer>,
    pub images: Vec<PushedImage>,
    /// The image's names in the archive.
    pub names: Vec<String>,
    /// Parts of the archive that were ignored, with reasons.
    pub notes: Vec<String>,
    /// Bytes read of the archive.
    pub read: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct PushedLayer {
    pub digest: Digest,
    pub diff_id: Digest,
    pub size: u64,
    pub how: How,
}

#[derive(Debug, Clone, Serialize)]
pub struct PushedImage {
    pub platform: String,
    pub digest: Digest,
    pub config: Digest,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub user: String,
    pub working_dir: String,
}

pub(super) fn report(reference: &Reference, archive: &Archive, arrived: &[Arrived], written: Written) -> PushReport {
    let count = |how: How| arrived.iter().filter(|layer| layer.how == how).count();
    let sent = arrived.iter().filter(|layer| layer.how == How::Sent).map(|layer| layer.size).sum();
    let images = archive.images.iter().zip(&written.images);
    let images = images.map(|(image, made)| PushedImage {
        platform: image.platform.to_string(),
        digest: made.digest,
        config: image.config_digest,
        entrypoint: image.entry_point.entrypoint.clone(),
        cmd: image.entry_point.cmd.clone(),
        user: image.entry_point.user.clone(),
        working_dir: image.entry_point.working_dir.clone(),
    });
    PushReport {
        reference: reference.pinned(written.digest).to_string(),
        digest: written.digest,
        media_type: written.media_type,
        size: written.size,
        sent,
        skipped: count(How::Skipped),
        mounted: count(How::Mounted),
        layers: arrived
            .iter()
            .map(|layer| PushedLayer { digest: layer.digest, diff_id: layer.diff_id, size: layer.size, how: layer.how })
            .collect(),
        images: images.collect(),
        names: archive.images.iter().flat_map(|image| image.names.clone()).collect(),
        notes: archive.notes().into_iter().chain(written.notes).collect(),
        read: archive.bytes_read,
    }
}
