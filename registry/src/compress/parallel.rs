//! Compresses fixed-size blocks independently, each as a gzip member or a zstd frame, on several threads, and emits
//! them in order. Never waits for a whole layer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::CompressError;
use super::{Compression, Encoding};
use crate::archive::SinkError;
use crate::buffers::Buffers;
use crate::digest::{Digest, Hasher};

/// Bytes per block. gzip looks back 32 KiB only, and is fastest while a block stays in the processor's cache; zstd looks
/// back as far as the block goes.
const GZIP_BLOCK: usize = 256 << 10;
const BLOCK: usize = 1 << 20;

/// Bytes per piece of output, at most.
const PIECE: usize = 1 << 20;

/// Idle buffers of each kind.
const MAX_KEPT_BUFFERS: usize = 24;

type Output = Box<dyn FnMut(Bytes) -> Result<(), SinkError> + Send>;
type Packed = Result<Bytes, CompressError>;

struct Job {
    block: Bytes,
    compression: Compression,
    done: SyncSender<Packed>,
}

/// The most threads in a pool. Each holds a few blocks in memory.
const MAX_THREADS: usize = 16;

/// Threads that compress one layer after another. They end when the pool and its compressors are dropped; no caller
/// waits for that.
#[derive(Debug, Clone)]
pub struct Pool {
    jobs: SyncSender<Job>,
    threads: usize,
    blocks: Buffers,
    pieces: Buffers,
}

impl Pool {
    pub fn new(threads: usize) -> Result<Self, CompressError> {
        let threads = threads.clamp(1, MAX_THREADS);
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let packed = Buffers::new(0, MAX_KEPT_BUFFERS);
        for number in 0..threads {
            let (queue, packed) = (Arc::clone(&queue), packed.clone());
            std::thread::Builder::new()
                .name(format!("compress-{number}"))
                .spawn(move || work(&queue, packed))
                .map_err(CompressError::Start)?;
        }
        let (blocks, pieces) = (Buffers::new(0, MAX_KEPT_BUFFERS), Buffers::new(PIECE, MAX_KEPT_BUFFERS));
        Ok(Self { jobs, threads, blocks, pieces })
    }

    /// Starts a layer. `output` gets the compressed bytes in order on its own thread. If it fails, so does the next
    /// `write`.
    pub fn start(
        &self,
        compression: Compression,
        output: impl FnMut(Bytes) -> Result<(), SinkError> + Send + 'static,
    ) -> Result<Compressor, CompressError> {
        let compression = compression.check()?;
        let jobs = self.jobs.clone();
        // One more finished block may be queued than there are threads.
        let (order, ordered) = sync_channel(self.threads.saturating_add(1));
        let output: Output = Box::new(output);
        let pieces = self.pieces.clone();
        let collector = std::thread::Builder::new()
            .name("compressed".to_owned())
            .spawn(move || collect(&ordered, output, &pieces))
            .map_err(CompressError::Start)?;
        let blocks = self.blocks.clone();
        let size = if matches!(compression, Compression::Gzip(_)) { GZIP_BLOCK } else { BLOCK };
        Ok(Compressor { jobs, order, collector, compression, blocks, size, block: Vec::new(), read: 0, sent: 0 })
    }
}

/// A layer being compressed. Dropping it before `finish` discards the work.
#[derive(Debug)]
pub struct Compressor {
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Packed>>,
    collector: JoinHandle<Result<Compressed, CompressError>>,
    compression: Compression,
    blocks: Buffers,
    /// Bytes of a block.
    size: usize,
    block: Vec<u8>,
    read: u64,
    /// Blocks.
    sent: u64,
}

/// The result for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    pub digest: Digest,
    pub size: u64,
    pub encoding: Encoding,
    /// Bytes before compression.
    pub read: u64,
}

impl Compressor {
    /// More bytes of the layer. Blocks while the threads are behind.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), CompressError> {
        self.read = self.read.saturating_add(piece.len() as u64);
        let mut rest = piece;
        while !rest.is_empty() {
            if self.block.capacity() == 0 {
                self.block = self.blocks.take_empty();
                self.block.reserve_exact(self.size);
            }
            let (now, later) = rest.split_at(rest.len().min(self.size.saturating_sub(self.block.len())));
            self.block.extend_from_slice(now);
            rest = later;
            if self.block.len() >= self.size {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), CompressError> {
        let block = std::mem::take(&mut self.block);
        let length = block.len();
        let block = self.blocks.share(block, length);
        let (done, packed) = sync_channel(1);
        self.sent = self.sent.saturating_add(1);
        // The order first: back pressure then stops this caller, not the threads.
        self.order.send(packed).map_err(|_| CompressError::Gone)?;
        self.jobs.send(Job { block, compression: self.compression, done }).map_err(|_| CompressError::Gone)
    }

    /// Ends the layer and waits until all output was written. Returns the error that stopped `write`.
    pub fn finish(mut self) -> Result<Compressed, CompressError> {
        // An empty layer is still one member.
        let sent = if self.block.is_empty() && self.sent > 0 { Ok(()) } else { self.send() };
        let Self { jobs, order, collector, compression, read, .. } = self;
        drop((jobs, order));
        let collected = collector.join().map_err(|_| CompressError::Gone)??;
        sent?;
        Ok(Compressed { encoding: compression.encoding(), read, ..collected })
    }
}

/// Joins what the blocks became to pieces of one size: what waits to be sent takes only the memory that it needs.
fn collect(
    ordered: &Receiver<Receiver<Packed>>,
    mut output: Output,
    pieces: &Buffers,
) -> Result<Compressed, CompressError> {
    let mut hasher = Hasher::new();
    let mut piece = pieces.take_empty();
    while let Ok(packed) = ordered.recv() {
        let bytes = packed.recv().map_err(|_| CompressError::Gone)??;
        hasher.update(&bytes);
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE.saturating_sub(piece.len())));
            piece.extend_from_slice(now);
            rest = later;
            if piece.len() >= PIECE {
                output(pieces.share(std::mem::replace(&mut piece, pieces.take_empty()), PIECE))?;
            }
        }
    }
    if !piece.is_empty() {
        let length = piece.len();
        output(pieces.share(piece, length))?;
    }
    Ok(Compressed { size: hasher.bytes(), digest: hasher.finish(), encoding: Encoding::Plain, read: 0 })
}

fn work(queue: &Mutex<Receiver<Job>>, packed: Buffers) {
    let mut packer = Packer { gzip: None, zstd: None, packed };
    loop {
        let job = queue.lock().recv();
        let Ok(Job { block, compression, done }) = job else { return };
        // The receiver is gone: the layer was dropped.
        let _ = done.send(packer.pack(block, compression));
    }
}

/// The compressors of one thread, created on first use.
struct Packer {
    gzip: Option<(i32, libdeflater::Compressor)>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
    packed: Buffers,
}

impl Packer {
    fn pack(&mut self, block: Bytes, compression: Compression) -> Packed {
        match compression {
            Compression::None => Ok(block),
            Compression::Gzip(level) => self.gzip(&block, level),
            Compression::Zstd(level) => self.zstd(&block, level),
        }
    }

    fn gzip(&mut self, block: &[u8], level: i32) -> Packed {
        let compressor = match &mut self.gzip {
            Some((at, compressor)) if *at == level => compressor,
            other => {
                let level_of = libdeflater::CompressionLvl::new(level)
                    .map_err(|_| CompressError::Level { name: "gzip", most: 12 })?;
                &mut other.insert((level, libdeflater::Compressor::new(level_of))).1
            }
        };
        let mut out = self.packed.take_of(compressor.gzip_compress_bound(block.len()));
        let size =
            compressor.gzip_compress(block, &mut out).map_err(|error| CompressError::Block(error.to_string()))?;
        Ok(self.packed.share(out, size))
    }

    fn zstd(&mut self, block: &[u8], level: i32) -> Packed {
        let failed = |error: std::io::Error| CompressError::Block(error.to_string());
        let compressor = match &mut self.zstd {
            Some((at, compressor)) if *at == level => compressor,
            other => {
                let mut made = zstd::bulk::Compressor::new(level).map_err(failed)?;
                made.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true)).map_err(failed)?;
                &mut other.insert((level, made)).1
            }
        };
        let mut out = self.packed.take_of(zstd::zstd_safe::compress_bound(block.len()));
        let size = compressor.compress_to_buffer(block, out.as_mut_slice()).map_err(failed)?;
        Ok(self.packed.share(out, size))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::compress::{DecodeLimits, Decoder};

    /// Compresses in pieces of odd sizes.
    fn compress(bytes: &[u8], compression: Compression, threads: usize, piece: usize) -> (Vec<u8>, Compressed) {
        let pool = Pool::new(threads).unwrap();
        let (sender, output) = std::sync::mpsc::channel();
        let send = move |bytes| sender.send(bytes).map_err(SinkError::new);
        let mut compressor = pool.start(compression, send).unwrap();
        bytes.chunks(piece).for_each(|piece| compressor.write(piece).unwrap());
        let compressed = compressor.finish().unwrap();
        (output.iter().flatten().collect(), compressed)
    }

    fn some_bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> (24 + n / 70_000 % 8)) as u8).collect()
    }

    #[test]
    fn what_comes_out_is_what_went_in_and_the_same_every_time() {
        for length in [0, 1, GZIP_BLOCK, GZIP_BLOCK + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let bytes = some_bytes(length);
            for compression in [Compression::None, Compression::Gzip(1), Compression::Gzip(6), Compression::Zstd(3)] {
                let (packed, compressed) = compress(&bytes, compression, 1, 100_003);
                assert_eq!((Digest::of(&packed), packed.len() as u64), (compressed.digest, compressed.size));
                assert_eq!((compressed.read, compressed.encoding), (length as u64, compression.encoding()));
                assert_eq!(compress(&bytes, compression, 3, 8_191).0, packed);
                let limits = DecodeLimits { bytes: 1 << 30, ratio: 10_000, ratio_after: 0, window_log: 23 };
                let mut decoder = Decoder::new(compression.encoding(), packed.as_slice(), limits).unwrap();
                let mut back = vec![0; length + 1];
                assert_eq!(decoder.fill(&mut back).unwrap(), length);
                assert!(back[..length] == bytes);
            }
        }
        // Checked with a different library than the one that compressed.
        let (packed, _) = compress(b"hello", Compression::Gzip(9), 1, 2);
        let mut back = String::new();
        flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut back).unwrap();
        assert_eq!(back, "hello");
    }

    #[test]
    fn an_output_that_fails_stops_the_layer_and_not_the_pool() {
        let pool = Pool::new(2).unwrap();
        let mut compressor = pool.start(Compression::GZIP, |_| Err(SinkError::new("the registry is full"))).unwrap();
        let block = some_bytes(BLOCK);
        let stopped = (0..1_000).find_map(|_| compressor.write(&block).err());
        assert!(matches!(stopped, Some(CompressError::Gone)));
        let error = compressor.finish().unwrap_err();
        assert_eq!(error.to_string(), "the registry is full");
        let mut next = pool.start(Compression::Zstd(3), |_| Ok(())).unwrap();
        next.write(&block).unwrap();
        drop(pool);
        assert_eq!(next.finish().unwrap().read, BLOCK as u64);
    }

    #[test]
    fn levels_that_there_are_not_are_refused() {
        let pool = Pool::new(1).unwrap();
        for compression in [Compression::Gzip(0), Compression::Gzip(13), Compression::Zstd(-1), Compression::Zstd(20)] {
            assert!(matches!(pool.start(compression, |_| Ok(())), Err(CompressError::Level { .. })));
        }
    }
}
