//! Carries one layer to the registry: receives its bytes through a channel, gathers chunks, and sends them while the
//! next ones arrive. Records the layer as soon as it arrives, so that a push that fails later was not in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::cache::Memo;
use super::error::PushError;
use super::progress::{Event, Progress};
use crate::client::error::{ClientError, Kind};
use crate::client::{Client, Upload};
use crate::digest::Digest;

/// Bytes per request. Amazon's ECR accepts less than 5 MiB only for the last chunk.
pub(super) const CHUNK: usize = 8 << 20;
/// The largest minimum chunk that a registry may ask for. A chunk is held in memory.
const MAX_CHUNK: u64 = 16 << 20;

/// Larger pieces are cut, because a piece must fit into the memory shared by all layers.
const MAX_PIECE: usize = 1 << 20;

pub(super) enum Piece {
    /// With its permit from the memory budget of all layers.
    Bytes(Bytes, OwnedSemaphorePermit),
    End {
        digest: Digest,
        size: u64,
        memo: Memo,
    },
}

/// The first failure of a push's shipments. The reader itself only sees that its bytes are not accepted.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<PushError>>>);

impl Failure {
    fn put(&self, error: PushError) {
        self.0.lock().get_or_insert(error);
    }

    pub(super) fn take(&self) -> Option<PushError> {
        self.0.lock().take()
    }
}

pub(super) struct Shipment {
    pub failure: Failure,
    pub client: Arc<Client>,
    pub progress: Progress,
    pub sent: Arc<AtomicU64>,
    pub layer: usize,
    /// An upload that the registry started instead of mounting.
    pub upload: Option<Upload>,
}

impl Shipment {
    /// Carries a layer to the registry. Failures go to the push's `Failure`.
    pub(super) async fn carry(mut self, mut pieces: mpsc::Receiver<Piece>) -> Option<Carried> {
        match self.work(&mut pieces).await {
            Ok(carried) => Some(carried),
            Err(error) => {
                // Set before the channel closes and the reader asks why.
                self.failure.put(error);
                drop(pieces);
                if let Some(upload) = self.upload.take() {
                    self.client.abandon(&upload).await;
                }
                None
            }
        }
    }

    async fn work(&mut self, pieces: &mut mpsc::Receiver<Piece>) -> Result<Carried, PushError> {
        let mut held = Held::default();
        let mut chunk = CHUNK;
        loop {
            // The reader ended without completing the layer, and reports the failure itself.
            let piece = pieces.recv().await.ok_or(PushError::Cancelled)?;
            match piece {
                Piece::Bytes(bytes, permit) => {
                    held.take(&bytes, permit);
                    if held.bytes.len() < chunk {
                        continue;
                    }
                    let upload = self.upload().await?;
                    chunk = size(upload)?;
                    if held.bytes.len() >= chunk {
                        let (ready, permits) = held.give();
                        self.send(&ready).await?;
                        drop(permits);
                    }
                }
                Piece::End { digest, size, memo } => {
                    let (last, permits) = held.give();
                    let skipped = self.finish(&last, &digest).await?;
                    drop(permits);
                    if skipped {
                        self.progress.say(Event::LayerSkipped { layer: self.layer, digest });
                    } else {
                        self.say_sent(last.len());
                        self.progress.say(Event::LayerPushed { layer: self.layer, digest, bytes: size });
                    }
                    memo.keep(digest, size).await;
                    return Ok(Carried { sent: !skipped });
                }
            }
        }
    }

    async fn upload(&mut self) -> Result<&mut Upload, PushError> {
        let upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.client.begin_upload().await?,
        };
        Ok(self.upload.insert(upload))
    }

    async fn send(&mut self, chunk: &Bytes) -> Result<(), PushError> {
        let client = Arc::clone(&self.client);
        client.send_chunk(self.upload().await?, chunk).await?;
        self.say_sent(chunk.len());
        Ok(())
    }

    /// Returns true if the registry had the layer. Looks it up first if nothing was sent yet.
    async fn finish(&mut self, last: &Bytes, digest: &Digest) -> Result<bool, PushError> {
        let client = Arc::clone(&self.client);
        let nothing_yet = self.upload.as_ref().is_none_or(|upload| upload.offset() == 0);
        if nothing_yet && client.blob_size(digest).await?.is_some() {
            if let Some(upload) = self.upload.take() {
                client.abandon(&upload).await;
            }
            return Ok(true);
        }
        client.finish_upload(self.upload().await?, last, digest).await?;
        self.upload = None;
        Ok(false)
    }

    fn say_sent(&self, bytes: usize) {
        let before = self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.progress.say(Event::Sent { bytes: before + bytes as u64 });
    }
}

impl Drop for Shipment {
    /// Cancels a half-sent layer if the registry can be reached in time.
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), Handle::try_current()) {
            let client = Arc::clone(&self.client);
            runtime.spawn(async move { client.abandon(&upload).await });
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Carried {
    pub sent: bool,
}

fn size(upload: &Upload) -> Result<usize, PushError> {
    if upload.minimum() > MAX_CHUNK {
        let what =
            format!("it requires chunks of at least {} bytes, which is more than we hold in memory", upload.minimum());
        return Err(ClientError::new(Kind::Protocol, "", what).into());
    }
    Ok(CHUNK.max(usize::try_from(upload.minimum()).unwrap_or(CHUNK)))
}

/// Bytes gathered for the next chunk.
#[derive(Default)]
struct Held {
    bytes: BytesMut,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Held {
    fn take(&mut self, bytes: &Bytes, permit: OwnedSemaphorePermit) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(CHUNK + bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        self.permits.push(permit);
    }

    fn give(&mut self) -> (Bytes, Vec<OwnedSemaphorePermit>) {
        (std::mem::take(&mut self.bytes).freeze(), std::mem::take(&mut self.permits))
    }
}

/// Feeds a shipment, with a permit for every byte.
pub(super) struct Pipe {
    pub pieces: mpsc::Sender<Piece>,
    pub budget: Arc<Semaphore>,
    pub runtime: Handle,
    pub cancel: CancellationToken,
}

impl Pipe {
    pub(super) fn send(&self, piece: &Bytes) -> Result<(), PushError> {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(MAX_PIECE));
            let share = u32::try_from(part.len()).unwrap_or(u32::MAX);
            let sent = async {
                let permit =
                    Arc::clone(&self.budget).acquire_many_owned(share).await.map_err(|_| PushError::Cancelled)?;
                self.pieces.send(Piece::Bytes(part, permit)).await.map_err(|_| PushError::Cancelled)
            };
            self.runtime.block_on(async {
                tokio::select! {
                    () = self.cancel.cancelled() => Err(PushError::Cancelled),
                    // The shipment ended, and the permits it held may never return.
                    () = self.pieces.closed() => Err(PushError::Cancelled),
                    sent = sent => sent,
                }
            })?;
        }
        Ok(())
    }
}
