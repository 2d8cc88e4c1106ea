//! Memory for answers that are read whole, for all calls together. Never waits: an answer that finds no room is refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most memory of all answers that are being read, in KiB.
const MAX_ROOM_KIB: usize = 512 << 10;
const KIB: usize = 1 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ROOM_KIB)))
    }
}

/// The room of one answer.
pub(crate) struct Taken {
    room: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    kib: usize,
}

impl Room {
    pub(crate) fn taken(&self) -> Taken {
        Taken { room: Arc::clone(&self.0), permit: None, kib: 0 }
    }
}

impl Taken {
    /// Takes room for an answer that has this length now. Returns false if there is none.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let wanted = bytes.div_ceil(KIB);
        let more = wanted.saturating_sub(self.kib);
        if more == 0 {
            return true;
        }
        let Ok(Ok(permit)) = u32::try_from(more).map(|more| Arc::clone(&self.room).try_acquire_many_owned(more)) else {
            return false;
        };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.kib = wanted;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_comes_back() {
        let room = Room::default();
        let (mut first, mut second) = (room.taken(), room.taken());
        assert!(first.grow(1) && first.grow(MAX_ROOM_KIB * KIB));
        assert!(!second.grow(1));
        drop(first);
        assert!(second.grow(MAX_ROOM_KIB * KIB) && !second.grow(MAX_ROOM_KIB * KIB + 1));
    }
}
