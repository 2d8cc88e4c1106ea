//! Carries one layer to the registry: receives its bytes through a channel, gathers chunks, and sends them while the
//! next ones arrive. Where a registry takes no chunks, hands over to `whole.rs`. Records the layer as soon as it arrives,
//! so that a push that fails later was not in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::cache::Memo;
use super::error::PushError;
use super::progress::{Event, Progress};
use super::whole::Beginning;
use crate::buffers::Buffers;
use crate::client::error::{ClientError, Kind};
use crate::client::{CHUNK, Client, Sent, Upload};
use crate::digest::Digest;

/// Uploads of one layer whose beginning is at hand.
const MAX_STARTS: u32 = 3;

/// Larger pieces are cut, because a piece must fit into the memory shared by all layers.
pub(super) const MAX_PIECE: usize = 1 << 20;

pub(super) enum Piece {
    /// With its permit from the memory budget of all layers.
    Bytes(Bytes, OwnedSemaphorePermit),
    End(Box<End>),
}

/// The end of a layer, with everything that is known only there.
pub(super) struct End {
    pub digest: Digest,
    pub size: u64,
    pub memo: Memo,
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
    pub chunks: Buffers,
    pub layer: usize,
    /// The layer's bytes, if they are sent as they come.
    pub length: Option<u64>,
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
        let mut held = Held::new(self.chunks.clone());
        // The layer's first chunk, until the registry has shown that it takes a second one. Larger chunks are not kept:
        // two of them do not fit into the memory of all layers.
        let mut beginning = None;
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
                    let Some(size) = self.chunk_size().await? else {
                        return self.carry_whole(join(beginning, [held.give(usize::MAX)]), pieces, None).await;
                    };
                    chunk = size.max(CHUNK);
                    if held.bytes.len() < chunk {
                        continue;
                    }
                    let ready = held.give(chunk);
                    let first = self.upload().await?.offset() == 0;
                    match self.send(&ready.bytes, beginning.as_ref()).await? {
                        Sent::Taken if first && !self.client.takes_chunks() && ready.bytes.len() <= CHUNK => {
                            beginning = Some(ready);
                        }
                        Sent::Taken => beginning = None,
                        Sent::WantsWhole(error) if first || beginning.is_some() => {
                            tracing::debug!(%error, "the registry takes no chunks");
                            return self
                                .carry_whole(join(beginning, [ready, held.give(usize::MAX)]), pieces, None)
                                .await;
                        }
                        Sent::WantsWhole(error) => return Err(self.too_late(error)),
                    }
                }
                Piece::End(end) => {
                    let last = held.give(usize::MAX);
                    let skipped = match self.finish(&last.bytes, &end, beginning.as_ref()).await? {
                        Ok(skipped) => skipped,
                        Err(_) if beginning.is_some() => {
                            return self.carry_whole(join(beginning, [last]), pieces, Some(end)).await;
                        }
                        Err(error) => return Err(self.too_late(error)),
                    };
                    return Ok(self.arrived(*end, skipped, last.bytes.len()).await);
                }
            }
        }
    }

    /// Says that the layer is there and records it. `unsaid`: bytes of it that no event has counted yet.
    pub(super) async fn arrived(&mut self, end: End, skipped: bool, unsaid: usize) -> Carried {
        let End { digest, size, memo } = end;
        if skipped {
            self.progress.say(Event::LayerSkipped { layer: self.layer, digest });
        } else {
            self.say_sent(unsaid);
            self.progress.say(Event::LayerPushed { layer: self.layer, digest, bytes: size });
        }
        memo.keep(digest, size).await;
        Carried { sent: !skipped }
    }

    /// The chunks of a layer are refused after some of them were taken, and those are gone. Reading the archive again
    /// sends it in one request.
    fn too_late(&self, error: ClientError) -> PushError {
        self.client.never_in_chunks();
        ClientError { kind: Kind::Lost, ..error }.into()
    }

    async fn chunk_size(&mut self) -> Result<Option<usize>, PushError> {
        let client = Arc::clone(&self.client);
        Ok(client.chunk_size(self.upload().await?))
    }

    async fn upload(&mut self) -> Result<&mut Upload, PushError> {
        let upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.client.begin_upload().await?,
        };
        Ok(self.upload.insert(upload))
    }

    /// `beginning`: the chunk before this one, if it is at hand.
    async fn send(&mut self, chunk: &Bytes, beginning: Option<&Ready>) -> Result<Sent, PushError> {
        let client = Arc::clone(&self.client);
        for tried in 1.. {
            let at_hand = beginning.is_some() || self.upload().await?.offset() == 0;
            let sent = match client.send_chunk(self.upload().await?, chunk).await {
                Err(error) if at_hand => self.start_over(error, tried, beginning).await?,
                sent => Some(sent?),
            };
            if let Some(sent) = sent {
                if matches!(sent, Sent::Taken) {
                    self.say_sent(chunk.len());
                }
                return Ok(sent);
            }
        }
        Err(PushError::Thread)
    }

    /// Begins a lost upload anew, and sends its beginning. `None`: what failed has to be sent again. A registry that
    /// refuses to know an upload at its second chunk may take only one request.
    async fn start_over(
        &mut self,
        error: ClientError,
        tried: u32,
        beginning: Option<&Ready>,
    ) -> Result<Option<Sent>, PushError> {
        if error.kind != Kind::Lost || tried >= MAX_STARTS {
            return Err(error.into());
        }
        if error.status.is_some() {
            return Ok(Some(Sent::WantsWhole(error)));
        }
        let client = Arc::clone(&self.client);
        if let Some(lost) = self.upload.take() {
            client.abandon(&lost).await;
        }
        let Some(beginning) = beginning else { return Ok(None) };
        Ok(match client.send_chunk(self.upload().await?, &beginning.bytes).await? {
            Sent::Taken => None,
            refused => Some(refused),
        })
    }

    /// Returns true if the registry had the layer. Looks it up first if nothing was sent yet. The inner error is that of
    /// a registry that takes no chunks.
    async fn finish(
        &mut self,
        last: &Bytes,
        end: &End,
        beginning: Option<&Ready>,
    ) -> Result<Result<bool, ClientError>, PushError> {
        let digest = &end.digest;
        let client = Arc::clone(&self.client);
        let nothing_yet = self.upload.as_ref().is_none_or(|upload| upload.offset() == 0);
        // A registry that was wrong about this blob is not asked.
        let ask = nothing_yet && !end.memo.is_lost(digest).await;
        if ask && client.blob_size(digest).await?.is_some() {
            if let Some(upload) = self.upload.take() {
                client.abandon(&upload).await;
            }
            return Ok(Ok(true));
        }
        for tried in 1.. {
            let sent = match client.finish_upload(self.upload().await?, last, digest).await {
                Err(error) if beginning.is_some() => self.start_over(error, tried, beginning).await?,
                sent => Some(sent?),
            };
            match sent {
                Some(Sent::Taken) => {
                    self.upload = None;
                    return Ok(Ok(false));
                }
                Some(Sent::WantsWhole(error)) => return Ok(Err(error)),
                None => {}
            }
        }
        Err(PushError::Thread)
    }

    pub(super) fn say_sent(&self, bytes: usize) {
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

/// Bytes gathered for the next chunk.
struct Held {
    bytes: Vec<u8>,
    permits: Vec<OwnedSemaphorePermit>,
    chunks: Buffers,
}

/// Bytes with their permits, ready to be sent.
pub(super) struct Ready {
    pub bytes: Bytes,
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Ready {
    pub(super) fn new(bytes: Bytes, permit: OwnedSemaphorePermit) -> Self {
        Self { bytes, _permits: vec![permit] }
    }
}

impl Held {
    fn new(chunks: Buffers) -> Self {
        Self { bytes: Vec::new(), permits: Vec::new(), chunks }
    }

    fn take(&mut self, bytes: &Bytes, permit: OwnedSemaphorePermit) {
        if self.bytes.capacity() == 0 {
            self.bytes = self.chunks.take_empty();
        }
        self.bytes.extend_from_slice(bytes);
        self.permits.push(permit);
    }

    /// At most the first `size` bytes. The permit of the last piece stays with what is left of it.
    fn give(&mut self, size: usize) -> Ready {
        let bytes = std::mem::take(&mut self.bytes);
        let mut permits = std::mem::take(&mut self.permits);
        if let Some(rest) = bytes.get(size..).filter(|rest| !rest.is_empty()) {
            self.bytes = self.chunks.take_empty();
            self.bytes.extend_from_slice(rest);
            self.permits.extend(permits.pop());
        }
        let size = size.min(bytes.len());
        let bytes = if size == 0 { Bytes::new() } else { self.chunks.share(bytes, size) };
        Ready { bytes, _permits: permits }
    }
}

/// A layer's bytes from its start.
fn join<const N: usize>(beginning: Option<Ready>, rest: [Ready; N]) -> Beginning {
    Beginning::new(beginning.into_iter().chain(rest))
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
