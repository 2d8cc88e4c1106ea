//! Serves each connection on its own thread, which reads the request, does the work and writes the answer. Handing work
//! to another thread and back takes longer than many runs. Beyond a number of connections, they share the threads of
//! the worker's runtime, and blocking work goes to others.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::THREAD_STACK;

/// An idle connection is closed after this time. The controller closes its own earlier.
const MAX_IDLE_TIME: Duration = Duration::from_secs(20);

/// A connection that takes nothing of its answer for this time is given up. The controller gives up on its client after
/// 10 seconds; a client that is only slow is sent large pieces, and in between the controller takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The state of a thread that serves a single connection.
struct Lane {
    connection: Arc<OwnedFd>,
    /// Tasks that continue after the connection was upgraded to another protocol.
    tasks: TaskTracker,
}

thread_local! {
    static LANE: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// This thread's connection, if it serves a single one.
pub(crate) fn lane() -> Option<Arc<OwnedFd>> {
    LANE.with_borrow(|lane| lane.as_ref().map(|lane| Arc::clone(&lane.connection)))
}

/// Spawns the task that takes over this thread's connection. The thread lives as long as the task.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    match LANE.with_borrow(|lane| lane.as_ref().map(|lane| lane.tasks.clone())) {
        Some(tasks) => drop(tasks.spawn(task)),
        None => drop(tokio::spawn(task)),
    }
}

/// The work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work broke off")]
pub(crate) struct BrokeOff;

/// Runs blocking work: on this thread if it serves a single connection, else on a thread that may block.
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, BrokeOff> {
    if lane().is_some() {
        return catch_unwind(AssertUnwindSafe(work)).map_err(|_| BrokeOff);
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| BrokeOff)
}

/// Serves connections, at most `most` of them on their own threads, until `stop` and the end of requests in progress.
pub(crate) async fn serve(listener: UnixListener, router: Router, most: usize, stop: CancellationToken) {
    let (open, places) = (TaskTracker::new(), Arc::new(Semaphore::new(most)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (router, stop) = (router.clone(), stop.clone());
        let made = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => own_thread(stream, router, stop, (place, open.token())),
            Err(_) => shared(stream, router, stop, &open),
        };
        if let Err(error) = made {
            tracing::warn!(%error, "a connection could not be served");
        }
    }
    open.close();
    open.wait().await;
}

type Kept = (OwnedSemaphorePermit, tokio_util::task::task_tracker::TaskTrackerToken);

fn own_thread(stream: UnixStream, router: Router, stop: CancellationToken, kept: Kept) -> std::io::Result<()> {
    let fd = Arc::new(stream.as_fd().try_clone_to_owned()?);
    thread::Builder::new().name("lane".to_owned()).stack_size(THREAD_STACK).spawn(move || {
        let tasks = TaskTracker::new();
        LANE.set(Some(Lane { connection: fd, tasks: tasks.clone() }));
        let served = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            runtime.block_on(async {
                connection(tokio::net::UnixStream::from_std(stream)?, router, stop).await;
                // Remaining tasks end with their connection, or with the process.
                drop(kept);
                tasks.close();
                tasks.wait().await;
                Ok(())
            })
        });
        LANE.set(None);
        if let Err(error) = served {
            tracing::warn!(%error, "a connection could not be served");
        }
    })?;
    Ok(())
}

fn shared(stream: UnixStream, router: Router, stop: CancellationToken, open: &TaskTracker) -> std::io::Result<()> {
    let stream = tokio::net::UnixStream::from_std(stream)?;
    open.spawn(connection(stream, router, stop));
    Ok(())
}

async fn connection(stream: tokio::net::UnixStream, router: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(MAX_IDLE_TIME);
    let service = TowerToHyperService::new(router);
    // The controller has the same for its clients and gives up earlier, so this is for one that hangs.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(builder.serve_connection(stream, service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
