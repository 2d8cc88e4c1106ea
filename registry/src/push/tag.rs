//! Writes configurations, manifests, and the index if there are several images; the tag last, so that its target is
//! complete when it appears. A form of manifest that the registry refuses is made again in the other one, unless the
//! reference asks for a digest.

use super::error::PushError;
use super::lost::Memory;
use super::manifest::{self, Form, Layers, Made};
use super::progress::{Event, Progress};
use super::sink::Arrived;
use crate::archive::Archive;
use crate::client::Client;
use crate::client::error::ClientError;
use crate::compress::Encoding;
use crate::digest::Digest;
use crate::image::{Image, StoredArtifact};

/// The documents that the registry has now.
pub(super) struct Written {
    pub images: Vec<Made>,
    /// Digest of the index, or of the only manifest.
    pub digest: Digest,
    pub media_type: String,
    pub size: u64,
    pub notes: Vec<String>,
}

struct Documents<'a> {
    images: Vec<Made>,
    index: Option<Made>,
    /// Artifacts that the archive's own index names besides the images.
    beside: &'a [StoredArtifact],
}

pub(super) async fn write(
    client: &Client,
    archive: &Archive,
    arrived: &[Arrived],
    progress: &Progress,
    memory: &Memory<'_>,
) -> Result<Written, PushError> {
    let layers = Layers::new(arrived);
    let wanted = client.reference().digest().copied();
    let documents = Documents::as_they_came(archive, &layers, wanted).ok_or(PushError::Thread)?;
    let top = documents.top().ok_or(PushError::Thread)?.digest;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != top) {
        return Err(PushError::OtherDigest { wanted, found: top });
    }
    for image in &archive.images {
        memory.put(client, &image.config).await?;
    }
    for (_, blob) in documents.beside.iter().flat_map(|artifact| &artifact.blobs) {
        memory.put(client, blob).await?;
    }
    let Err((refused, error)) = documents.put(client, archive, progress).await else {
        return documents.written(Vec::new());
    };
    if error.lacks_a_blob() {
        let beside = documents.beside.iter().flat_map(|artifact| &artifact.blobs).map(|(digest, _)| *digest);
        let small = archive.images.iter().map(|image| image.config_digest).chain(beside).collect();
        return Err(memory.note(error, arrived, small).await.into());
    }
    if wanted.is_some() || !error.refuses_the_form() {
        return Err(explained(error, wanted.is_some(), arrived).into());
    }
    let had_one = archive.images.iter().any(|image| image.manifest.is_some());
    let changed = if had_one { ". The digest is not the archive's, so signatures of it do not match" } else { "" };
    let (old, new, why) = (refused.name(), refused.other().name(), &error.what);
    let mut others = Vec::new();
    if !documents.beside.is_empty() {
        let note = format!("attestations and signatures are left out, because the registry does not take them ({why})");
        others.push((Documents::alone(archive, &layers), note));
    }
    let note = format!("the manifest is {new}, because the registry does not take {old} ({why})");
    others.push((Documents::all_in(archive, &layers, refused.other()), note));
    for (other, note) in others {
        let Some(other) = other else { continue };
        match other.put(client, archive, progress).await {
            Ok(()) => return other.written(vec![note + changed]),
            Err((_, second)) if second.refuses_the_form() => {}
            Err((_, second)) => return Err(second.into()),
        }
    }
    // The first refusal is the one that matters, if every form is refused.
    Err(explained(error, false, arrived).into())
}

/// Says why a refused manifest was not made again.
fn explained(error: ClientError, digest_asked: bool, arrived: &[Arrived]) -> ClientError {
    if !error.refuses_the_form() {
        return error;
    }
    let why = if digest_asked {
        "in the other form, OCI or docker, it would have another digest than the reference asks for"
    } else if arrived.iter().any(|layer| layer.encoding == Encoding::Zstd) {
        "docker's form has no layers compressed by zstd: --compression gzip helps"
    } else {
        "nor does it take the other form, OCI or docker"
    };
    ClientError { what: format!("{}; {why}", error.what), ..error }
}

impl<'a> Documents<'a> {
    /// The archive's own index and manifests as far as they still describe what was pushed. An index is left out if the
    /// reference asks for the digest of its only image.
    fn as_they_came(archive: &'a Archive, layers: &Layers<'_>, wanted: Option<Digest>) -> Option<Self> {
        let images = as_they_came(archive, layers)?;
        let same =
            |(image, made): (&Image, &Made)| image.manifest.as_ref().is_some_and(|own| own.digest == made.digest);
        let unchanged = archive.images.iter().zip(&images).all(same);
        let alone = matches!(images.as_slice(), [only] if Some(only.digest) == wanted);
        if let Some(own) = archive.index.as_ref().filter(|_| unchanged && !alone) {
            let index = Made::stored(&own.index, images.iter().map(|made| made.size).sum());
            return Some(Self { images, index: Some(index), beside: &own.beside });
        }
        Self::alone(archive, layers)
    }

    /// The images in the form that they came in, and nothing beside them.
    fn alone(archive: &Archive, layers: &Layers<'_>) -> Option<Self> {
        let images = as_they_came(archive, layers)?;
        let docker = images.iter().all(|made| Form::of(&made.media_type) == Form::Docker);
        Self::with_index(archive, images, if docker { Form::Docker } else { Form::Oci })
    }

    /// `None` if the form has no type for a layer.
    fn all_in(archive: &Archive, layers: &Layers<'_>, form: Form) -> Option<Self> {
        let images = archive.images.iter().map(|image| manifest::image(image, layers, form)).collect::<Option<_>>()?;
        Self::with_index(archive, images, form)
    }

    fn with_index(archive: &Archive, images: Vec<Made>, form: Form) -> Option<Self> {
        let pairs: Vec<(&Image, &Made)> = archive.images.iter().zip(&images).collect();
        let index = if pairs.len() > 1 { Some(manifest::index(&pairs, form)?) } else { None };
        Some(Self { images, index, beside: &[] })
    }

    fn top(&self) -> Option<&Made> {
        self.index.as_ref().or(self.images.first())
    }

    /// Writes everything. The error has the form of the document that was refused.
    async fn put(&self, client: &Client, archive: &Archive, progress: &Progress) -> Result<(), (Form, ClientError)> {
        let which = name(client);
        let put = async |which: &str, made: &Made, image: Option<&Image>| {
            let put = client.put_manifest(which, &made.media_type, made.bytes.clone()).await;
            put.map_err(|error| (Form::of(&made.media_type), error))?;
            let platform = image.map(|image| image.platform.clone());
            progress.say(Event::Manifest { digest: made.digest, platform });
            Ok(())
        };
        for (image, made) in archive.images.iter().zip(&self.images) {
            let own = made.digest.to_string();
            put(if self.index.is_some() { &own } else { &which }, made, Some(image)).await?;
        }
        for artifact in self.beside {
            let own = artifact.manifest.digest.to_string();
            put(&own, &Made::stored(&artifact.manifest, 0), None).await?;
        }
        match &self.index {
            Some(index) => put(&which, index, None).await,
            None => Ok(()),
        }
    }

    fn written(self, notes: Vec<String>) -> Result<Written, PushError> {
        let top = self.top().ok_or(PushError::Thread)?;
        let (digest, media_type, size) = (top.digest, top.media_type.clone(), top.size);
        Ok(Written { images: self.images, digest, media_type, size, notes })
    }
}

fn as_they_came(archive: &Archive, layers: &Layers<'_>) -> Option<Vec<Made>> {
    let one = |image: &Image| manifest::unchanged(image, layers).or_else(|| manifest::image(image, layers, Form::Oci));
    archive.images.iter().map(one).collect()
}

/// The name to write the image under: the tag, even if the reference has a digest too, which was compared before.
fn name(client: &Client) -> String {
    let reference = client.reference();
    reference.tag().map_or_else(|| reference.which(), str::to_owned)
}
