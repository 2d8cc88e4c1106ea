//! Bounds the bytes of clusters' answers that all environments together hold: read, and not yet judged. A small answer always
//! has room, so that clusters with enormous ones keep no other one from being seen. Reads nothing itself.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bytes that all answers together may hold.
pub(crate) const MAX_HELD_BYTES: usize = 128 << 20;
/// The bytes of each answer, or of each list, that are not counted.
const FREE_BYTES: usize = 64 << 10;
/// The size of a place.
const PLACE_BYTES: usize = 1 << 10;

/// The room for all answers.
#[derive(Clone)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
}

/// The room that one answer or one list has taken. Given back when it is dropped.
pub(crate) struct Taken {
    places: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// The elements of a list, with the room that they take.
pub(crate) struct Held<T> {
    all: Vec<T>,
    _taken: Taken,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::of(MAX_HELD_BYTES)
    }

    fn of(bytes: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(bytes / PLACE_BYTES)) }
    }

    /// Takes no room yet.
    pub(crate) fn begin(&self) -> Taken {
        Taken { places: Arc::clone(&self.places), held: None, bytes: 0 }
    }
}

impl Taken {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Waits until there is room for so many bytes more. The caller bounds the time.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        let more = places(self.bytes).saturating_sub(self.held());
        if more == 0 {
            return;
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let Ok(more) = Arc::clone(&self.places).acquire_many_owned(more).await else { return };
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
    }

    /// Gives back what was taken beyond so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
        let less = self.held().saturating_sub(places(self.bytes));
        drop(self.held.as_mut().and_then(|held| held.split(less)));
    }

    /// Keeps the room for as long as the elements live.
    pub(crate) fn with<T>(self, all: Vec<T>) -> Held<T> {
        Held { all, _taken: self }
    }

    fn held(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

fn places(bytes: usize) -> usize {
    bytes.saturating_sub(FREE_BYTES).div_ceil(PLACE_BYTES)
}

impl<T> Deref for Held<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.all
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const WAIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn large_answers_wait_for_one_another_and_small_ones_for_none() {
        let room = Room::of(1 << 20);
        let (mut one, mut two, mut small) = (room.begin(), room.begin(), room.begin());
        one.grow(512 << 10).await;
        one.grow(512 << 10).await;
        assert!(timeout(WAIT, two.grow(512 << 10)).await.is_err());
        drop(two);
        timeout(WAIT, small.grow(FREE_BYTES)).await.unwrap();
        let mut two = room.begin();
        one.shrink_to(256 << 10);
        timeout(WAIT, two.grow(512 << 10)).await.unwrap();
        let list = one.with(vec![0; 3]);
        assert_eq!(list.len(), 3);
        drop((list, two));
        assert_eq!(room.places.available_permits(), 1 << 10);
    }
}
