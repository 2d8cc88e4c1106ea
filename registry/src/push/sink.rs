//! The sink of a push: for each layer, asks the registry, and either skips it or compresses it and hands it to a
//! shipment. Runs on the reader's thread and blocks it on the network.

use std::io::Seek;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::cache::{LayerCache, Memo, Read, Start, Stored, layer_key};
use super::error::PushError;
use super::layer::{Carried, End, Failure, MAX_PIECE, Piece, Pipe, Shipment};
use super::plan::Claim;
use super::progress::{Event, Progress};
use crate::archive::{ArchiveError, LayerEnd, LayerStart, Sink, SinkError, Want};
use crate::buffers::Buffers;
use crate::client::{CHUNK, Client, Upload};
use crate::compress::{Compression, Compressor, Encoding, Pool};
use crate::digest::Digest;
use crate::shown::shown;

/// Bytes of all layers in memory at once, queued or being sent. The layer that is read needs up to 17 MiB for itself: its
/// first chunk, the next one and a piece, or the beginning that `whole.rs` keeps.
const BUDGET: usize = 18 << 20;
/// Layers whose last bytes are being sent while the next one is read.
const SHIPMENTS: usize = 3;
/// Idle buffers for chunks.
const MAX_KEPT_CHUNKS: usize = 2;

/// The way a layer got into the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Sent,
    Skipped,
    Mounted,
}

/// A layer that the registry has, or will have when its shipment ends.
pub(super) struct Arrived {
    pub diff_id: Digest,
    /// Digest of the layer as stored in the archive.
    pub blob: Digest,
    pub digest: Digest,
    pub size: u64,
    pub encoding: Encoding,
    pub how: How,
    pub key: String,
    pub shipment: Option<oneshot::Receiver<Option<Carried>>>,
}

pub(super) struct PushSink {
    /// Declared before `pool`, because fields drop in order and the pool's end waits for the compressor in here.
    now: Option<Now>,
    pub client: Arc<Client>,
    pub cache: Arc<dyn LayerCache>,
    pub scope: String,
    pub compression: Compression,
    /// No exceptions to the rules are allowed, so whatever is pushed is clean.
    pub strict: bool,
    pub progress: Progress,
    pub runtime: Handle,
    pub cancel: CancellationToken,
    pub pool: Pool,
    /// A second handle of the archive's file, to see how far it was read.
    pub position: Option<std::fs::File>,
    pub arrived: Vec<Arrived>,
    pub failure: Failure,
    layer_bytes: u64,
    sent: Arc<AtomicU64>,
    budget: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    chunks: Buffers,
    count: usize,
}

/// The layer that is being read.
pub(super) struct Now {
    pub layer: usize,
    pub key: Option<String>,
    pub head: Option<String>,
    pub start: Start,
    pub work: Work,
}

pub(super) enum Work {
    /// The registry has it, if it is what it claims to be.
    Has {
        claim: Claim,
        blob: Digest,
        size: u64,
        how: How,
        /// The claim came from the cache, by the layer's first bytes.
        forget: bool,
    },
    Send {
        output: Output,
        shipment: oneshot::Receiver<Option<Carried>>,
    },
}

pub(super) enum Output {
    Packed(Box<Compressor>, mpsc::Sender<Piece>),
    AsIs(mpsc::Sender<Piece>),
}

impl PushSink {
    #[expect(clippy::too_many_arguments, reason = "independent parts with a single caller")]
    pub(super) fn new(
        client: Arc<Client>,
        cache: Arc<dyn LayerCache>,
        scope: String,
        compression: Compression,
        strict: bool,
        progress: Progress,
        cancel: CancellationToken,
        position: Option<std::fs::File>,
        pool: Pool,
    ) -> Self {
        Self {
            client,
            cache,
            scope,
            compression,
            strict,
            progress,
            runtime: Handle::current(),
            cancel,
            pool,
            position,
            arrived: Vec::new(),
            failure: Failure::default(),
            layer_bytes: 0,
            sent: Arc::default(),
            budget: Arc::new(Semaphore::new(BUDGET)),
            slots: Arc::new(Semaphore::new(SHIPMENTS)),
            chunks: Buffers::new(CHUNK + MAX_PIECE, MAX_KEPT_CHUNKS),
            now: None,
            count: 0,
        }
    }

    /// Blocks on the network, unless the push is cancelled.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, PushError> {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.cancel.cancelled() => Err(PushError::Cancelled),
                done = work => Ok(done),
            }
        })
    }

    /// `length`: the bytes of a layer that is sent as it comes.
    pub(super) fn ship(&self, layer: usize, length: Option<u64>, upload: Option<Upload>) -> Result<Work, PushError> {
        let slot = self.wait(Arc::clone(&self.slots).acquire_owned())?.map_err(|_| PushError::Cancelled)?;
        let (pieces, taken) = mpsc::channel(64);
        let (done, shipment) = oneshot::channel();
        let (client, progress, sent) = (Arc::clone(&self.client), self.progress.clone(), Arc::clone(&self.sent));
        let (cancel, failure, chunks) = (self.cancel.clone(), self.failure.clone(), self.chunks.clone());
        self.runtime.spawn(async move {
            let carrying = Shipment { failure, client, progress, sent, chunks, layer, length, upload }.carry(taken);
            let carried = tokio::select! {
                () = cancel.cancelled() => None,
                carried = carrying => carried,
            };
            drop(slot);
            // If the receiver is gone, the push has failed already.
            let _ = done.send(carried);
        });
        let output = if length.is_some() {
            Output::AsIs(pieces)
        } else {
            let (pipe, ending) = (self.pipe(pieces.clone()), pieces);
            let compressor = self.pool.start(self.compression, move |bytes| pipe.send(&bytes).map_err(SinkError::new));
            Output::Packed(Box::new(compressor?), ending)
        };
        Ok(Work::Send { output, shipment })
    }

    /// Reports how far a file was read: its position, or the bytes of its layers if it is read out of order. A stream
    /// reports for itself.
    fn read(&mut self, bytes: u64) {
        self.layer_bytes += bytes;
        if let Some(file) = &mut self.position {
            let position = file.stream_position().ok().filter(|at| *at > 0);
            self.progress.say(Event::Read { bytes: position.unwrap_or(self.layer_bytes) });
        }
    }

    fn pipe(&self, pieces: mpsc::Sender<Piece>) -> Pipe {
        Pipe { pieces, budget: Arc::clone(&self.budget), runtime: self.runtime.clone(), cancel: self.cancel.clone() }
    }

    fn take(&mut self, piece: &Bytes) -> Result<(), PushError> {
        self.read(piece.len() as u64);
        match self.now.as_mut().map(|now| &mut now.work) {
            Some(Work::Send { output: Output::Packed(compressor, _), .. }) => Ok(compressor.write(piece)?),
            Some(Work::Send { output: Output::AsIs(pieces), .. }) => {
                let pieces = pieces.clone();
                self.pipe(pieces).send(piece)
            }
            Some(Work::Has { .. }) | None => Ok(()),
        }
    }

    fn ended(&mut self, end: &LayerEnd) -> Result<(), PushError> {
        let Some(now) = self.now.take() else { return Err(PushError::Thread) };
        let stored = self.stored(end.encoding);
        let memo = Memo {
            cache: Arc::clone(&self.cache),
            scope: self.scope.clone(),
            key: layer_key(&end.diff_id, stored),
            head: now.head,
            place: end.place.clone(),
            read: Read { diff_id: end.diff_id, blob: end.blob },
            start: now.start,
            repository: self.client.reference().repository().to_owned(),
            clean: self.strict,
        };
        let key = memo.key.clone();
        let (digest, size, how, shipment) = match now.work {
            Work::Has { claim, blob, size, how, forget } => {
                if let Some((expected, found)) = claim.is_not(end) {
                    if let Some(head) = memo.head.filter(|_| forget) {
                        self.wait(self.cache.forget(&self.scope, &head))?;
                    }
                    let name = shown(end.name.as_bytes());
                    return Err(match forget {
                        true => PushError::OtherLayer(name),
                        false => PushError::Archive(ArchiveError::Digest { name, expected, found }),
                    });
                }
                self.read(end.size);
                self.say(now.layer, how, blob);
                self.wait(memo.keep(blob, size))?;
                (blob, size, how, None)
            }
            Work::Send { output, shipment } => {
                let (digest, size, pieces) = match output {
                    Output::Packed(compressor, pieces) => {
                        let packed = compressor.finish()?;
                        (packed.digest, packed.size, pieces)
                    }
                    Output::AsIs(pieces) => (end.blob, end.size, pieces),
                };
                self.wait(pieces.send(Piece::End(Box::new(End { digest, size, memo }))))?
                    .map_err(|_| PushError::Cancelled)?;
                (digest, size, How::Sent, Some(shipment))
            }
        };
        let (diff_id, blob, encoding) = (end.diff_id, end.blob, encoding(stored));
        let arrived = Arrived { diff_id, blob, digest, size, encoding, how, key, shipment };
        self.arrived.push(arrived);
        Ok(())
    }

    fn say(&self, layer: usize, how: How, digest: Digest) {
        self.progress.say(match how {
            How::Mounted => Event::LayerMounted { layer, digest },
            How::Skipped | How::Sent => Event::LayerSkipped { layer, digest },
        });
    }
}

fn encoding(stored: Stored) -> Encoding {
    match stored {
        Stored::AsIs(encoding) => encoding,
        Stored::Packed(compression) => compression.encoding(),
    }
}

impl Sink for PushSink {
    fn begin(&mut self, layer: &LayerStart) -> Result<Want, SinkError> {
        self.count += 1;
        let number = self.count;
        self.progress.say(Event::LayerBegun { layer: number, name: layer.name.clone(), bytes: layer.size });
        let (want, now) = self.plan(layer, number).map_err(SinkError::new)?;
        if let (Want::Nothing { diff_id }, Work::Has { blob, size, how, .. }) = (want, &now.work) {
            // `end` is not called, because it is not read.
            self.read(layer.size);
            self.say(number, *how, *blob);
            self.arrived.push(Arrived {
                diff_id,
                blob: layer.blob.unwrap_or(diff_id),
                digest: *blob,
                size: *size,
                encoding: encoding(self.stored(layer.encoding)),
                how: *how,
                key: now.key.unwrap_or_default(),
                shipment: None,
            });
            return Ok(want);
        }
        self.now = Some(now);
        Ok(want)
    }

    fn bytes(&mut self, piece: Bytes) -> Result<(), SinkError> {
        self.take(&piece).map_err(SinkError::new)
    }

    fn end(&mut self, layer: &LayerEnd) -> Result<(), SinkError> {
        self.ended(layer).map_err(SinkError::new)
    }
}
