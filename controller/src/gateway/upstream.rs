//! Connections to upstreams: dialled at an address that was judged before, kept for the same organization, host and
//! address, and only so many. HTTP/1.1 towards the upstream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
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
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::body::GatewayBody;
use super::kept::Kept;

/// The time to connect to one address, with TLS.
const CONNECT: Duration = Duration::from_secs(8);
/// Open connections of all organizations, at most; further requests wait.
const MOST_OPEN: usize = 1_024;
/// What a connection reads ahead, in bytes. A head has to fit in it.
const READ_AHEAD: usize = 2 * MAX_HEADER_BYTES;

/// What a connection was made for; it is used again for the same only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    pub organization: OrganizationId,
    pub https: bool,
    pub host: String,
    pub port: u16,
    pub address: IpAddr,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("{0}")]
    Http(hyper::Error),
}

/// A connection. Dropping it closes it, whatever it is in the middle of.
pub struct Sender {
    pub requests: SendRequest<GatewayBody>,
    _driver: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub struct Upstream {
    extra_roots: Vec<CertificateDer<'static>>,
    tls: OnceCell<TlsConnector>,
    kept: Arc<Kept>,
    open: Arc<Semaphore>,
}

impl Upstream {
    pub fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self { extra_roots, tls: OnceCell::new(), kept: Arc::default(), open: Arc::new(Semaphore::new(MOST_OPEN)) }
    }

    /// Sends a request to the first address that answers, and gives the answer when its head is here.
    ///
    /// # Errors
    /// What the last address failed with. A request that may have been sent is not sent again.
    pub async fn send(
        &self,
        routes: &[Route],
        connect: Option<Duration>,
        mut request: Request<GatewayBody>,
    ) -> Result<Response<Leased>, UpstreamError> {
        for route in routes {
            while let Some(mut sender) = self.kept.take(route) {
                match sender.requests.try_send_request(request).await {
                    Ok(response) => return Ok(self.leased(route, sender, response)),
                    Err(mut refused) => match refused.take_message() {
                        Some(unsent) => request = unsent,
                        None => return Err(UpstreamError::Http(refused.into_error())),
                    },
                }
            }
        }
        let mut failed = UpstreamError::Connect(io::ErrorKind::AddrNotAvailable.into());
        for route in routes {
            let time = connect.map_or(CONNECT, |time| time.min(CONNECT));
            match tokio::time::timeout(time, self.connect(route)).await {
                Ok(Ok(mut sender)) => {
                    let response = sender.requests.send_request(request).await.map_err(UpstreamError::Http)?;
                    return Ok(self.leased(route, sender, response));
                }
                Ok(Err(error)) => failed = error,
                Err(_) => failed = UpstreamError::Connect(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(failed)
    }

    fn leased(&self, route: &Route, sender: Sender, response: Response<Incoming>) -> Response<Leased> {
        let lease = Some((route.clone(), sender));
        response.map(|body| Leased { body, lease, kept: Arc::clone(&self.kept) })
    }

    async fn connect(&self, route: &Route) -> Result<Sender, UpstreamError> {
        let closed = |_| UpstreamError::Connect(io::ErrorKind::NotConnected.into());
        let place = match Arc::clone(&self.open).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                // What is kept idle has to make room.
                self.kept.clear();
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
            let made = tokio::task::spawn_blocking(move || super::tls::connector(&extra)).await;
            made.map_err(|e| e.to_string()).and_then(|made| made).map_err(UpstreamError::Tls)
        };
        self.tls.get_or_try_init(make).await
    }
}

/// What an upstream presents may stand in an error.
fn short(error: &io::Error) -> String {
    error.to_string().chars().take(300).collect()
}

async fn handshake<S>(stream: S, place: OwnedSemaphorePermit) -> Result<Sender, UpstreamError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_headers(MAX_HEADERS + 1).max_buf_size(READ_AHEAD);
    let (requests, connection) = builder.handshake(stream).await.map_err(UpstreamError::Http)?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream broke off");
        }
        drop(place);
    });
    Ok(Sender { requests, _driver: AbortOnDrop(driver) })
}

/// The body of an answer. When it has ended, its connection is kept; when it is dropped before, its connection is too.
pub struct Leased {
    body: Incoming,
    lease: Option<(Route, Sender)>,
    kept: Arc<Kept>,
}

impl Body for Leased {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let over = matches!(polled, Poll::Ready(None)) || (polled.is_ready() && self.body.is_end_stream());
        if over && let Some((route, sender)) = self.lease.take() {
            Kept::give_back(&self.kept, route, sender);
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
