//! Blocks of a fixed size, each compressed by itself as a gzip member or a zstd frame, by several threads, put out in
//! order. It never waits for a whole layer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};

use super::error::CompressError;
use super::{Compression, Encoding};
use crate::archive::SinkError;
use crate::digest::{Digest, Hasher};

/// Bytes that are compressed by themselves. More compress a little better, and need more memory for each thread.
const BLOCK: usize = 1 << 20;

type Output = Box<dyn FnMut(Bytes) -> Result<(), SinkError> + Send>;
type Packed = Result<Bytes, CompressError>;

struct Job {
    block: Bytes,
    compression: Compression,
    done: SyncSender<Packed>,
}

/// Threads that compress, for one layer after another. They end when the pool is dropped.
#[derive(Debug)]
pub struct Pool {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub fn new(threads: usize) -> Result<Self, CompressError> {
        let threads = threads.clamp(1, 64);
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let start = |number| {
            let queue = Arc::clone(&queue);
            let work = move || work(&queue);
            std::thread::Builder::new().name(format!("compress-{number}")).spawn(work).map_err(CompressError::Start)
        };
        let threads = (0..threads).map(start).collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Begins a layer. `output` gets the compressed bytes in order, on a thread of its own; when it fails, so does the
    /// next `write`.
    pub fn start(
        &self,
        compression: Compression,
        output: impl FnMut(Bytes) -> Result<(), SinkError> + Send + 'static,
    ) -> Result<Compressor, CompressError> {
        let compression = compression.check()?;
        let jobs = self.jobs.clone().ok_or(CompressError::Gone)?;
        // As many blocks may wait for their turn to be put out as there are threads, and one more.
        let (order, ordered) = sync_channel(self.threads.len() + 1);
        let output: Output = Box::new(output);
        let collector = std::thread::Builder::new()
            .name("compressed".to_owned())
            .spawn(move || collect(&ordered, output))
            .map_err(CompressError::Start)?;
        Ok(Compressor { jobs, order, collector, compression, block: BytesMut::new(), read: 0, blocks: 0 })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has been missed already: its block never came.
            let _ = thread.join();
        }
    }
}

/// A layer that is being compressed. Dropped before `finish`, what is under way is thrown away.
#[derive(Debug)]
pub struct Compressor {
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Packed>>,
    collector: JoinHandle<Result<Compressed, CompressError>>,
    compression: Compression,
    block: BytesMut,
    read: u64,
    blocks: u64,
}

/// What came of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    pub digest: Digest,
    pub size: u64,
    pub encoding: Encoding,
    /// Bytes before compression.
    pub read: u64,
}

impl Compressor {
    /// More bytes of the layer. Waits while the threads are behind.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), CompressError> {
        self.read = self.read.saturating_add(piece.len() as u64);
        let mut rest = piece;
        while !rest.is_empty() {
            if self.block.capacity() == 0 {
                self.block.reserve(BLOCK);
            }
            let (now, later) = rest.split_at(rest.len().min(BLOCK.saturating_sub(self.block.len())));
            self.block.extend_from_slice(now);
            rest = later;
            if self.block.len() >= BLOCK {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), CompressError> {
        let block = std::mem::take(&mut self.block).freeze();
        let (done, packed) = sync_channel(1);
        self.blocks = self.blocks.saturating_add(1);
        // The order first: what is behind stops this one here, not the threads.
        self.order.send(packed).map_err(|_| CompressError::Gone)?;
        self.jobs.send(Job { block, compression: self.compression, done }).map_err(|_| CompressError::Gone)
    }

    /// The end of the layer: waits until all of it was put out. What stopped `write` is said here.
    pub fn finish(mut self) -> Result<Compressed, CompressError> {
        // A layer of no bytes is still one member.
        let sent = if self.block.is_empty() && self.blocks > 0 { Ok(()) } else { self.send() };
        let Self { jobs, order, collector, compression, read, .. } = self;
        drop((jobs, order));
        let collected = collector.join().map_err(|_| CompressError::Gone)??;
        sent?;
        Ok(Compressed { encoding: compression.encoding(), read, ..collected })
    }
}

fn collect(ordered: &Receiver<Receiver<Packed>>, mut output: Output) -> Result<Compressed, CompressError> {
    let mut hasher = Hasher::new();
    while let Ok(packed) = ordered.recv() {
        let bytes = packed.recv().map_err(|_| CompressError::Gone)??;
        hasher.update(&bytes);
        if !bytes.is_empty() {
            output(bytes)?;
        }
    }
    Ok(Compressed { size: hasher.bytes(), digest: hasher.finish(), encoding: Encoding::Plain, read: 0 })
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut packer = Packer::default();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, compression, done }) = job else { return };
        // Nobody waits for it any more: the layer was dropped.
        let _ = done.send(packer.pack(block, compression));
    }
}

/// The compressors of one thread, made when they are first needed.
#[derive(Default)]
struct Packer {
    gzip: Option<(i32, libdeflater::Compressor)>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
    out: Vec<u8>,
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
        let bound = compressor.gzip_compress_bound(block.len());
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        let size =
            compressor.gzip_compress(block, &mut self.out).map_err(|error| CompressError::Block(error.to_string()))?;
        Ok(Bytes::copy_from_slice(self.out.get(..size).unwrap_or_default()))
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
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(block.len()));
        let size = compressor.compress_to_buffer(block, &mut self.out).map_err(failed)?;
        Ok(Bytes::copy_from_slice(self.out.get(..size).unwrap_or_default()))
    }
}
