//! Uploads a layer by one PATCH without a range, as docker does: for registries that take no chunks. A large layer's bytes
//! flow as they arrive and are not kept, so that a broken connection cannot be resumed here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Client;
use super::error::{ClientError, Kind};
use super::upload::{ABOUT, OCTETS, Upload};
use super::wire::Ask;

/// The time for an answer to arrive that the registry sent before it had all bytes.
const EARLY_ANSWER: Duration = Duration::from_secs(5);

/// A layer on its way. Dropping it breaks the request off.
#[derive(Debug)]
pub struct Flow {
    /// An empty piece marks the end. Without it the request breaks off, and the registry keeps no half layer.
    pieces: Option<mpsc::Sender<Bytes>>,
    answer: JoinHandle<Result<Upload, ClientError>>,
    /// The longest wait for the registry to take a piece, or to answer.
    silence: Duration,
    client: Arc<Client>,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

impl Client {
    /// Begins the request. `length`: the layer's bytes, if they are known.
    pub fn flow(self: &Arc<Self>, upload: Upload, length: Option<u64>) -> Flow {
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let client = Arc::clone(self);
        let answer = tokio::spawn(async move { client.patch(upload, length, receiver).await });
        Flow { pieces: Some(sender), answer, silence: self.wire.patience.chunk, client: Arc::clone(self) }
    }

    /// Sends a blob that is all in memory by one PATCH without a range. `anew`: in an upload of its own.
    pub(super) async fn send_whole(
        &self,
        upload: &mut Upload,
        bytes: &Bytes,
        mut anew: bool,
    ) -> Result<(), ClientError> {
        let mut backoff = self.backoff();
        loop {
            if anew {
                self.abandon(upload).await;
                *upload = self.begin_upload().await?;
            }
            let mut ask = Ask::new(Method::PATCH, upload.location.clone(), self.wire.patience.chunk, ABOUT)
                .header(CONTENT_TYPE, OCTETS);
            ask.body = bytes.clone();
            let error = match self.ask(&ask, &self.pushing()).await {
                Ok(answer) if answer.status.is_success() => {
                    self.moved(upload, &answer)?;
                    answer.done().await;
                    upload.offset = bytes.len() as u64;
                    self.ways.only_whole();
                    return Ok(());
                }
                Ok(answer) => self.refused(answer).await,
                Err(error) => error,
            };
            backoff.wait(error).await?;
            anew = true;
        }
    }

    async fn patch(
        &self,
        mut upload: Upload,
        length: Option<u64>,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Upload, ClientError> {
        let ask = Ask::new(Method::PATCH, upload.location.clone(), Duration::MAX, ABOUT).header(CONTENT_TYPE, OCTETS);
        let own = self.wire.is_own(&ask.url);
        let authorization = if own { self.auth.header(&self.wire, &self.pushing()).await? } else { None };
        let broken = || std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the layer broke off");
        let body = futures_util::stream::unfold((pieces, false), move |(mut pieces, over)| async move {
            if over {
                return None;
            }
            match pieces.recv().await {
                Some(piece) if piece.is_empty() => None,
                Some(piece) => Some((Ok(piece), (pieces, false))),
                None => Some((Err(broken()), (pieces, true))),
            }
        });
        let answer = self.wire.send_stream(&ask, authorization, reqwest::Body::wrap_stream(body), length).await?;
        if !answer.status.is_success() {
            let gone = matches!(answer.status.as_u16(), 404 | 410);
            let error = self.refused(answer).await;
            return Err(if gone { ClientError { kind: Kind::Lost, ..error } } else { error });
        }
        self.moved(&mut upload, &answer)?;
        answer.done().await;
        Ok(upload)
    }
}

impl Flow {
    /// # Errors
    /// The registry refused the layer, or the connection failed.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), ClientError> {
        if piece.is_empty() {
            return Ok(());
        }
        let Some(pieces) = &self.pieces else { return Err(self.late()) };
        match tokio::time::timeout(self.silence, pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.why().await),
            Err(_) => Err(self.late()),
        }
    }

    /// Sends the end and waits for the answer. The upload still has to be closed.
    ///
    /// # Errors
    /// As [`Flow::send`].
    pub async fn end(mut self) -> Result<Upload, ClientError> {
        if let Some(pieces) = self.pieces.take() {
            // If it is gone, there is an answer already.
            let _ = tokio::time::timeout(self.silence, pieces.send(Bytes::new())).await;
        }
        match tokio::time::timeout(self.silence, &mut self.answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(self.client.wire.error(Kind::Dropped, "the upload of a layer ended early")),
            Err(_) => Err(self.late()),
        }
    }

    /// The reason why no more bytes are taken.
    async fn why(&mut self) -> ClientError {
        self.pieces = None;
        match tokio::time::timeout(EARLY_ANSWER, &mut self.answer).await {
            Ok(Ok(Err(error))) => error,
            Ok(Ok(Ok(_))) => self.client.wire.error(Kind::Protocol, "it accepted a layer before it had all of it"),
            Ok(Err(_)) | Err(_) => self.late(),
        }
    }

    fn late(&self) -> ClientError {
        self.client.wire.error(Kind::Timeout, format!("it did not answer {ABOUT} in time"))
    }
}
