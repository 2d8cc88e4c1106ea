//! Accepts connections and serves a router on them, with bounds on what a slow or idle client can hold.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::loops::Loops;
use cofferdam_api::Peer;

/// A request's head must arrive within this time; an idle connection is closed after it.
const HEAD_TIME: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 64 << 10;
/// The maximum of open connections; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 8_192;

/// Serves until `draining`, then waits at most `drain` for the requests under way.
pub async fn accept(listener: TcpListener, router: Router, draining: CancellationToken, drain: Duration) {
    let loops = match Loops::start() {
        Ok(loops) => loops,
        Err(error) => {
            tracing::error!(%error, "the connection threads could not be started");
            return;
        }
    };
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_header_size(MAX_HEAD);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = draining.cancelled() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Usually out of file descriptors: existing connections have to end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = draining.cancelled() => break,
        };
        // Answers are written whole, so Nagle's algorithm would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let router = router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let mut router = router.clone();
            async move { Ok::<_, Infallible>(router.call(request.map(Body::new)).await.unwrap_or_else(|e| match e {})) }
        });
        let (builder, draining) = (builder.clone(), draining.clone());
        loops.spawn(connections.track_future(async move {
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be served");
                    return;
                }
            };
            let mut connection = std::pin::pin!(builder.serve_connection(stream, service).with_upgrades());
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = draining.cancelled() => {
                    // Requests under way finish; no further request is read.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        }));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!("the drain time ended with requests still under way");
    }
}
