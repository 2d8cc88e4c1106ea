//! Buffers that are used again once nobody holds their bytes. There are as many as are in use at once; a few are kept.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of a piece: enough that what a piece costs does not matter.
pub(super) const PIECE: usize = 256 << 10;
const KEPT: usize = 32;

#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// A buffer of `PIECE` bytes, whatever stands in them.
    pub fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; PIECE])
    }

    /// The first bytes of a buffer. It comes back when the last part of them is dropped.
    pub fn share(&self, buffer: Vec<u8>, length: usize) -> Bytes {
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
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
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
        assert_eq!((&front[..], buffers.0.lock().unwrap().len()), (&b"he"[..], 0));
        drop(front);
        assert_eq!(buffers.0.lock().unwrap().len(), 1);
        assert_eq!(buffers.take().len(), PIECE);
    }
}
