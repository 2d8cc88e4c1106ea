//! Uploads a blob in chunks and believes what a status says: a chunk that was accepted is there, whatever a `Range` header
//! tells. After a broken connection, asks the registry how much it has and sends the rest. Nothing is taken for stored
//! before the registry has compared the digest.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{Method, StatusCode};
use url::Url;

use super::Client;
use super::error::{ClientError, Kind};
use super::ways::{Ranges, bytes_of};
use super::wire::{Answer, Ask};
use crate::digest::Digest;

pub(super) const ABOUT: &str = "the upload of a layer";
pub(super) const OCTETS: &str = "application/octet-stream";
/// The most rounds for one chunk, for a registry that accepts only small parts.
const MAX_ROUNDS: u32 = 64;

/// An upload in progress.
#[derive(Debug, Clone)]
pub struct Upload {
    pub(super) location: Url,
    /// Bytes that the registry has.
    pub(super) offset: u64,
    /// The smallest chunk it accepts, except for the last one.
    minimum: u64,
    /// After a broken connection a chunk was sent again, which the registry may have twice now. The digest shows it.
    guessed: bool,
    /// A request with bytes was made for it.
    used: bool,
}

impl Upload {
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// True if no request with bytes was made for it.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.used
    }

    /// The same upload for its cancellation, while its bytes are on their way.
    pub(crate) fn used(&self) -> Self {
        Self { used: true, ..self.clone() }
    }
}

/// The fate of bytes that the registry did not fail to answer.
#[derive(Debug)]
#[must_use]
pub enum Sent {
    Taken,
    /// The registry takes no chunks. The layer has to be sent again from its start, in one request.
    WantsWhole(ClientError),
}

/// The registry's state of an upload, after an error.
enum Known {
    Has(u64),
    Forgotten,
    /// It does not answer the question.
    Unknown,
}

/// The next step after a refusal.
enum Next {
    Again,
    Whole(ClientError),
    Wait(ClientError),
    Fail(ClientError),
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
        let minimum = least(&answer).unwrap_or(0);
        answer.done().await;
        Ok(Upload { location, offset: 0, minimum, guessed: false, used: false })
    }

    /// Bytes to gather for one chunk of this upload. `None` if the layer goes in one request.
    pub fn chunk_size(&self, upload: &Upload) -> Option<usize> {
        self.ways.chunk(upload.minimum)
    }

    /// True if the registry has taken several chunks of one upload, so that the next one is not refused for being one.
    pub fn takes_chunks(&self) -> bool {
        self.ways.takes_chunks()
    }

    /// Layers go in one request from now on.
    pub(crate) fn never_in_chunks(&self) {
        self.ways.only_whole();
    }

    /// Sends the next chunk, in parts if the registry takes only smaller ones.
    ///
    /// # Errors
    /// The registry or the connection failed repeatedly. `Lost` if the upload must start over.
    pub async fn send_chunk(&self, upload: &mut Upload, chunk: &Bytes) -> Result<Sent, ClientError> {
        let start = upload.offset;
        let end = start + chunk.len() as u64;
        let mut backoff = self.backoff();
        // The registry may have the part that is sent, because the last answer was lost.
        let (mut unsure, mut breaks) = (false, 0);
        for _ in 0..MAX_ROUNDS {
            let mut part = self.rest(upload, start, chunk)?;
            if part.is_empty() {
                return Ok(Sent::Taken);
            }
            part.truncate(self.ways.largest().max(usize::try_from(upload.minimum).unwrap_or(0)));
            let to = upload.offset + part.len() as u64;
            let mut ask = Ask::new(Method::PATCH, upload.location.clone(), self.wire.patience.chunk, ABOUT)
                .header(CONTENT_TYPE, OCTETS)
                .header(CONTENT_RANGE, &format!("{}-{}", upload.offset, to - 1));
            ask.body = part.clone();
            upload.used = true;
            let error = match self.ask(&ask, &self.pushing()).await {
                Ok(answer) if answer.status.is_success() => {
                    self.ways.accepted(part.len(), to, range(&answer));
                    self.moved(upload, &answer)?;
                    answer.done().await;
                    (upload.offset, unsure) = (to, false);
                    continue;
                }
                Ok(answer) => match self.refused_chunk(upload, answer, part.len(), (start, end), unsure).await? {
                    Next::Again => {
                        unsure = false;
                        continue;
                    }
                    Next::Whole(error) => return Ok(Sent::WantsWhole(error)),
                    Next::Fail(error) => return Err(error),
                    Next::Wait(error) => error,
                },
                Err(error) => {
                    // Some proxies break the connection instead of saying that a request is too large for them.
                    if breaks > 0 && error.kind == Kind::Dropped && !self.ways.took(part.len()) {
                        self.ways.shrink(part.len(), true);
                    }
                    breaks += 1;
                    error
                }
            };
            let gone = Some(&error).filter(|error| error.kind == Kind::Lost && !unsure).cloned();
            backoff.wait(error).await?;
            unsure = self.go_on(upload, start, end, gone).await?;
        }
        Err(self.wire.error(Kind::Broken, "it accepts only tiny parts of a layer"))
    }

    /// Judges the refusal of a part of `part` bytes of a chunk from `start` to `end`.
    async fn refused_chunk(
        &self,
        upload: &mut Upload,
        answer: Answer,
        part: usize,
        (start, end): (u64, u64),
        unsure: bool,
    ) -> Result<Next, ClientError> {
        let status = answer.status.as_u16();
        let (says, least) = (range(&answer).map(|has| self.ways.ranges().corrected(has)), least(&answer));
        if status == 416 {
            if unsure && self.ways.took(part) {
                // It already has those bytes: the answer was lost, not they.
                upload.offset += part as u64;
                answer.done().await;
                return Ok(Next::Again);
            }
            if let Some(has) = says.filter(|has| (start..=end).contains(has) && *has > upload.offset) {
                self.moved(upload, &answer)?;
                upload.offset = has;
                answer.done().await;
                return Ok(Next::Again);
            }
        }
        let error = self.refused(answer).await;
        if let Some(least) = least.filter(|least| *least > part as u64) {
            // Its own limit, which it did not name at the start. What was gathered is too short for it.
            upload.minimum = least;
            return Ok(Next::Whole(error));
        }
        Ok(match status {
            413 | 416 if !self.ways.took(part) && self.ways.shrink(part, status == 413) => {
                if self.ways.chunk(upload.minimum).is_some() { Next::Again } else { Next::Whole(error) }
            }
            413 => Next::Fail(error),
            404 | 410 | 416 if upload.offset > 0 || status != 416 => {
                Next::Wait(ClientError { kind: Kind::Lost, ..error })
            }
            400 | 405 | 411 | 415 | 416 | 422 | 501 => Next::Whole(error),
            _ if error.is_retriable() => Next::Wait(error),
            _ => Next::Fail(error),
        })
    }

    /// Sends the last bytes and completes the upload.
    ///
    /// # Errors
    /// As `send_chunk`; `WrongContent` if the registry computed another digest.
    pub async fn finish_upload(&self, upload: &mut Upload, last: &Bytes, digest: &Digest) -> Result<Sent, ClientError> {
        let all = upload.offset == 0;
        if all && last.len() <= self.ways.largest() && self.ways.one_put() {
            match self.put(upload, last, digest).await {
                Ok(()) => return Ok(Sent::Taken),
                // Some registries take bytes only by PATCH, and some proxies only a few of them.
                Err(error) if matches!(error.status, Some(400 | 404 | 405 | 411 | 413 | 415 | 416 | 422 | 501)) => {
                    self.ways.no_one_put();
                    self.abandon(upload).await;
                    *upload = self.begin_upload().await?;
                }
                Err(error) => return Err(error),
            }
        }
        let whole = all && self.chunk_size(upload).is_none();
        let sent = if whole { None } else { Some(self.send_chunk(upload, last).await?) };
        match sent {
            Some(Sent::Taken) => {}
            Some(Sent::WantsWhole(error)) if !all => return Ok(Sent::WantsWhole(error)),
            Some(Sent::WantsWhole(_)) | None => self.send_whole(upload, last, sent.is_some()).await?,
        }
        self.close_upload(upload, digest).await.map(|()| Sent::Taken)
    }

    /// Completes an upload whose bytes have all been sent.
    ///
    /// # Errors
    /// As [`Client::finish_upload`].
    pub async fn close_upload(&self, upload: &mut Upload, digest: &Digest) -> Result<(), ClientError> {
        self.put(upload, &Bytes::new(), digest).await
    }

    /// Ends the upload, with all of its bytes or after them.
    async fn put(&self, upload: &mut Upload, all: &Bytes, digest: &Digest) -> Result<(), ClientError> {
        let size = upload.offset + all.len() as u64;
        let mut backoff = self.backoff();
        loop {
            let mut url = upload.location.clone();
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
            let mut ask = Ask::new(Method::PUT, url, self.wire.patience.chunk, "the end of an upload")
                .header(CONTENT_TYPE, OCTETS);
            ask.body = all.clone();
            let error = match self.ask(&ask, &self.pushing()).await {
                Ok(answer) if answer.status.is_success() => return self.stored(answer, digest).await,
                Ok(answer) => {
                    let error = self.refused(answer).await;
                    match (error.status, error.code.as_deref()) {
                        // The guess was wrong, and only sending everything again helps.
                        (Some(400), _) if upload.guessed => return Err(ClientError { kind: Kind::Lost, ..error }),
                        (_, Some("DIGEST_INVALID")) => return Err(ClientError { kind: Kind::WrongContent, ..error }),
                        (Some(404 | 416), _) if all.is_empty() => ClientError { kind: Kind::Lost, ..error },
                        _ => error,
                    }
                }
                Err(error) => error,
            };
            let gone = Some(&error).filter(|error| error.kind == Kind::Lost).cloned();
            backoff.wait(error).await?;
            // The blob may be stored and only the answer lost.
            if self.blob_size(digest).await?.is_some_and(|there| there == 0 || there == size) {
                return Ok(());
            }
            if all.is_empty() {
                let offset = upload.offset;
                self.go_on(upload, offset, offset, gone).await?;
            } else {
                *upload = self.begin_upload().await?;
            }
        }
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

    pub(super) fn moved(&self, upload: &mut Upload, answer: &Answer) -> Result<(), ClientError> {
        if answer.headers.contains_key(http::header::LOCATION) {
            upload.location = self.wire.location(&upload.location, &answer.headers, ABOUT)?;
        }
        Ok(())
    }

    /// Asks how much the registry has and continues from there. If it knows nothing and all bytes are in memory, starts
    /// a new upload. True if the registry may have more than `upload.offset` says. `gone`: its answer that it does not
    /// know the upload.
    async fn go_on(
        &self,
        upload: &mut Upload,
        start: u64,
        end: u64,
        gone: Option<ClientError>,
    ) -> Result<bool, ClientError> {
        let ranges = self.ways.ranges();
        match self.status(upload).await? {
            // Before any chunk was taken it is not known how the registry counts.
            Known::Has(has) if (start..=end).contains(&ranges.corrected(has)) && ranges != Ranges::Unknown => {
                upload.offset = ranges.corrected(has);
                Ok(!ranges.are_believed())
            }
            _ if start == 0 => {
                *upload = Upload { minimum: upload.minimum, ..self.begin_upload().await? };
                Ok(false)
            }
            Known::Has(_) if ranges.are_believed() => Err(self.lost()),
            Known::Forgotten if gone.is_some() => Err(gone.unwrap_or_else(|| self.lost())),
            // Asked twice, and twice it did not know.
            Known::Forgotten if upload.guessed => Err(self.wire.error(Kind::Lost, "it forgot an upload midway")),
            // ECR knows an upload only by its chunks. The same one again is taken, or refused because it is there.
            Known::Has(_) | Known::Forgotten | Known::Unknown => {
                upload.guessed = true;
                Ok(true)
            }
        }
    }

    async fn status(&self, upload: &mut Upload) -> Result<Known, ClientError> {
        let ask = Ask::new(Method::GET, upload.location.clone(), self.wire.patience.answer, "the state of an upload");
        let answer =
            self.persist(&ask, &self.pushing(), |status| status.is_success() || status.is_client_error()).await?;
        if answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::FORBIDDEN {
            return Err(self.refused(answer).await);
        }
        let (status, has) = (answer.status, range(&answer));
        if !status.is_success() {
            answer.done().await;
            return Ok(if matches!(status.as_u16(), 404 | 410) { Known::Forgotten } else { Known::Unknown });
        }
        self.moved(upload, &answer)?;
        answer.done().await;
        Ok(has.map_or(Known::Unknown, Known::Has))
    }
}

/// `OCI-Chunk-Min-Length`: the smallest chunk that the registry takes, the last one excepted.
fn least(answer: &Answer) -> Option<u64> {
    answer.header("oci-chunk-min-length")?.trim().parse().ok()
}

fn range(answer: &Answer) -> Option<u64> {
    bytes_of(answer.header("range")?)
}
