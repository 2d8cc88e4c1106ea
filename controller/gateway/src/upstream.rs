//! Connections to upstreams: dialled at an address that was checked before, kept for the same token, host and address,
//! bounded in number. HTTP/1.1 towards the upstream.
//!
//! A connection is kept only while its framing is beyond doubt: a request whose answer began before its body had gone
//! out may have left bytes that the upstream would take for a further request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::OrganizationId;
use cofferdam_contract::uplink::{MAX_HEADER_BYTES, MAX_HEADERS};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::body::{BodyError, GatewayBody};
use crate::kept::Kept;
use crate::refusal::short;

/// The time to connect to one address, with TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Open connections of all organizations; further requests wait.
const MAX_CONNECTIONS: usize = 1_024;
/// The read buffer of a connection. An answer's head has to fit in it.
const READ_BUFFER: usize = 2 * MAX_HEADER_BYTES;

/// The purpose of a connection; it is never used for another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) organization: OrganizationId,
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
}

/// An upstream did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("{0}")]
    Http(hyper::Error),
}

/// A connection. Dropping it closes it, even in the middle of an answer.
pub(crate) struct Sender {
    pub(crate) requests: SendRequest<GatewayBody>,
    _driver: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) struct Upstream {
    extra_roots: Vec<CertificateDer<'static>>,
    tls: OnceCell<TlsConnector>,
    /// The pools of all tokens; those of ended ones are taken out as new ones come.
    pools: Mutex<Vec<Weak<Kept>>>,
    open: Arc<Semaphore>,
}

/// The target of a request, and the fate of its connection.
pub(crate) struct Dial<'a> {
    /// Tried in this order.
    pub(crate) routes: &'a [Route],
    pub(crate) connect: Option<Duration>,
    /// The pool that the connection is taken from and given back to. `None`: a new one that is closed afterwards.
    pub(crate) kept: Option<&'a Arc<Kept>>,
}

impl Upstream {
    pub(crate) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self {
            extra_roots,
            tls: OnceCell::new(),
            pools: Mutex::default(),
            open: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    /// A new pool of connections.
    pub(crate) fn pool(&self) -> Arc<Kept> {
        let pool = Arc::default();
        let mut pools = self.pools.lock();
        if pools.len() == pools.capacity() {
            pools.retain(|pool| pool.strong_count() > 0);
        }
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// Sends a request to the first address that answers, and returns when the answer's head is here.
    ///
    /// # Errors
    /// The failure of the last address. A request that may have been sent is not sent again.
    pub(crate) async fn send(
        &self,
        dial: Dial<'_>,
        request: Request<GatewayBody>,
    ) -> Result<Response<Leased>, UpstreamError> {
        let sent = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let mut request = request.map(|body| GatewayBody::new(Sent { body, sent: Arc::clone(&sent) }));
        let lease = |route: &Route, sender: Sender, response: Response<Incoming>| {
            let kept = dial.kept.filter(|_| sent.load(Ordering::Acquire)).cloned();
            response.map(|body| Leased { body, lease: Some((route.clone(), sender)), kept })
        };
        for (route, kept) in dial.routes.iter().zip(std::iter::repeat(dial.kept)) {
            while let Some(mut sender) = kept.and_then(|kept| kept.take(route)) {
                match sender.requests.try_send_request(request).await {
                    Ok(response) => return Ok(lease(route, sender, response)),
                    Err(mut refused) => match refused.take_message() {
                        Some(unsent) => request = unsent,
                        None => return Err(UpstreamError::Http(refused.into_error())),
                    },
                }
            }
        }
        let mut failed = UpstreamError::Connect(io::ErrorKind::AddrNotAvailable.into());
        for route in dial.routes {
            let time = dial.connect.map_or(CONNECT_TIMEOUT, |time| time.min(CONNECT_TIMEOUT));
            match tokio::time::timeout(time, self.connect(route)).await {
                Ok(Ok(mut sender)) => {
                    let response = sender.requests.send_request(request).await.map_err(UpstreamError::Http)?;
                    return Ok(lease(route, sender, response));
                }
                Ok(Err(error)) => failed = error,
                Err(_) => failed = UpstreamError::Connect(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(failed)
    }

    async fn connect(&self, route: &Route) -> Result<Sender, UpstreamError> {
        let closed = |_| UpstreamError::Connect(io::ErrorKind::NotConnected.into());
        let place = match Arc::clone(&self.open).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                // Idle connections make room.
                self.pools.lock().iter().filter_map(Weak::upgrade).for_each(|pool| pool.clear());
                Arc::clone(&self.open).acquire_owned().await.map_err(closed)?
            }
        };
        let stream = TcpStream::connect(SocketAddr::new(route.address, route.port)).await;
        let stream = stream.map_err(UpstreamError::Connect)?;
        // Requests are written whole; waiting to fill a packet would only cost time.
        stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
        if !route.https {
            return handshake(TokioIo::new(stream), place).await;
        }
        let name = match route.host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(route.host.clone()).map_err(|e| UpstreamError::Tls(e.to_string()))?,
        };
        let stream = self.tls().await?.connect(name, stream).await.map_err(|e| UpstreamError::Tls(short(&e)))?;
        handshake(TokioIo::new(stream), place).await
    }

    async fn tls(&self) -> Result<&TlsConnector, UpstreamError> {
        let make = || async {
            let extra = self.extra_roots.clone();
            let made = tokio::task::spawn_blocking(move || crate::tls::connector(&extra)).await;
            made.map_err(|e| e.to_string()).and_then(|made| made).map_err(UpstreamError::Tls)
        };
        self.tls.get_or_try_init(make).await
    }
}

async fn handshake<S>(stream: S, place: OwnedSemaphorePermit) -> Result<Sender, UpstreamError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_headers(MAX_HEADERS + 1).max_buf_size(READ_BUFFER);
    let (requests, connection) = builder.handshake(stream).await.map_err(UpstreamError::Http)?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream was lost");
        }
        drop(place);
    });
    Ok(Sender { requests, _driver: AbortOnDrop(driver) })
}

/// A request's body that tells when all of it has been taken.
struct Sent {
    body: GatewayBody,
    sent: Arc<AtomicBool>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || (polled.is_ready() && self.body.is_end_stream()) {
            self.sent.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. The connection is kept when the body has ended, and closed when it is dropped before or has
/// no pool.
pub(crate) struct Leased {
    body: Incoming,
    lease: Option<(Route, Sender)>,
    kept: Option<Arc<Kept>>,
}

impl Body for Leased {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let over = matches!(polled, Poll::Ready(None)) || (polled.is_ready() && self.body.is_end_stream());
        if over && let Some((route, sender)) = self.lease.take() {
            match &self.kept {
                Some(kept) => Kept::give_back(kept, route, sender),
                None => drop(sender),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // Not before the connection is given back.
        self.lease.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
