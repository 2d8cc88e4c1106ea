//! One upload: a pipeline that waits for bytes, and at most one client that sends them. The upload stays for a while
//! when its client is gone, so that the next client can continue it. Knows neither HTTP nor the format of the bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::FailureReason;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::hold::Hold;
use crate::slots::Slot;
use crate::state::{Client, Progress, State};
use crate::{Ended, PushFailure, Pushed, UploadLimits, watchdog};

/// Pieces between a connection and the pipeline. The server reads pieces of at most 400 KiB.
const QUEUED_PIECES: usize = 4;
/// Another client may replace one that has been silent for this long: its connection may be dead without our knowing.
const REPLACED_AFTER: Duration = Duration::from_secs(3);
/// A pipeline that was told to stop has this long.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The purpose of an upload. The bytes go to `push`, its result goes through `record`, and clients are told of a
/// success only after `record` has returned.
pub trait Work: Send + Sync + 'static {
    fn push(&self, incoming: Incoming) -> BoxFuture<'static, Result<Pushed, PushFailure>>;
    /// Notes that `received` bytes are here, and that the client was last there `absent` ago. Returns whether the upload is
    /// still wanted.
    fn wanted(&self, received: u64, absent: Duration) -> BoxFuture<'static, bool>;
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

pub(crate) struct Session {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) ended: watch::Receiver<Option<Ended>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Another client is sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Session {
    /// Starts a pipeline without a client. The slot is freed when the pipeline ends.
    pub(crate) fn start(work: Arc<dyn Work>, limits: &UploadLimits, slot: Slot, runtime: &Handle) -> Arc<Self> {
        let (sender, pieces) = mpsc::channel(QUEUED_PIECES);
        let (give_up, given_up) = oneshot::channel();
        let (tell, ended) = watch::channel(None);
        let state = Arc::new(State::new(sender, give_up));
        let (watched, limits) = (Arc::clone(&state), limits.clone());
        let task = runtime.spawn(async move {
            let result = tokio::select! {
                result = work.push(Incoming(pieces)) => result,
                failure = watchdog::watch(&watched, &limits, &*work) => Err(failure),
                Ok(failure) = given_up => Err(failure),
            };
            let received = {
                let mut now = watched.lock();
                now.pieces = None;
                now.progress.offset
            };
            drop(slot);
            match result {
                Ok(pushed) => {
                    // Only notes the number of bytes: the image is there, wanted or not.
                    work.wanted(received, Duration::ZERO).await;
                    let _ = tell.send(Some(Arc::new(work.record(Ok(pushed)).await)));
                }
                // Clients are told at once. It is recorded only if no client tries again in time: a new start aborts
                // this task.
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

    pub(crate) fn progress(&self) -> Progress {
        self.state.lock().progress
    }

    /// The result, once there is one.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let ended = self.ended.borrow().clone();
        // The task is gone and left no result.
        ended.or_else(|| self.ended.has_changed().is_err().then(broken))
    }

    /// Discarded for a new start.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Makes the caller the client that sends.
    ///
    /// # Errors
    /// [`Busy`] when another client is sending.
    pub(crate) fn claim(self: &Arc<Self>) -> Result<Hold, Busy> {
        let mut state = self.state.lock();
        if let Some(client) = &state.client {
            if client.silent_since.is_none_or(|since| since.elapsed() < REPLACED_AFTER) {
                return Err(Busy);
            }
            client.replaced.cancel();
        }
        state.clients += 1;
        let (number, replaced) = (state.clients, CancellationToken::new());
        state.client = Some(Client { number, replaced: replaced.clone(), silent_since: None });
        drop(state);
        Ok(Hold::new(Arc::clone(self), number, replaced))
    }

    /// Stops the pipeline without recording a result, and waits until it is gone.
    pub(crate) async fn stop(&self) {
        self.state.lock().stopped = true;
        let task = self.task.lock().take();
        let Some(task) = task else { return };
        task.abort();
        if tokio::time::timeout(STOP_TIMEOUT, task).await.is_err() {
            tracing::warn!("an aborted push did not stop in time");
        }
    }
}

/// The result of a pipeline that ended without one.
pub(crate) fn broken() -> Ended {
    let detail = "The push ended without a result. This is a bug in Cofferdam; send the image again.";
    Arc::new(Err(PushFailure::new(FailureReason::Internal, detail).once_more()))
}
