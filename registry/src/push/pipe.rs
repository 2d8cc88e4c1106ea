//! Turns asynchronous bytes into a blocking source through a bounded channel, and counts how far a stream was read.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::progress::{Event, Progress};
use crate::archive::ArchiveSource;

/// Bytes in the queue; one longer piece is allowed. And the number of pieces, for tiny ones.
const MAX_QUEUED_BYTES: u32 = 2 << 20;
const MAX_QUEUED_PIECES: usize = 256;
const SAY_EVERY: u64 = 1 << 20;

/// The input side of an archive. Dropping it without `end` means that the archive broke off.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: mpsc::Sender<io::Result<Bytes>>,
    room: Arc<Semaphore>,
}

/// The push has ended and reports the reason itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the push has ended")]
pub struct PipeError;

/// A source that is fed from a request's body or another store.
pub fn pipe() -> (Feed, ArchiveSource) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_PIECES);
    let room = Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize));
    let fed = Fed { receiver, room: Arc::clone(&room), now: Bytes::new(), taken: 0, ended: false };
    (Feed { sender, room }, ArchiveSource::Stream(Box::new(fed)))
}

impl Feed {
    /// Waits until there is room.
    ///
    /// # Errors
    /// The push has ended.
    pub async fn send(&self, piece: Bytes) -> Result<(), PipeError> {
        if piece.is_empty() {
            return Ok(());
        }
        let room = self.room.acquire_many(weight(&piece)).await.map_err(|_| PipeError)?;
        self.sender.send(Ok(piece)).await.map_err(|_| PipeError)?;
        // The reader returns the permit. A send cancelled before this line keeps none.
        room.forget();
        Ok(())
    }

    /// Marks the archive as complete.
    ///
    /// # Errors
    /// The push has ended.
    pub async fn end(self) -> Result<(), PipeError> {
        self.sender.send(Ok(Bytes::new())).await.map_err(|_| PipeError)
    }

    /// Marks the archive as failed for this reason.
    pub async fn fail(self, why: io::Error) {
        // Ignored if the push has ended.
        let _ = self.sender.send(Err(why)).await;
    }
}

fn weight(piece: &Bytes) -> u32 {
    u32::try_from(piece.len()).unwrap_or(MAX_QUEUED_BYTES).min(MAX_QUEUED_BYTES)
}

struct Fed {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    room: Arc<Semaphore>,
    now: Bytes,
    /// The permits of the current piece.
    taken: u32,
    ended: bool,
}

impl Drop for Fed {
    fn drop(&mut self) {
        // Wakes a sender that waits for room.
        self.room.close();
    }
}

impl Read for Fed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.now.is_empty() && !self.ended {
            self.room.add_permits(std::mem::take(&mut self.taken) as usize);
            match self.receiver.blocking_recv() {
                Some(piece) => {
                    self.now = piece?;
                    self.taken = weight(&self.now);
                }
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the upload broke off")),
            }
            self.ended = self.now.is_empty();
        }
        let size = self.now.len().min(into.len());
        self.now.split_to(size).copy_to_slice(into.get_mut(..size).unwrap_or_default());
        Ok(size)
    }
}

/// Counts a stream's bytes and stops when the push ends.
pub(super) struct ProgressReader {
    inner: Box<dyn Read + Send>,
    progress: Progress,
    cancel: CancellationToken,
    bytes: u64,
    said: u64,
}

impl ProgressReader {
    pub(super) fn new(inner: Box<dyn Read + Send>, progress: Progress, cancel: CancellationToken) -> Self {
        Self { inner, progress, cancel, bytes: 0, said: 0 }
    }
}

impl Read for ProgressReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("the push was cancelled"));
        }
        let size = self.inner.read(into)?;
        self.bytes += size as u64;
        if size == 0 || self.bytes - self.said >= SAY_EVERY {
            self.said = self.bytes;
            self.progress.say(Event::Read { bytes: self.bytes });
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(source: ArchiveSource) -> Box<dyn Read + Send> {
        let ArchiveSource::Stream(reader) = source else { panic!() };
        reader
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let (feed, source) = pipe();
        let mut reader = reader(source);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        for number in 0..1_000_u32 {
            feed.send(Bytes::from(number.to_le_bytes().repeat(100))).await.unwrap();
        }
        feed.send(Bytes::new()).await.unwrap();
        feed.end().await.unwrap();
        let expected: Vec<u8> = (0..1_000_u32).flat_map(|number| number.to_le_bytes().repeat(100)).collect();
        assert_eq!(read.await.unwrap().unwrap(), expected);
    }

    #[tokio::test]
    async fn one_that_breaks_off_is_no_end() {
        for failing in [false, true] {
            let (feed, source) = pipe();
            let mut reader = reader(source);
            let read = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
            feed.send(Bytes::from_static(b"half")).await.unwrap();
            if failing {
                feed.fail(io::Error::other("gone")).await;
            } else {
                drop(feed);
            }
            assert!(read.await.unwrap().is_err());
        }
        let (feed, source) = pipe();
        drop(source);
        assert_eq!(feed.send(Bytes::from_static(b"x")).await, Err(PipeError));
    }

    #[tokio::test]
    async fn little_waits_and_who_waits_is_told_of_the_end() {
        let (feed, source) = pipe();
        let piece = Bytes::from(vec![b'x'; 300 << 10]);
        let mut waiting = 0;
        let soon = std::time::Duration::from_millis(100);
        while let Ok(sent) = tokio::time::timeout(soon, feed.send(piece.clone())).await {
            sent.unwrap();
            waiting += piece.len();
        }
        assert!((1..=MAX_QUEUED_BYTES as usize).contains(&waiting), "{waiting}");
        let mut reader = reader(source);
        let read = tokio::task::spawn_blocking(move || {
            reader.read_exact(&mut vec![0; 1 << 20]).unwrap();
            reader
        });
        let reader = read.await.unwrap();
        // A piece longer than the whole queue passes when the queue is empty.
        let long = Bytes::from(vec![b'y'; 3 << 20]);
        let sending = tokio::spawn(async move { feed.send(long).await });
        tokio::time::sleep(soon).await;
        assert!(!sending.is_finished());
        drop(reader);
        assert_eq!(sending.await.unwrap(), Err(PipeError));
    }
}
