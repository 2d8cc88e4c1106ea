//! A pool of buffers. A buffer returns when the last slice of its bytes is dropped, and a few idle ones are kept: large
//! buffers that are made and freed again among smaller ones leave an allocator with far more memory than is used.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes per read of an archive: large enough that the cost per read does not matter.
pub(crate) const PIECE: usize = 256 << 10;
const MAX_KEPT_PIECES: usize = 32;

#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    size: usize,
    most: usize,
}

/// For reading an archive.
impl Default for Buffers {
    fn default() -> Self {
        Self::new(PIECE, MAX_KEPT_PIECES)
    }
}

impl Buffers {
    /// A pool of buffers with this size. At most `most` of them are kept while they are idle.
    pub(crate) fn new(size: usize, most: usize) -> Self {
        Self { kept: Arc::default(), size, most }
    }

    /// A buffer of the pool's size with arbitrary content.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.take_of(self.size)
    }

    /// A buffer of at least this length with arbitrary content.
    pub(crate) fn take_of(&self, length: usize) -> Vec<u8> {
        match self.kept.lock().pop() {
            Some(mut kept) => {
                if kept.len() < length {
                    kept.resize(length, 0);
                }
                kept
            }
            // Zeros from the kernel, which take no memory before they are written to.
            None => vec![0; length],
        }
    }

    /// A buffer without content that has room for the pool's size, and may grow.
    pub(crate) fn take_empty(&self) -> Vec<u8> {
        let mut buffer = self.kept.lock().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(self.size);
        buffer
    }

    /// The first `length` bytes of a buffer. It returns to the pool when the last slice of them is dropped.
    pub(crate) fn share(&self, buffer: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Shared { buffer, length, home: self.clone() })
    }
}

struct Shared {
    buffer: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut kept = self.home.kept.lock();
        if kept.len() < self.home.most {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_part() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer[..5].copy_from_slice(b"hello");
        let mut bytes = buffers.share(buffer, 5);
        let front = bytes.split_to(2);
        drop(bytes);
        assert_eq!((&front[..], buffers.kept.lock().len()), (&b"he"[..], 0));
        drop(front);
        assert_eq!(buffers.kept.lock().len(), 1);
        assert_eq!(buffers.take().len(), PIECE);
    }

    #[test]
    fn idle_buffers_are_bounded_and_long_enough() {
        let buffers = Buffers::new(10, 2);
        let all: Vec<Bytes> = (0..4).map(|n| buffers.share(vec![n; 30], 3)).collect();
        drop(all);
        assert_eq!(buffers.kept.lock().len(), 2);
        assert_eq!(buffers.take().len(), 30);
        assert_eq!(buffers.take_empty().len(), 0);
        assert!(buffers.kept.lock().is_empty());
    }
}
