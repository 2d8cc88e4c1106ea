//! The worker's side of `contract::uplink`: connections from controllers with swapped roles.
//!
//! Never opens a connection. It takes over accepted ones, which is all that the process's confinement allows. A token
//! is sent only to the gateway that it names.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use cofferdam_contract::Problem;
use cofferdam_contract::uplink::{
    CONNECTION_WINDOW, GATEWAY_HEADER, LENGTH_HEADER, MAX_HEADER_LIST, STREAM_WINDOW, TOKEN_HEADER, UPGRADE,
};
use cofferdam_host_api::gateway::{Gateway, GatewayBody, GatewayError, GatewayFuture, GatewayHandle};
use cofferdam_host_api::interrupt::Timer;
use futures_util::future::{Either, select};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// The most gateways with uplinks to a worker, and the most uplinks of one gateway.
const MAX_GATEWAYS: usize = 64;
const MAX_LINES: usize = 8;
/// The length of a gateway's name, in hex digits.
const NAME_LENGTH: usize = 16;
/// The time from the answer 101 to HTTP/2.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that does not answer pings is dropped.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// The time that a request waits for its gateway to connect, which may be about to happen after a restart.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// One connection.
struct Line {
    id: usize,
    sender: SendRequest<GatewayBody>,
}

#[derive(Default)]
struct Table {
    lines: Mutex<HashMap<String, Vec<Line>>>,
    changed: Notify,
    turn: AtomicUsize,
}

/// All uplinks of this process. Clones share the table.
#[derive(Clone, Default)]
pub(crate) struct Uplinks(Arc<Table>);

impl Uplinks {
    /// The number of connections.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().values().map(Vec::len).sum()
    }

    /// The gateway for a run or a call with a token.
    pub(crate) fn handle(&self, token: Option<&str>) -> Result<Option<GatewayHandle>, Problem> {
        let handle = token.map(|token| GatewayHandle::new(Arc::new(self.clone()), token)).transpose();
        handle.map_err(|e| Problem::malformed(e.to_string()))
    }

    /// Answers `POST /uplink` with 101. From then on the connection is an uplink.
    pub(crate) fn accept(&self, mut request: Request<Body>) -> Result<Response<Body>, Problem> {
        let name = gateway_name(request.headers())?;
        let named = |name: HeaderName, word: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
        };
        if !named(header::CONNECTION, "upgrade") || !named(header::UPGRADE, UPGRADE) {
            return Err(Problem::malformed(format!("this call upgrades the connection to {UPGRADE}")));
        }
        self.0.room_for(&name)?;
        let connection = hyper::upgrade::on(&mut request);
        let table = Arc::clone(&self.0);
        crate::worker::lanes::spawn(async move {
            if let Err(error) = serve(table, name, connection).await {
                tracing::debug!(error, "an uplink ended");
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(UPGRADE));
        Ok(response)
    }
}

fn gateway_name(headers: &HeaderMap) -> Result<String, Problem> {
    let name = headers.get(GATEWAY_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if name.len() != NAME_LENGTH || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::malformed(format!("the header {GATEWAY_HEADER} is required: {NAME_LENGTH} hex digits")));
    }
    Ok(name.to_owned())
}

/// Keeps one uplink in the table while it lives.
async fn serve(table: Arc<Table>, name: String, connection: OnUpgrade) -> Result<(), String> {
    let text = |error: hyper::Error| error.to_string();
    let handshake = async {
        let connection: Upgraded = connection.await.map_err(text)?;
        Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER)
            .keep_alive_while_idle(true)
            .handshake::<_, GatewayBody>(connection)
            .await
            .map_err(text)
    };
    let (sender, connection) =
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|e| e.to_string())??;
    let _listed = table.add(name, sender)?;
    connection.await.map_err(text)
}

/// A line's entry in the table, removed on drop.
struct Listed {
    table: Arc<Table>,
    name: String,
    id: usize,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut lines = self.table.lock();
        if let Some(of_gateway) = lines.get_mut(&self.name) {
            of_gateway.retain(|line| line.id != self.id);
            if of_gateway.is_empty() {
                lines.remove(&self.name);
            }
        }
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Line>>> {
        self.lines.lock()
    }

    fn room_for(&self, name: &str) -> Result<(), Problem> {
        let lines = self.lock();
        let full = match lines.get(name) {
            Some(of_gateway) => of_gateway.len() >= MAX_LINES,
            None => lines.len() >= MAX_GATEWAYS,
        };
        if full { Err(Problem::overloaded("the worker has too many uplinks")) } else { Ok(()) }
    }

    fn add(self: &Arc<Self>, name: String, sender: SendRequest<GatewayBody>) -> Result<Listed, String> {
        // Checked again, because several may have been answered 101 at the same time.
        self.room_for(&name).map_err(|problem| problem.detail)?;
        let id = self.turn.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(name.clone()).or_default().push(Line { id, sender });
        self.changed.notify_waiters();
        Ok(Listed { table: Arc::clone(self), name, id })
    }

    /// A live connection of that gateway, in rotation.
    fn pick(&self, name: &str) -> Option<SendRequest<GatewayBody>> {
        let lines = self.lock();
        let live: Vec<&Line> = lines.get(name)?.iter().filter(|line| !line.sender.is_closed()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % live.len().max(1);
        live.get(turn).map(|line| line.sender.clone())
    }

    async fn wait_for(&self, name: &str) -> Option<SendRequest<GatewayBody>> {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let mut changed = pin!(changed);
                // Enabled before the lookup, so that a line added in between is not missed.
                changed.as_mut().enable();
                if let Some(sender) = self.pick(name) {
                    return sender;
                }
                changed.await;
            }
        };
        if let Some(sender) = self.pick(name) {
            return Some(sender);
        }
        // A guest's thread does not drive the runtime's timers, and other threads do not drive a guest's.
        let (guests, ours) =
            (Timer(Instant::now().checked_add(CONNECT_PATIENCE)), pin!(tokio::time::sleep(CONNECT_PATIENCE)));
        match select(pin!(wait), select(guests, ours)).await {
            Either::Left((sender, _)) => Some(sender),
            Either::Right(_) => None,
        }
    }
}

/// The name of the gateway that issued the request's token.
fn gateway_of(request: &Request<GatewayBody>) -> Option<String> {
    let token = request.headers().get(TOKEN_HEADER)?.to_str().ok()?;
    Some(token.split_once('.')?.0.to_owned())
}

/// HTTP/2 requires a full URI. Only the path matters.
fn complete(request: &mut Request<GatewayBody>) -> Option<()> {
    let path = request.uri().path_and_query()?.clone();
    *request.uri_mut() = Uri::builder().scheme("http").authority("gateway").path_and_query(path).build().ok()?;
    *request.version_mut() = Version::HTTP_2;
    Some(())
}

/// The bytes of a request's head as HTTP/2 counts it.
fn header_list(request: &Request<GatewayBody>) -> usize {
    /// HTTP/2 adds this to each header.
    const EACH: usize = 32;
    /// The method, scheme and authority, which are always the same, and the length.
    const OURS: usize = 256;
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + EACH);
    headers.sum::<usize>() + path + OURS
}

impl Gateway for Uplinks {
    fn send(&self, mut request: Request<GatewayBody>) -> GatewayFuture {
        let table = Arc::clone(&self.0);
        Box::pin(async move {
            let name = gateway_of(&request).ok_or(GatewayError::Token)?;
            complete(&mut request).ok_or(GatewayError::Unreachable)?;
            // HTTP/2 writes the body's own length; a guest's word for it would be a fault of the connection.
            request.headers_mut().remove(header::CONTENT_LENGTH);
            if header_list(&request) > MAX_HEADER_LIST as usize {
                return Err(GatewayError::LongHead);
            }
            let mut sender = table.wait_for(&name).await.ok_or(GatewayError::Unreachable)?;
            match sender.send_request(request).await {
                Ok(mut response) => {
                    // The length of a body that is not here.
                    if let Some(length) = response.headers_mut().remove(LENGTH_HEADER) {
                        response.headers_mut().insert(header::CONTENT_LENGTH, length);
                    }
                    Ok(response.map(|body| body.map_err(broken).boxed_unsync()))
                }
                Err(error) => Err(broken(error)),
            }
        })
    }
}

fn broken(error: hyper::Error) -> GatewayError {
    tracing::debug!(%error, "a request on an uplink broke");
    GatewayError::Broken
}
