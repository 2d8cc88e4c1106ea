//! Accepts connections and serves a router on them, with bounds on what a slow or idle client can hold. When there
//! is no room for another connection, an open one makes room.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::framing::{self, Framing};
use super::linger::Linger;
use super::loops::Loops;
use super::open_files;
use super::strangers::{Entry, Strangers};
use cofferdam_api::Peer;
use cofferdam_http::ApiError;

/// A request's head must arrive within this time; an idle connection is closed after it.
const HEAD_TIME: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 64 << 10;
/// The maximum of open connections; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 8_192;
/// A client that reads nothing of its answer for this time is given up.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a controller at a code-runner. It reads in large pieces, each when its own client has taken the last one.
const CONTROLLER_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after a failed accept, and the shorter one if a connection was closed to make room.
const FAILED_PAUSE: Duration = Duration::from_millis(50);
const CLOSED_PAUSE: Duration = Duration::from_millis(5);
/// The time for a connection to make room, before the next one has to.
const ROOM_TIMEOUT: Duration = Duration::from_millis(50);

/// The bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    connections: usize,
    write_timeout: Duration,
}

impl Bounds {
    /// For a listener that any client can reach.
    pub(super) fn for_clients() -> Self {
        Self { connections: open_files::connections(MAX_CONNECTIONS), write_timeout: CLIENT_WRITE_TIMEOUT }
    }

    /// For a listener that serves other controllers.
    pub(super) fn for_controllers() -> Self {
        Self { write_timeout: CONTROLLER_WRITE_TIMEOUT, ..Self::for_clients() }
    }
}

/// Serves until `draining`, then waits at most `drain` for the requests under way.
pub async fn accept(listener: TcpListener, router: Router, draining: CancellationToken, drain: Duration) {
    accept_within(Bounds::for_clients(), listener, router, draining, drain).await;
}

/// The same with other bounds.
pub(super) async fn accept_within(
    bounds: Bounds,
    listener: TcpListener,
    router: Router,
    draining: CancellationToken,
    drain: Duration,
) {
    let loops = match Loops::start() {
        Ok(loops) => loops,
        Err(error) => {
            tracing::error!(%error, "the connection threads could not be started");
            return;
        }
    };
    let connections = TaskTracker::new();
    let (places, strangers) = (Arc::new(Semaphore::new(bounds.connections)), Arc::new(Strangers::default()));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_header_size(MAX_HEAD);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok(accepted) => accepted,
                Err(error) => {
                    tokio::time::sleep(make_room(&error, &strangers)).await;
                    continue;
                }
            },
            () = draining.cancelled() => break,
        };
        let place = tokio::select! {
            place = take_place(&places, &strangers) => place,
            () = draining.cancelled() => break,
        };
        let Some(place) = place else { break };
        // Answers are written whole, so Nagle's algorithm would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (router, entry) = (router.clone(), strangers.add());
        let known = entry.known().clone();
        let lingers = Arc::new(AtomicBool::new(false));
        let refused = Arc::clone(&lingers);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(known.clone());
            let (mut router, refused) = (router.clone(), Arc::clone(&refused));
            async move {
                let sends = !request.body().is_end_stream();
                let answer = match framing::judge(&request) {
                    Ok(Framing::Plain) => answer(&mut router, request).await,
                    Ok(Framing::Chunked) => closing(answer(&mut router, request).await),
                    Err(refused) => closing(ApiError::from(refused).into_response()),
                };
                refused.store(sends && !answer.status().is_success(), Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        });
        let (builder, draining) = (builder.clone(), draining.clone());
        loops.spawn(connections.track_future(async move {
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => {
                    // An answer that nobody reads must not hold its memory and its descriptor for ever.
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(bounds.write_timeout));
                    TokioIo::new(Linger::new(Box::pin(stream), lingers))
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be served");
                    return;
                }
            };
            let served = async {
                let mut connection = std::pin::pin!(builder.serve_connection(stream, service).with_upgrades());
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = ends(&draining, &entry) => {
                        // Requests under way finish; no further request is read.
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            };
            match unless_closed(&entry, served).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "a connection broke off"),
                None => tracing::debug!("a connection without a key was closed to make room"),
            }
            drop(place);
        }));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!("the drain time ended with requests still under way");
    }
    loops.end().await;
}

async fn answer(router: &mut Router, request: Request<Incoming>) -> Response {
    router.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
}

/// Ends the connection after this answer.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Serves the connection, and drops it when it has to make room.
async fn unless_closed<T>(entry: &Entry, served: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        ended = served => Some(ended),
        () = entry.closing() => None,
    }
}

/// Waits until no further request of the connection is to be read.
async fn ends(draining: &CancellationToken, entry: &Entry) {
    tokio::select! {
        () = draining.cancelled() => {}
        () = entry.ending() => {}
    }
}

/// A free place, or the next one to become free. If there is none, connections make room, one after the other.
async fn take_place(places: &Arc<Semaphore>, strangers: &Strangers) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Some(place);
        }
        strangers.make_room();
        if let Ok(place) = tokio::time::timeout(ROOM_TIMEOUT, Arc::clone(places).acquire_owned()).await {
            return place.ok();
        }
    }
}

/// Has a connection make room if this process or machine is out of descriptors. Returns the pause before the next
/// attempt.
fn make_room(error: &std::io::Error, strangers: &Strangers) -> Duration {
    let full = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
    if full && strangers.make_room() {
        tracing::debug!(%error, "a connection is closed to make room");
        return CLOSED_PAUSE;
    }
    tracing::warn!(%error, "a connection could not be accepted");
    FAILED_PAUSE
}

#[cfg(test)]
mod tests;
