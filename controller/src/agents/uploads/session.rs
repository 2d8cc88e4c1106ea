//! One upload that is under way: a pipeline which waits for bytes, and at most one client who sends them. It stays when
//! the client is gone, for a while, so that the next one goes on where this one was. It knows neither HTTP nor what the
//! bytes are.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::FailureReason;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::slots::Slot;
use super::{Ended, Limits, PushFailure, Pushed};

/// Pieces between a connection and the pipeline. The server reads pieces of at most 400 KiB.
const PIECES: usize = 4;
/// A client that has sent nothing for so long gives way to another one: its connection may be dead without our knowing.
const GIVES_WAY: Duration = Duration::from_secs(3);
/// A pipeline that was told to end has this time.
const END: Duration = Duration::from_secs(10);

/// How often it is asked whether an upload is still wanted.
const ASK: Duration = Duration::from_secs(10);

/// What an upload is for. `push` takes the bytes; whatever it said goes through `record`, and nobody is told of a
/// success before that has returned.
pub trait Work: Send + Sync + 'static {
    fn push(&self, incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>>;
    /// Whether it is still wanted. `received` bytes are here.
    fn wanted(&self, received: u64) -> BoxFuture<'static, bool>;
    fn record(&self, ended: Result<Pushed, PushFailure>) -> BoxFuture<'static, Result<Pushed, PushFailure>>;
}

/// The archive as it arrives. Ends after its last byte, never because a connection broke.
pub struct Incoming(mpsc::Receiver<Bytes>);

impl Stream for Incoming {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub offset: u64,
    /// Of the whole, where a client has said it.
    pub length: Option<u64>,
    /// All of it is here.
    pub complete: bool,
}

impl Progress {
    /// Of an upload that has not begun.
    pub const NOTHING: Self = Self { offset: 0, length: None, complete: false };
}

struct State {
    /// Gone when all bytes have come.
    way: Option<mpsc::Sender<Bytes>>,
    progress: Progress,
    client: Option<Client>,
    clients: u64,
    absent_since: Instant,
    /// Ends the pipeline with this failure.
    give_up: Option<oneshot::Sender<PushFailure>>,
    /// Thrown away for a new start.
    stopped: bool,
}

struct Client {
    number: u64,
    replaced: CancellationToken,
    /// We wait for it, since then; while the pipeline is what we wait for, none.
    silent_since: Option<Instant>,
}

pub struct Session {
    state: Arc<Mutex<State>>,
    ended: watch::Receiver<Option<Ended>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Another client is sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|e| e.into_inner())
}

impl Session {
    /// Starts a pipeline, with nobody sending yet. The slot is given back when the pipeline is gone.
    pub fn start(work: Arc<dyn Work>, limits: &Limits, slot: Slot, runtime: &Handle) -> Arc<Self> {
        let (way, pieces) = mpsc::channel(PIECES);
        let (give_up, given_up) = oneshot::channel();
        let (tell, ended) = watch::channel(None);
        let state = Arc::new(Mutex::new(State {
            way: Some(way),
            progress: Progress::NOTHING,
            client: None,
            clients: 0,
            absent_since: Instant::now(),
            give_up: Some(give_up),
            stopped: false,
        }));
        let (watched, limits) = (Arc::clone(&state), limits.clone());
        let task = runtime.spawn(async move {
            let result = tokio::select! {
                result = work.push(Incoming(pieces)) => result,
                failure = lost(&watched, &limits, &*work) => Err(failure),
                Ok(failure) = given_up => Err(failure),
            };
            let received = {
                let mut now = lock(&watched);
                now.way = None;
                now.progress.offset
            };
            drop(slot);
            match result {
                Ok(pushed) => {
                    // The number that is shown; what it says besides does not count any more.
                    work.wanted(received).await;
                    let _ = tell.send(Some(Arc::new(work.record(Ok(pushed)).await)));
                }
                // It is told at once (where anybody listens), and written down when nobody has tried again: a new start
                // ends this task.
                Err(failure) if failure.retryable => {
                    let _ = tell.send(Some(Arc::new(Err(failure.clone()))));
                    tokio::time::sleep(limits.again).await;
                    let _ = work.record(Err(failure)).await;
                }
                Err(failure) => {
                    let _ = tell.send(Some(Arc::new(work.record(Err(failure)).await)));
                }
            }
        });
        Arc::new(Self { state, ended, task: Mutex::new(Some(task)) })
    }

    pub fn progress(&self) -> Progress {
        lock(&self.state).progress
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<Ended> {
        let ended = self.ended.borrow().clone();
        // Without anybody left to say it, it has broken.
        ended.or_else(|| self.ended.has_changed().is_err().then(broken))
    }

    /// Whether it was thrown away for a new start.
    pub fn is_stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    /// Makes the caller the one who sends.
    ///
    /// # Errors
    /// Where somebody else does.
    pub fn claim(self: &Arc<Self>) -> Result<Hold, Busy> {
        let mut state = lock(&self.state);
        if let Some(client) = &state.client {
            if client.silent_since.is_none_or(|since| since.elapsed() < GIVES_WAY) {
                return Err(Busy);
            }
            client.replaced.cancel();
        }
        state.clients += 1;
        let (number, replaced) = (state.clients, CancellationToken::new());
        state.client = Some(Client { number, replaced: replaced.clone(), silent_since: None });
        drop(state);
        Ok(Hold { session: Arc::clone(self), number, replaced })
    }

    /// Ends the pipeline, without recording anything, and waits until it is gone.
    pub async fn stop(&self) {
        lock(&self.state).stopped = true;
        let task = self.task.lock().unwrap_or_else(|e| e.into_inner()).take();
        let Some(task) = task else { return };
        task.abort();
        if tokio::time::timeout(END, task).await.is_err() {
            tracing::warn!("a push that was given up did not end in time");
        }
    }
}

/// Returns when nobody has come back for too long, the whole took too long, or nobody wants it any more.
async fn lost(state: &Mutex<State>, limits: &Limits, work: &dyn Work) -> PushFailure {
    let start = Instant::now();
    let mut asked = start;
    loop {
        tokio::time::sleep((limits.absence / 10).clamp(Duration::from_millis(10), ASK)).await;
        let offset = lock(state).progress.offset;
        if asked.elapsed() >= ASK {
            asked = Instant::now();
            if !work.wanted(offset).await {
                let detail = "The deployment is over: its upload was given up.";
                return PushFailure::new(FailureReason::Superseded, detail);
            }
        }
        let now = lock(state);
        let Progress { offset, complete, .. } = now.progress;
        if start.elapsed() >= limits.whole {
            let seconds = limits.whole.as_secs();
            let detail = format!("The upload had {seconds} s and was not done: {offset} bytes had come.");
            return PushFailure::new(FailureReason::UploadLost, detail);
        }
        if !complete && now.client.is_none() && now.absent_since.elapsed() >= limits.absence {
            let seconds = limits.absence.as_secs();
            let detail = format!("The upload stopped after {offset} bytes and nobody went on with it for {seconds} s.");
            return PushFailure::new(FailureReason::UploadLost, detail);
        }
    }
}

/// The right to send, until it is dropped or taken over.
pub struct Hold {
    session: Arc<Session>,
    number: u64,
    replaced: CancellationToken,
}

/// Why a piece was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    Replaced,
    /// More than an image may have.
    TooLarge,
    /// More than was announced.
    TooMuch,
}

impl Hold {
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub fn progress(&self) -> Progress {
        self.session.progress()
    }

    /// Returns when another client has taken over.
    pub async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Where pieces go; none when no more are wanted.
    pub(super) fn way(&self) -> Option<mpsc::Sender<Bytes>> {
        lock(&self.session.state).way.clone()
    }

    /// Notes whom we wait for.
    pub(super) fn waits_for_client(&self, waits: bool) {
        if let Some(client) = lock(&self.session.state).client.as_mut().filter(|client| client.number == self.number) {
            client.silent_since = waits.then(Instant::now);
        }
    }

    /// Notes the length of the whole; whether it is what was said before.
    pub fn announce(&self, length: u64) -> bool {
        let mut state = lock(&self.session.state);
        *state.progress.length.get_or_insert(length) == length
    }

    /// Hands a piece over and counts it, in one step.
    pub(super) fn take(&self, place: mpsc::Permit<'_, Bytes>, piece: Bytes, most: u64) -> Result<(), NotTaken> {
        let mut state = lock(&self.session.state);
        let Some(client) = state.client.as_mut().filter(|client| client.number == self.number) else {
            return Err(NotTaken::Replaced);
        };
        client.silent_since = None;
        let offset = state.progress.offset.saturating_add(piece.len() as u64);
        if offset > most {
            return Err(NotTaken::TooLarge);
        }
        if state.progress.length.is_some_and(|length| offset > length) {
            return Err(NotTaken::TooMuch);
        }
        state.progress.offset = offset;
        place.send(piece);
        Ok(())
    }

    /// All bytes are here: the pipeline sees the end.
    pub fn complete(&self) -> Result<(), NotTaken> {
        let mut state = lock(&self.session.state);
        if state.client.as_ref().is_none_or(|client| client.number != self.number) {
            return Err(NotTaken::Replaced);
        }
        state.progress.complete = true;
        state.way = None;
        Ok(())
    }

    /// Ends the upload as failed.
    pub fn give_up(&self, failure: PushFailure) {
        if let Some(give_up) = lock(&self.session.state).give_up.take() {
            // Where it has ended meanwhile, it has ended.
            let _ = give_up.send(failure);
        }
    }

    /// How the upload ends.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.session.ended.clone();
        let seen = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        seen.unwrap_or_else(broken)
    }
}

/// Of a pipeline that has ended without a word.
fn broken() -> Ended {
    let detail = "The push ended without a result, which is a fault of Cofferdam's: send the image again.";
    Arc::new(Err(PushFailure::new(FailureReason::Internal, detail).once_more()))
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = lock(&self.session.state);
        if state.client.as_ref().is_some_and(|client| client.number == self.number) {
            state.client = None;
            state.absent_since = Instant::now();
        }
    }
}
