//! Blobs that are there: asking for one, reading a small one, mounting one from a sibling repository.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::error::{ClientError, Kind};
use super::upload::Upload;
use super::wire::Ask;
use super::{Client, auth};
use crate::digest::Digest;

/// What came of asking for a mount.
#[derive(Debug)]
pub enum Mounted {
    Yes,
    /// The registry would rather have it sent, and began an upload.
    Send(Upload),
    No,
}

impl Client {
    /// A blob's size in the repository; `None` where it is not there.
    ///
    /// # Errors
    /// What the registry or the way to it did wrong.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, ClientError> {
        let url = self.path(&format!("blobs/{digest}"))?;
        let ask = Ask::new(Method::HEAD, url, self.wire.patience.answer, "the question for a layer");
        // 405: a registry without HEAD; it gets the layer.
        let wanted = |status: StatusCode| status.is_success() || matches!(status.as_u16(), 404 | 405);
        let answer = self.read(ask, &self.pushing(), wanted).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        if let Some(other) = answer.header("docker-content-digest")
            && other.parse::<Digest>().as_ref() != Ok(digest)
        {
            return Err(self.wire.error(Kind::WrongContent, "asked for one layer it answers about another"));
        }
        let size = answer.header("content-length").and_then(|text| text.parse().ok());
        Ok(Some(size.unwrap_or(0)))
    }

    /// A blob of at most `most` bytes, its digest checked.
    ///
    /// # Errors
    /// One that is not there, is longer or is another one.
    pub async fn blob(&self, digest: &Digest, most: usize) -> Result<Bytes, ClientError> {
        let url = self.path(&format!("blobs/{digest}"))?;
        let ask = Ask::new(Method::GET, url, self.wire.patience.answer, "the question for an image's configuration");
        let answer = self.read(ask, &self.pulling(), |status| status == StatusCode::OK).await?;
        let bytes = self.wire.body(answer, most, "a configuration").await?;
        self.check_digest(&bytes, digest, "a configuration")?;
        Ok(bytes)
    }

    /// A layer of at most `size` bytes, all of it in memory, its digest checked.
    ///
    /// # Errors
    /// As [`Self::blob`].
    pub async fn layer(&self, digest: &Digest, size: usize) -> Result<Bytes, ClientError> {
        let url = self.path(&format!("blobs/{digest}"))?;
        let ask = Ask::new(Method::GET, url, self.wire.patience.chunk, "the question for a layer");
        let answer = self.read(ask, &self.pulling(), |status| status == StatusCode::OK).await?;
        let bytes = self.wire.body(answer, size, "a layer").await?;
        self.check_digest(&bytes, digest, "a layer")?;
        Ok(bytes)
    }

    /// Sends a blob that is at hand, where the registry does not have it.
    ///
    /// # Errors
    /// What the registry or the way to it did wrong.
    pub async fn put_blob(&self, bytes: &Bytes) -> Result<Digest, ClientError> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest).await?.is_none() {
            let mut upload = self.begin_upload().await?;
            self.finish_upload(&mut upload, bytes, &digest).await?;
        }
        Ok(digest)
    }

    fn check_digest(&self, bytes: &[u8], digest: &Digest, what: &str) -> Result<(), ClientError> {
        match Digest::of(bytes) == *digest {
            true => Ok(()),
            false => {
                Err(self.wire.error(Kind::WrongContent, format!("{what} has another digest than it was asked for")))
            }
        }
    }

    /// Asks the registry to take a blob over from another of its repositories. What it does not want to do is no error.
    ///
    /// # Errors
    /// What the registry or the way to it did wrong.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mounted, ClientError> {
        let mut url = self.path("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let ask = Ask::new(Method::POST, url.clone(), self.wire.patience.answer, "the mount of a layer");
        let scope = format!("{} {}", self.pushing(), auth::scope(from, "pull"));
        let answer = match self.ask(&ask, &scope).await {
            Ok(answer) => answer,
            // A token service may refuse the other repository; the layer is sent then.
            Err(error) if matches!(error.kind, Kind::Unauthorized | Kind::Forbidden | Kind::NotFound) => {
                return Ok(Mounted::No);
            }
            Err(error) => return Err(error),
        };
        match answer.status.as_u16() {
            201 => {
                answer.done().await;
                Ok(Mounted::Yes)
            }
            202 => Ok(Mounted::Send(self.began(&url, answer).await?)),
            _ => {
                answer.done().await;
                Ok(Mounted::No)
            }
        }
    }
}
