//! Existing blobs: looking one up, reading a small one, mounting one from a sibling repository.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::error::{ClientError, Kind};
use super::upload::{Sent, Upload};
use super::wire::Ask;
use super::{Client, auth};
use crate::digest::Digest;

/// The outcome of a mount request.
#[derive(Debug)]
pub enum Mounted {
    Yes,
    /// The registry declined and started an upload instead.
    Send(Upload),
    No,
}

impl Client {
    /// A blob's size in the repository; `None` if it is absent.
    ///
    /// # Errors
    /// The registry or the connection failed.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, ClientError> {
        let url = self.path(&format!("blobs/{digest}"))?;
        let ask = Ask::new(Method::HEAD, url, self.wire.patience.answer, "the lookup of a layer");
        // 405: a registry without HEAD. The layer is sent.
        let wanted = |status: StatusCode| status.is_success() || matches!(status.as_u16(), 404 | 405);
        let answer = self.read(ask, &self.pushing(), wanted).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        if let Some(other) = answer.header("docker-content-digest")
            && other.parse::<Digest>().as_ref() != Ok(digest)
        {
            return Err(self.wire.error(Kind::WrongContent, "it answered the lookup of a layer with another digest"));
        }
        let size = answer.header("content-length").and_then(|text| text.parse().ok());
        Ok(Some(size.unwrap_or(0)))
    }

    /// A configuration of at most `most` bytes, with its digest checked.
    ///
    /// # Errors
    /// The blob is absent, too long, or does not match its digest.
    pub async fn blob(&self, digest: &Digest, most: usize) -> Result<Bytes, ClientError> {
        self.fetch(digest, most, self.wire.patience.answer, "the request for a configuration", "a configuration").await
    }

    /// A layer of at most `most` bytes, read into memory with its digest checked.
    ///
    /// # Errors
    /// As [`Self::blob`].
    pub async fn layer(&self, digest: &Digest, most: usize) -> Result<Bytes, ClientError> {
        self.fetch(digest, most, self.wire.patience.chunk, "the request for a layer", "a layer").await
    }

    async fn fetch(
        &self,
        digest: &Digest,
        most: usize,
        timeout: Duration,
        about: &'static str,
        what: &str,
    ) -> Result<Bytes, ClientError> {
        let url = self.path(&format!("blobs/{digest}"))?;
        let ask = Ask::new(Method::GET, url, timeout, about);
        let answer = self.read(ask, &self.pulling(), |status| status == StatusCode::OK).await?;
        let bytes = self.wire.body(answer, most, what).await?;
        if Digest::of(&bytes) != *digest {
            return Err(self.wire.error(Kind::WrongContent, format!("{what} has a different digest than requested")));
        }
        Ok(bytes)
    }

    /// Uploads a blob from memory unless the registry has it.
    ///
    /// # Errors
    /// The registry or the connection failed.
    pub async fn put_blob(&self, bytes: &Bytes) -> Result<Digest, ClientError> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest).await?.is_some() {
            return Ok(digest);
        }
        self.send_blob(bytes).await
    }

    /// Uploads a blob from memory, even if the registry says that it has it.
    ///
    /// # Errors
    /// The registry or the connection failed.
    pub async fn send_blob(&self, bytes: &Bytes) -> Result<Digest, ClientError> {
        let digest = Digest::of(bytes);
        let mut upload = self.begin_upload().await?;
        match self.finish_upload(&mut upload, bytes, &digest).await? {
            Sent::Taken => Ok(digest),
            Sent::WantsWhole(error) => Err(error),
        }
    }

    /// Asks the registry to mount a blob from another of its repositories. A refusal is not an error.
    ///
    /// # Errors
    /// The registry or the connection failed.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mounted, ClientError> {
        let mut url = self.path("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let ask = Ask::new(Method::POST, url.clone(), self.wire.patience.answer, "the mount of a layer");
        let scope = format!("{} {}", self.pushing(), auth::scope(from, "pull"));
        let answer = match self.ask(&ask, &scope).await {
            Ok(answer) => answer,
            // A token service may refuse access to the other repository. The layer is sent then.
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
