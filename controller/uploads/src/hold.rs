//! The right of one client to send for an upload.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::FailureReason;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::session::{Session, broken};
use crate::state::Progress;
use crate::{Ended, PushFailure};

/// The right to send, until it is dropped or another client takes over.
pub struct Hold {
    session: Arc<Session>,
    number: u64,
    replaced: CancellationToken,
    only_once: bool,
}

/// The reason why a piece was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    Replaced,
    /// The archive is larger than an image may be.
    TooLarge,
    /// The archive is larger than was announced.
    TooMuch,
}

impl Hold {
    pub(crate) fn new(session: Arc<Session>, number: u64, replaced: CancellationToken) -> Self {
        Self { session, number, replaced, only_once: false }
    }

    /// Marks the client as one that cannot send anything twice: if it goes away before the archive's end, the upload fails
    /// at once.
    pub fn only_once(&mut self) {
        self.only_once = true;
    }

    pub fn progress(&self) -> Progress {
        self.session.progress()
    }

    /// Returns when another client has taken over.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Sends pieces to the pipeline. `None` when no more are accepted.
    pub(crate) fn pieces(&self) -> Option<mpsc::Sender<Bytes>> {
        self.session.state.lock().pieces.clone()
    }

    /// Notes whether the client is what we wait for.
    pub(crate) fn waits_for_client(&self, waits: bool) {
        if let Some(client) = self.session.state.lock().client(self.number) {
            client.silent_since = waits.then(Instant::now);
        }
    }

    /// Sets the length of the whole archive. Returns whether it agrees with the length that was set before.
    pub fn announce(&self, length: u64) -> bool {
        let mut state = self.session.state.lock();
        *state.progress.length.get_or_insert(length) == length
    }

    /// Sends a piece to the pipeline and counts it, in one step.
    pub(crate) fn take(&self, place: mpsc::Permit<'_, Bytes>, piece: Bytes, max: u64) -> Result<(), NotTaken> {
        let mut state = self.session.state.lock();
        let Some(client) = state.client(self.number) else {
            return Err(NotTaken::Replaced);
        };
        client.silent_since = None;
        let offset = state.progress.offset.saturating_add(piece.len() as u64);
        if offset > max {
            return Err(NotTaken::TooLarge);
        }
        if state.progress.length.is_some_and(|length| offset > length) {
            return Err(NotTaken::TooMuch);
        }
        state.progress.offset = offset;
        place.send(piece);
        Ok(())
    }

    /// Ends the archive: all of its bytes were received.
    ///
    /// # Errors
    /// [`NotTaken::Replaced`] when another client has taken over.
    pub fn complete(&self) -> Result<(), NotTaken> {
        let mut state = self.session.state.lock();
        if state.client(self.number).is_none() {
            return Err(NotTaken::Replaced);
        }
        state.progress.complete = true;
        state.pieces = None;
        Ok(())
    }

    /// Ends the upload as failed. Does nothing if it has ended already.
    pub fn give_up(&self, failure: PushFailure) {
        if let Some(give_up) = self.session.state.lock().give_up.take() {
            let _ = give_up.send(failure);
        }
    }

    /// Waits for the result of the upload.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.session.ended.clone();
        let seen = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        seen.unwrap_or_else(broken)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        if state.client(self.number).is_some() {
            state.client = None;
            state.absent_since = Instant::now();
            if self.only_once
                && !state.progress.complete
                && let Some(give_up) = state.give_up.take()
            {
                let _ = give_up.send(gone(state.progress.offset));
            }
        }
    }
}

fn gone(offset: u64) -> PushFailure {
    let detail = format!(
        "The client went away after {offset} bytes, before the end of what only it could send (standard input). Deploy again."
    );
    PushFailure::new(FailureReason::UploadLost, detail)
}
