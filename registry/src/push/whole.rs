//! Carries a layer to a registry that takes no chunks, in one request. Keeps the beginning of the layer until there is too
//! much of it, so that a request that fails early is made again without reading the archive again.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::PushError;
use super::layer::{Carried, End, Piece, Ready, Shipment};
use crate::client::Flow;
use crate::client::error::{ClientError, Kind};

/// Bytes of a layer that are kept for another request.
const MAX_BEGINNING: usize = 16 << 20;

/// A layer's bytes from its start.
pub(super) struct Beginning {
    parts: Vec<Ready>,
    bytes: usize,
    /// More was sent than is kept.
    cut: bool,
}

impl Beginning {
    pub(super) fn new(parts: impl IntoIterator<Item = Ready>) -> Self {
        let parts: Vec<Ready> = parts.into_iter().filter(|part| !part.bytes.is_empty()).collect();
        Self { bytes: parts.iter().map(|part| part.bytes.len()).sum(), parts, cut: false }
    }

    fn keep(&mut self, part: Ready) {
        self.bytes += part.bytes.len();
        if self.bytes > MAX_BEGINNING {
            self.parts.clear();
            self.cut = true;
        }
        if !self.cut {
            self.parts.push(part);
        }
    }
}

impl Shipment {
    /// `end`: the layer's, if all of it is in `beginning`.
    pub(super) async fn carry_whole(
        &mut self,
        mut beginning: Beginning,
        pieces: &mut mpsc::Receiver<Piece>,
        mut end: Option<Box<End>>,
    ) -> Result<Carried, PushError> {
        let client = Arc::clone(&self.client);
        client.never_in_chunks();
        let mut backoff = client.backoff();
        loop {
            let error = match self.flow(&mut beginning, pieces, &mut end).await? {
                Ok(()) => break,
                Err(error) => error,
            };
            if beginning.cut {
                // A file is read again. A refusal would be the same then.
                let kind = if error.is_retriable() { Kind::Lost } else { error.kind };
                return Err(ClientError { kind, ..error }.into());
            }
            backoff.wait(error).await?;
        }
        let (Some(end), Some(mut upload)) = (end, self.upload.take()) else { return Err(PushError::Thread) };
        let closed = client.close_upload(&mut upload, &end.digest).await;
        self.upload = Some(upload);
        closed?;
        self.upload = None;
        Ok(self.arrived(*end, false, 0).await)
    }

    /// One request. The inner error is the request's.
    async fn flow(
        &mut self,
        beginning: &mut Beginning,
        pieces: &mut mpsc::Receiver<Piece>,
        end: &mut Option<Box<End>>,
    ) -> Result<Result<(), ClientError>, PushError> {
        // One that has taken bytes, or has broken, would append to them.
        let upload = match self.upload.take() {
            Some(upload) if upload.is_fresh() => upload,
            Some(used) => {
                self.client.abandon(&used).await;
                self.client.begin_upload().await?
            }
            None => self.client.begin_upload().await?,
        };
        self.upload = Some(upload.used());
        let length = self.length.or_else(|| end.is_some().then_some(beginning.bytes as u64));
        let mut flow = self.client.flow(upload, length);
        for part in &beginning.parts {
            if let Err(error) = flow.send(part.bytes.clone()).await {
                return Ok(Err(error));
            }
        }
        while end.is_none() {
            // The reader ended without completing the layer, and reports the failure itself.
            match pieces.recv().await.ok_or(PushError::Cancelled)? {
                Piece::Bytes(bytes, permit) => {
                    let sent = self.pass(&mut flow, &bytes).await;
                    beginning.keep(Ready::new(bytes, permit));
                    if let Err(error) = sent {
                        return Ok(Err(error));
                    }
                }
                Piece::End(found) => *end = Some(found),
            }
        }
        Ok(match flow.end().await {
            Ok(upload) => {
                self.upload = Some(upload);
                Ok(())
            }
            Err(error) => Err(error),
        })
    }

    async fn pass(&self, flow: &mut Flow, bytes: &Bytes) -> Result<(), ClientError> {
        flow.send(bytes.clone()).await?;
        self.say_sent(bytes.len());
        Ok(())
    }
}
