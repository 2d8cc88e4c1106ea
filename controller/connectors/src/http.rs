//! HTTP/1.1 to one server: judges and dials each address, keeps a few connections, bounds every answer in time and length.
//! Follows no redirect; says of each failure if the request may have arrived.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::net::Net;
use crate::place::Place;

/// The most addresses that are tried for one connection.
const MAX_TRIED: usize = 4;
/// The most headers of an answer.
const MAX_HEADERS: usize = 100;
/// The read buffer of a connection grows up to here; an answer's head has to fit in it.
const MAX_BUFFER_BYTES: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(20);
/// Idle connections of one client.
const MAX_IDLE: usize = 8;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The address must not be dialled.
    Forbidden(String),
    /// Nothing was sent.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection that waits for its next request: to where, and since when.
type Idle = (String, Connection, Instant);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// Speaks HTTP with the server of a connector, and with its authorization server.
pub(crate) struct Client {
    net: Net,
    own: Vec<CertificateDer<'static>>,
    tls: OnceCell<TlsConnector>,
    idle: Arc<Mutex<Vec<Idle>>>,
}

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) place: &'a Place,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer: its head, and a body that is yet to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// The bounds of one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_bytes: usize,
    /// The longest time without a byte.
    pub(crate) idle: Duration,
    pub(crate) deadline: Instant,
}

impl Client {
    pub(crate) fn new(net: Net, own: Vec<CertificateDer<'static>>) -> Self {
        Self { net, own, tls: OnceCell::new(), idle: Arc::default() }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&self, ask: Ask<'_>, bounds: Bounds) -> Result<Answer, SendError> {
        let key = ask.place.origin();
        let mut request = request(&ask)?;
        let (late, until) = late(bounds);
        loop {
            let kept = self.take(&key);
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => timeout_at(bounds.deadline, timeout(CONNECT_TIMEOUT, self.connect(ask.place)))
                    .await
                    .map_err(|_| SendError::NotSent("the deadline is over".to_owned()))?
                    .map_err(|_| SendError::NotSent("no connection in time".to_owned()))??,
            };
            let sent = timeout_at(until, connection.requests.try_send_request(request)).await;
            return match sent {
                Err(_) => Err(SendError::Lost(late)),
                Ok(Ok(answer)) => {
                    let (head, incoming) = answer.into_parts();
                    let body = Body {
                        incoming,
                        connection: Some((key, connection)),
                        idle: Arc::clone(&self.idle),
                        bounds,
                        seen: 0,
                    };
                    Ok(Answer { status: head.status, headers: head.headers, body })
                }
                Ok(Err(mut failed)) => match failed.take_message() {
                    // The server had closed the connection: nothing of the request has left.
                    Some(again) if was_kept => {
                        request = again;
                        continue;
                    }
                    Some(_) => Err(SendError::NotSent("the server closed the connection".to_owned())),
                    None => Err(SendError::Lost("the connection broke before an answer came".to_owned())),
                },
            };
        }
    }

    fn take(&self, key: &str) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.retain(|(_, connection, since)| !connection.requests.is_closed() && since.elapsed() < MAX_IDLE_TIME);
        let at = idle.iter().rposition(|(of, connection, _)| of == key && connection.requests.is_ready())?;
        Some(idle.remove(at).1)
    }

    async fn connect(&self, place: &Place) -> Result<Connection, SendError> {
        let tcp = self.tcp(place).await?;
        if !place.https {
            return handshake(tcp).await;
        }
        let tls = self.tls.get_or_try_init(|| self.net.tls(&self.own)).await.map_err(SendError::NotSent)?;
        let name = match place.address {
            Some(address) => ServerName::from(address),
            None => ServerName::try_from(place.host.clone())
                .map_err(|_| SendError::NotSent("the host's name is no name for TLS".to_owned()))?,
        };
        let secured = tls.connect(name, tcp).await;
        handshake(secured.map_err(|error| SendError::NotSent(format!("TLS failed: {error}")))?).await
    }

    async fn tcp(&self, place: &Place) -> Result<TcpStream, SendError> {
        let addresses = self.addresses(place).await?;
        let mut failed = SendError::NotSent("the host's name does not resolve".to_owned());
        let share = CONNECT_TIMEOUT / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        for address in addresses {
            match timeout(share, TcpStream::connect(SocketAddr::new(address, place.port))).await {
                Ok(Ok(stream)) => {
                    let quick = stream.set_nodelay(true);
                    quick.map_err(|error| SendError::NotSent(format!("no connection: {}", error.kind())))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => failed = SendError::NotSent(format!("no connection: {}", error.kind())),
                Err(_) => failed = SendError::NotSent("no connection in time".to_owned()),
            }
        }
        Err(failed)
    }

    /// The addresses that may be dialled. Looked up and judged anew for each connection.
    async fn addresses(&self, place: &Place) -> Result<Vec<IpAddr>, SendError> {
        let found = match place.address {
            Some(address) => vec![address],
            None => self.net.resolver.resolve(&place.host).await.map_err(|error| {
                tracing::debug!(host = place.host, %error, "a connector's name does not resolve");
                SendError::NotSent("the host's name does not resolve".to_owned())
            })?,
        };
        let (mut good, mut failed) = (Vec::new(), None);
        for address in found {
            match self.net.judge(address, place.https) {
                Ok(address) => good.push(address),
                Err(why) => failed = Some(why),
            }
        }
        good.truncate(MAX_TRIED);
        match (good.is_empty(), failed) {
            (true, Some(why)) => Err(SendError::Forbidden(why)),
            (true, None) => Err(SendError::NotSent("the host's name does not resolve".to_owned())),
            (false, _) => Ok(good),
        }
    }
}

/// The words for a silence, and the time at which it is one.
fn late(bounds: Bounds) -> (String, Instant) {
    let idle = Instant::now() + bounds.idle;
    match idle < bounds.deadline {
        true => (format!("no byte came for {} s", bounds.idle.as_secs()), idle),
        false => ("the answer took too long".to_owned(), bounds.deadline),
    }
}

fn request(ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, SendError> {
    let bad = |_| SendError::NotSent("the request cannot be written as HTTP".to_owned());
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(ask.place.path_and_query())
        .body(Full::new(ask.body.clone()))
        .map_err(bad)?;
    *request.headers_mut() = ask.headers.clone();
    let host = HeaderValue::from_str(&ask.place.authority()).map_err(|error| bad(error.into()))?;
    request.headers_mut().insert(header::HOST, host);
    let agent = HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(header::USER_AGENT, agent);
    Ok(request)
}

async fn handshake<S: Io + 'static>(stream: S) -> Result<Connection, SendError> {
    let mut builder = Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_BUFFER_BYTES);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (requests, connection) =
        handshake.map_err(|_| SendError::NotSent("the server does not speak HTTP/1.1".to_owned()))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an MCP server was lost");
        }
    });
    Ok(Connection { requests, driver })
}

/// A body on its way. Dropped before its end, it closes its connection.
pub(crate) struct Body {
    incoming: Incoming,
    connection: Option<(String, Connection)>,
    idle: Arc<Mutex<Vec<Idle>>>,
    bounds: Bounds,
    seen: usize,
}

impl Body {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// A sentence: it broke, is too long or too slow.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let (late, until) = late(self.bounds);
            let frame = timeout_at(until, self.incoming.frame()).await.map_err(|_| late)?;
            let Some(frame) = frame else {
                self.over();
                return Ok(None);
            };
            let frame = frame.map_err(|_| "the connection broke in the middle of the answer".to_owned())?;
            let Ok(data) = frame.into_data() else { continue };
            self.seen = self.seen.saturating_add(data.len());
            if self.seen > self.bounds.max_bytes {
                return Err(format!("the answer is longer than {} bytes", self.bounds.max_bytes));
            }
            return Ok(Some(data));
        }
    }

    /// All of it, up to `max` bytes.
    pub(crate) async fn whole(mut self, max: usize) -> Result<Vec<u8>, String> {
        self.bounds.max_bytes = self.bounds.max_bytes.min(max);
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn over(&mut self) {
        let Some((key, connection)) = self.connection.take() else { return };
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push((key, connection, Instant::now()));
        }
    }
}
