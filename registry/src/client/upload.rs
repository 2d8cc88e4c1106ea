//! Uploads a blob in chunks. After a dropped connection, asks the registry how much it has and sends the rest. If it
//! forgot the upload, starts over when all bytes are still in memory, else fails with `Lost`.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use url::Url;

use super::Client;
use super::backoff::Backoff;
use super::error::{ClientError, Kind};
use super::wire::{Answer, Ask};
use crate::digest::Digest;

const ABOUT: &str = "the upload of a layer";
const OCTETS: &str = "application/octet-stream";
/// The most rounds for one chunk, for a registry that accepts only small parts.
const MAX_ROUNDS: u32 = 64;

/// An upload in progress.
#[derive(Debug)]
pub struct Upload {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// The smallest chunk it accepts, except for the last one.
    minimum: u64,
}

impl Upload {
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The smallest chunk that the registry accepts.
    pub fn minimum(&self) -> u64 {
        self.minimum
    }
}

/// The registry's state of an upload, after an error.
enum Known {
    Has(u64),
    Forgotten,
}

impl Client {
    /// # Errors
    /// The registry or the connection failed.
    pub async fn begin_upload(&self) -> Result<Upload, ClientError> {
        let url = self.path("blobs/uploads/")?;
        let ask = Ask::new(Method::POST, url.clone(), self.wire.patience.answer, "the start of an upload");
        let answer = self.persist(&ask, &self.pushing(), |status| status == StatusCode::ACCEPTED).await?;
        self.began(&url, answer).await
    }

    pub(super) async fn began(&self, from: &Url, answer: Answer) -> Result<Upload, ClientError> {
        let location = self.wire.location(from, &answer.headers, "the start of an upload")?;
        let minimum = answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        answer.done().await;
        Ok(Upload { location, offset: 0, minimum })
    }

    /// Sends the next chunk.
    ///
    /// # Errors
    /// The registry or the connection failed repeatedly. `Lost` if the upload must start over.
    pub async fn send_chunk(&self, upload: &mut Upload, chunk: &Bytes) -> Result<(), ClientError> {
        let start = upload.offset;
        let end = start + chunk.len() as u64;
        let mut backoff = Backoff::new(&self.wire.patience);
        for _ in 0..MAX_ROUNDS {
            let rest = self.rest(upload, start, chunk)?;
            if rest.is_empty() {
                return Ok(());
            }
            let mut ask = Ask::new(Method::PATCH, upload.location.clone(), self.wire.patience.chunk, ABOUT)
                .header(CONTENT_TYPE, OCTETS)
                .header(CONTENT_RANGE, &format!("{}-{}", upload.offset, end - 1));
            ask.body = rest;
            let error = match self.ask(&ask, &self.pushing()).await {
                Ok(answer) if answer.status.is_success() => {
                    let has = range(&answer).unwrap_or(end);
                    self.moved(upload, &answer)?;
                    answer.done().await;
                    let before = upload.offset;
                    self.set(upload, has, start, end)?;
                    if upload.offset > before {
                        continue;
                    }
                    self.wire.error(Kind::Broken, "it accepted part of a layer and stored none of it")
                }
                Ok(answer) if matches!(answer.status.as_u16(), 404 | 416) => {
                    self.wire.error(Kind::Lost, "it no longer knows the upload of a layer")
                }
                Ok(answer) => self.refused(answer).await,
                Err(error) => error,
            };
            backoff.wait(error).await?;
            self.go_on(upload, start, end).await?;
        }
        Err(self.wire.error(Kind::Broken, "it accepts only tiny parts of a layer"))
    }

    /// Sends the last bytes and completes the upload.
    ///
    /// # Errors
    /// As `send_chunk`; `WrongContent` if the registry computed another digest.
    pub async fn finish_upload(&self, upload: &mut Upload, last: &Bytes, digest: &Digest) -> Result<(), ClientError> {
        let start = upload.offset;
        let end = start + last.len() as u64;
        let mut backoff = Backoff::new(&self.wire.patience);
        for _ in 0..MAX_ROUNDS {
            let rest = self.rest(upload, start, last)?;
            let mut url = upload.location.clone();
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
            let mut ask = Ask::new(Method::PUT, url, self.wire.patience.chunk, "the end of an upload")
                .header(CONTENT_TYPE, OCTETS);
            if !rest.is_empty() {
                ask = ask.header(CONTENT_RANGE, &format!("{}-{}", upload.offset, end - 1));
            }
            ask.body = rest;
            let error = match self.ask(&ask, &self.pushing()).await {
                Ok(answer) if answer.status.is_success() => return self.stored(answer, digest).await,
                Ok(answer) if answer.status == StatusCode::BAD_REQUEST => {
                    let error = self.refused(answer).await;
                    let wrong = error.what.contains("DIGEST_INVALID");
                    return Err(if wrong { ClientError { kind: Kind::WrongContent, ..error } } else { error });
                }
                Ok(answer) if matches!(answer.status.as_u16(), 404 | 416) => {
                    self.wire.error(Kind::Lost, "it no longer knows the upload of a layer")
                }
                Ok(answer) => self.refused(answer).await,
                Err(error) => error,
            };
            backoff.wait(error).await?;
            // The blob may be stored and only the answer lost.
            if self.blob_size(digest).await?.is_some_and(|size| size == 0 || size == end) {
                return Ok(());
            }
            self.go_on(upload, start, end).await?;
        }
        Err(self.wire.error(Kind::Broken, "it accepts only tiny parts of a layer"))
    }

    /// Cancels the upload so that the registry can free its storage. Failures are ignored.
    pub async fn abandon(&self, upload: &Upload) {
        let wait = std::time::Duration::from_secs(5).min(self.wire.patience.answer);
        let ask = Ask::new(Method::DELETE, upload.location.clone(), wait, "the cancellation of an upload");
        if let Ok(answer) = self.ask(&ask, &self.pushing()).await {
            answer.done().await;
        }
    }

    async fn stored(&self, answer: Answer, digest: &Digest) -> Result<(), ClientError> {
        let named = answer.header("docker-content-digest").map(|text| text.parse::<Digest>());
        answer.done().await;
        match named {
            Some(theirs) if theirs.as_ref() != Ok(digest) => {
                Err(self.wire.error(Kind::WrongContent, "it stored a layer under another digest"))
            }
            _ => Ok(()),
        }
    }

    fn rest(&self, upload: &Upload, start: u64, bytes: &Bytes) -> Result<Bytes, ClientError> {
        let from = upload.offset.checked_sub(start).and_then(|from| usize::try_from(from).ok());
        from.filter(|from| *from <= bytes.len()).map(|from| bytes.slice(from..)).ok_or_else(|| self.lost())
    }

    fn lost(&self) -> ClientError {
        self.wire.error(Kind::Lost, "it lost bytes of a layer that it had accepted")
    }

    fn moved(&self, upload: &mut Upload, answer: &Answer) -> Result<(), ClientError> {
        if answer.headers.contains_key(http::header::LOCATION) {
            upload.location = self.wire.location(&upload.location, &answer.headers, ABOUT)?;
        }
        Ok(())
    }

    fn set(&self, upload: &mut Upload, has: u64, start: u64, end: u64) -> Result<(), ClientError> {
        if has > end {
            return Err(self.wire.error(Kind::Protocol, "it claims more bytes of a layer than were sent"));
        }
        if has < start {
            return Err(self.lost());
        }
        upload.offset = has;
        Ok(())
    }

    /// Asks how much the registry has and continues from there. If it knows nothing and all bytes are in memory, starts
    /// a new upload.
    async fn go_on(&self, upload: &mut Upload, start: u64, end: u64) -> Result<(), ClientError> {
        match self.status(upload).await? {
            Known::Has(has) => self.set(upload, has, start, end),
            Known::Forgotten if start == 0 => {
                *upload = self.begin_upload().await?;
                Ok(())
            }
            Known::Forgotten => Err(self.wire.error(Kind::Lost, "it forgot an upload midway")),
        }
    }

    async fn status(&self, upload: &mut Upload) -> Result<Known, ClientError> {
        let ask = Ask::new(Method::GET, upload.location.clone(), self.wire.patience.answer, "the state of an upload");
        let answer =
            self.persist(&ask, &self.pushing(), |status| status.is_success() || status.is_client_error()).await?;
        if answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::FORBIDDEN {
            return Err(self.refused(answer).await);
        }
        let has = range(&answer);
        if !answer.status.is_success() {
            answer.done().await;
            return Ok(Known::Forgotten);
        }
        self.moved(upload, &answer)?;
        answer.done().await;
        // Without the header, nothing has arrived.
        Ok(Known::Has(has.unwrap_or(0)))
    }
}

/// `Range: 0-N` is inclusive. Registries write an empty upload as `0-0`.
fn range(answer: &Answer) -> Option<u64> {
    let text = answer.header(HeaderName::from_static("range").as_str())?;
    let (from, to) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    let to: u64 = to.trim().parse().ok()?;
    (from.trim() == "0").then_some(if to == 0 { 0 } else { to.saturating_add(1) })
}
