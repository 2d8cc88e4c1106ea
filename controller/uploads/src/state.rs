//! State of one upload, shared by its session, its pipeline's task and the client that sends.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::PushFailure;

/// Progress of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub offset: u64,
    /// The length of the whole archive, if a client has said it.
    pub length: Option<u64>,
    /// The whole archive was received.
    pub complete: bool,
}

impl Progress {
    /// The progress of an upload that has not begun.
    pub const NOTHING: Self = Self { offset: 0, length: None, complete: false };
}

pub(crate) struct State {
    /// Sends pieces to the pipeline. `None` when no more are accepted.
    pub pieces: Option<mpsc::Sender<Bytes>>,
    pub progress: Progress,
    pub client: Option<Client>,
    /// Clients so far.
    pub clients: u64,
    pub absent_since: Instant,
    /// Ends the pipeline with a failure.
    pub give_up: Option<oneshot::Sender<PushFailure>>,
    /// Discarded for a new start.
    pub stopped: bool,
}

/// The client that sends.
pub(crate) struct Client {
    pub number: u64,
    pub replaced: CancellationToken,
    /// Set while the client is what we wait for. `None` while we wait for the pipeline.
    pub silent_since: Option<Instant>,
}

impl State {
    pub(crate) fn new(pieces: mpsc::Sender<Bytes>, give_up: oneshot::Sender<PushFailure>) -> Mutex<Self> {
        Mutex::new(Self {
            pieces: Some(pieces),
            progress: Progress::NOTHING,
            client: None,
            clients: 0,
            absent_since: Instant::now(),
            give_up: Some(give_up),
            stopped: false,
        })
    }

    /// The time for which the rest of the archive has had no client.
    pub(crate) fn absent(&self) -> Duration {
        match self.progress.complete || self.client.is_some() {
            true => Duration::ZERO,
            false => self.absent_since.elapsed(),
        }
    }

    /// The client with this number, if it has not been replaced.
    pub(crate) fn client(&mut self, number: u64) -> Option<&mut Client> {
        self.client.as_mut().filter(|client| client.number == number)
    }
}
