//! Manifests: reading, digest checks, writing, and resolving references.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, StatusCode};

use super::Client;
use super::documents::{Descriptor, Document, OCI_INDEX};
use super::error::{ClientError, Kind};
use super::wire::Ask;
use crate::digest::Digest;
use crate::reference::Reference;

/// The most that registries accept, in bytes.
pub(super) const MAX_MANIFEST: usize = 4 << 20;
/// The remedy where something answers in a registry's place.
pub(super) const NO_REGISTRY: &str = "Something else may answer in its place, such as a proxy or the login page of a \
                                      network: look at its address with a browser, and see HTTPS_PROXY and NO_PROXY";
const TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json, \
                     application/vnd.docker.distribution.manifest.v2+json";

/// The digest of a header. Some registries leave its algorithm out.
fn read_digest(text: &str) -> Option<Digest> {
    text.parse().or_else(|_| format!("sha256:{text}").parse()).ok()
}

/// A manifest or an index as the registry stores it.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

/// The current target of a reference.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub manifest: Manifest,
    /// The images of an index, or the single image.
    pub images: Vec<ResolvedImage>,
}

#[derive(Debug, Clone)]
pub struct ResolvedImage {
    pub manifest: Manifest,
    pub config: Bytes,
    pub config_digest: Digest,
    pub layers: Vec<Descriptor>,
}

impl Client {
    /// # Errors
    /// The manifest is absent, too long, or does not match its digest.
    pub async fn manifest(&self, which: &str) -> Result<Manifest, ClientError> {
        let url = self.path(&format!("manifests/{which}"))?;
        let ask =
            Ask::new(Method::GET, url, self.wire.patience.answer, "the request for a manifest").header(ACCEPT, TYPES);
        let answer = self.read(ask, &self.pulling(), |status| status == StatusCode::OK).await?;
        let media_type = answer.header("content-type").unwrap_or_default();
        let media_type: String = media_type.split(';').next().unwrap_or_default().trim().chars().take(255).collect();
        let named = answer.header("docker-content-digest").and_then(read_digest);
        let bytes = self.wire.body(answer, MAX_MANIFEST, "a manifest").await?;
        let digest = Digest::of(&bytes);
        let asked = which.parse::<Digest>().ok();
        if asked.or(named).is_some_and(|expected| expected != digest) {
            return Err(self.wire.error(Kind::WrongContent, "a manifest has a different digest than requested"));
        }
        Ok(Manifest { digest, media_type, bytes })
    }

    /// The manifests that refer to `digest`, from the referrers API or its fallback tag.
    ///
    /// # Errors
    /// The registry or the connection failed.
    pub async fn referrers(&self, digest: &Digest, artifact_type: &str) -> Result<Vec<Descriptor>, ClientError> {
        let mut url = self.path(&format!("referrers/{digest}"))?;
        url.query_pairs_mut().append_pair("artifactType", artifact_type);
        let ask = Ask::new(Method::GET, url, self.wire.patience.answer, "the request for referrers");
        let wanted = |status: StatusCode| status == StatusCode::OK || status == StatusCode::NOT_FOUND;
        let answer = self.read(ask.header(ACCEPT, OCI_INDEX), &self.pulling(), wanted).await?;
        let bytes = if answer.status == StatusCode::OK {
            self.wire.body(answer, MAX_MANIFEST, "an index of referrers").await?
        } else {
            answer.done().await;
            match self.manifest(&digest.to_string().replace(':', "-")).await {
                Ok(manifest) => manifest.bytes,
                Err(error) if error.kind == Kind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        };
        match Document::read(&bytes, OCI_INDEX) {
            Ok(Document::Index(index)) => Ok(index.manifests),
            Ok(Document::Manifest(_)) => Err(self.no_image("not an index of referrers")),
            Err(why) => Err(self.no_image(&why)),
        }
    }

    /// Writes a manifest under a tag or its digest.
    ///
    /// # Errors
    /// The registry or the connection failed.
    pub async fn put_manifest(&self, which: &str, media_type: &str, bytes: Bytes) -> Result<Digest, ClientError> {
        let digest = Digest::of(&bytes);
        let url = self.path(&format!("manifests/{which}"))?;
        let mut ask =
            Ask::new(Method::PUT, url, self.wire.patience.chunk, "the manifest").header(CONTENT_TYPE, media_type);
        ask.body = bytes;
        let answer = match self.persist(&ask, &self.pushing(), |status| status.is_success()).await {
            Ok(answer) => answer,
            // A tag that may not be moved, or an answer that was lost and a retry that is refused: it may be there already.
            Err(error) if matches!(error.kind, Kind::Refused | Kind::Broken) => {
                return match self.manifest(which).await {
                    Ok(there) if there.digest == digest => Ok(digest),
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        let named = answer.header("docker-content-digest").map(str::to_owned);
        let status = answer.status;
        answer.done().await;
        match named.map(|text| read_digest(&text)) {
            None if status == StatusCode::CREATED => Ok(digest),
            // Registries answer 201. A login page of a network, or a proxy, answers 200 to everything.
            None => match self.manifest(which).await {
                Ok(there) if there.digest == digest => Ok(digest),
                _ => {
                    let (status, what) = (status.as_u16(), "to the manifest, and does not have it now");
                    let error = self.wire.error(Kind::Protocol, format!("it answered {status} {what}"));
                    Err(error.advise(NO_REGISTRY))
                }
            },
            Some(Some(theirs)) if theirs == digest => Ok(digest),
            Some(_) => {
                let error = self.wire.error(Kind::WrongContent, "it stored the manifest under another digest");
                Err(error.advise("Something between us and its storage alters bytes; look at what its tag names now"))
            }
        }
    }

    /// Resolves the client's reference to the manifest's digest and every image's configuration.
    ///
    /// # Errors
    /// The reference leads to nothing, or to something other than an image.
    pub async fn resolve(&self) -> Result<Resolved, ClientError> {
        let manifest = self.manifest(&self.reference.which()).await?;
        let images = match self.document(&manifest)? {
            Document::Manifest(_) => vec![self.image(manifest.clone()).await?],
            Document::Index(index) => {
                let mut images = Vec::new();
                for entry in index.images() {
                    images.push(self.image(self.manifest(&entry.digest.to_string()).await?).await?);
                }
                images
            }
        };
        Ok(Resolved { manifest, images })
    }

    fn document(&self, manifest: &Manifest) -> Result<Document, ClientError> {
        Document::read(&manifest.bytes, &manifest.media_type).map_err(|why| self.no_image(&why))
    }

    async fn image(&self, manifest: Manifest) -> Result<ResolvedImage, ClientError> {
        let Document::Manifest(document) = self.document(&manifest)? else {
            return Err(self.wire.error(Kind::Protocol, "the reference is an index within an index"));
        };
        let config = self.blob(&document.config.digest, MAX_MANIFEST).await?;
        Ok(ResolvedImage { manifest, config, config_digest: document.config.digest, layers: document.layers })
    }

    /// The error for something that is not an image.
    pub(crate) fn no_image(&self, why: &str) -> ClientError {
        self.wire.error(Kind::Protocol, format!("the reference is {why}"))
    }

    /// The reference, pinned to its current target.
    pub fn pinned(&self, resolved: &Resolved) -> Reference {
        self.reference.pinned(resolved.manifest.digest)
    }
}
