//! A pool of read buffers. A buffer returns when the last slice of its bytes is dropped; a few idle ones are kept.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes per read: large enough that the cost per read does not matter.
pub(super) const PIECE: usize = 256 << 10;
const MAX_KEPT_BUFFERS: usize = 32;

#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// A buffer of `PIECE` bytes with arbitrary content.
    pub(super) fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().pop();
        kept.unwrap_or_else(|| vec![0; PIECE])
    }

    /// The first `length` bytes of a buffer. It returns to the pool when the last slice of them is dropped.
    pub(super) fn share(&self, buffer: Vec<u8>, length: usize) -> Bytes {
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
        let mut kept = self.home.0.lock();
        if kept.len() < MAX_KEPT_BUFFERS {
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
        assert_eq!((&front[..], buffers.0.lock().len()), (&b"he"[..], 0));
        drop(front);
        assert_eq!(buffers.0.lock().len(), 1);
        assert_eq!(buffers.take().len(), PIECE);
    }
}
