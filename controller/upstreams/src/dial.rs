//! Opens connections: resolves the name, checks each address, dials the address that was checked, goes through the proxy if
//! there is one, and speaks TLS. HTTP/1.1, one call at a time on a connection.
//!
//! Every new connection is resolved and checked anew, so a name that changes its address later gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_policy::{Cidr, to_dial};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::error::{Protocol, SendError, Stage, TlsFailure};
use crate::net::{Net, Resolve};
use crate::place::Place;
use crate::proxy::Proxy;
use crate::tls::{self, Authorities};

/// The most addresses that are tried for one connection.
const MAX_TRIED: usize = 4;
/// The most headers of an answer.
const MAX_HEADERS: usize = 128;
/// The read buffer of a connection grows up to here; an answer's head has to fit in it.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// The longest answer of a proxy to `CONNECT`.
const MAX_PROXY_HEAD: usize = 8 << 10;
/// Addresses are used again for this time: a thousand calls that begin together look the name up once.
const RESOLVED_FOR: Duration = Duration::from_secs(2);

/// A connection. Dropping it closes it, even in the middle of an answer.
pub(crate) struct Sender {
    pub(crate) requests: SendRequest<Full<Bytes>>,
    _driver: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// Opens connections to one place.
pub(crate) struct Dialer {
    pub(crate) place: Place,
    proxy: Option<Proxy>,
    /// The private ranges that may be dialled besides public addresses. `None`: every address.
    private: Option<Arc<[Cidr]>>,
    resolver: Arc<dyn Resolve>,
    resolved: Mutex<Option<(Instant, Vec<IpAddr>)>>,
    authorities: Arc<Authorities>,
    own: Vec<CertificateDer<'static>>,
    tls: OnceCell<TlsConnector>,
    connect_timeout: Duration,
}

impl Dialer {
    /// A dialer that may go everywhere, or, with `bounded`, only where an organization's upstream may.
    pub(crate) fn new(
        place: Place,
        proxy: Option<Proxy>,
        bounded: bool,
        net: &Net,
        own: Vec<CertificateDer<'static>>,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            place,
            proxy,
            private: bounded.then(|| Arc::clone(&net.private)),
            resolver: Arc::clone(&net.resolver),
            resolved: Mutex::default(),
            authorities: Arc::clone(&net.authorities),
            own,
            tls: OnceCell::new(),
            connect_timeout,
        }
    }

    /// Checks what can be checked without the network: addresses that are written as such.
    ///
    /// # Errors
    /// A sentence for whoever configured it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(address) = self.place.address {
            self.judge(&self.place, address).map_err(|why| format!("base_url: {why}"))?;
        }
        let Some(proxy) = &self.proxy else { return Ok(()) };
        if self.private.is_some() && !self.place.https {
            return Err("base_url: has to be https where there is a proxy".to_owned());
        }
        match proxy.place.address {
            Some(address) => self.allowed(address).map(|_| ()).map_err(|why| format!("proxy: {why}")),
            None => Ok(()),
        }
    }

    /// The head of a proxied request without TLS names the whole URL.
    pub(crate) fn absolute(&self) -> bool {
        self.proxy.is_some() && !self.place.https
    }

    /// The header for a proxy that reads the request itself.
    pub(crate) fn proxy_authorization(&self) -> Option<&str> {
        let proxy = self.proxy.as_ref().filter(|_| self.absolute())?;
        Some(proxy.authorization.as_ref()?.expose())
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Sender, SendError> {
        let opened = timeout(self.connect_timeout, self.open()).await;
        opened.map_err(|_| SendError::Timeout(Stage::Connect))?
    }

    async fn open(&self) -> Result<Sender, SendError> {
        let first = self.proxy.as_ref().map_or(&self.place, |proxy| &proxy.place);
        let tcp = self.tcp(first).await;
        let Some(proxy) = &self.proxy else {
            let tcp = tcp?;
            return match self.place.https {
                true => handshake(self.secure(&self.place, tcp).await?).await,
                false => handshake(tcp).await,
            };
        };
        let tcp = tcp.map_err(of_proxy)?;
        let mut way: Box<dyn Io> = match proxy.place.https {
            true => Box::new(self.secure(&proxy.place, tcp).await.map_err(of_proxy)?),
            false => Box::new(tcp),
        };
        if self.place.https {
            ask_proxy(&mut way, &self.place, proxy).await?;
            return handshake(self.secure(&self.place, way).await?).await;
        }
        handshake(way).await
    }

    async fn tcp(&self, place: &Place) -> Result<TcpStream, SendError> {
        let addresses = self.addresses(place).await?;
        let (mut failed, mut left) = (SendError::Dns, addresses.len().max(1));
        for address in addresses {
            // An address that is not there must not take the time of the next one.
            let time = self.connect_timeout / u32::try_from(left).unwrap_or(1);
            left = left.saturating_sub(1).max(1);
            match timeout(time, TcpStream::connect(SocketAddr::new(address, place.port))).await {
                Ok(Ok(stream)) => {
                    // Requests are written whole; waiting to fill a packet would only cost time.
                    stream.set_nodelay(true).map_err(|error| SendError::Connect(error.kind()))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => failed = SendError::Connect(error.kind()),
                Err(_) => failed = SendError::Connect(io::ErrorKind::TimedOut),
            }
        }
        Err(failed)
    }

    /// The addresses that may be dialled.
    async fn addresses(&self, place: &Place) -> Result<Vec<IpAddr>, SendError> {
        let found = match place.address {
            Some(address) => vec![address],
            None => self.resolve(&place.host).await?,
        };
        let (mut good, mut failed) = (Vec::new(), SendError::Dns);
        for address in found {
            match self.judge(place, address) {
                Ok(address) => good.push(address),
                Err(why) => failed = why,
            }
        }
        good.truncate(MAX_TRIED);
        if good.is_empty() { Err(failed) } else { Ok(good) }
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, SendError> {
        let fresh =
            self.resolved.lock().as_ref().filter(|found| found.0.elapsed() < RESOLVED_FOR).map(|found| found.1.clone());
        if let Some(found) = fresh {
            return Ok(found);
        }
        let found = self.resolver.resolve(host).await.map_err(|error| {
            tracing::debug!(host, %error, "an upstream's name does not resolve");
            SendError::Dns
        })?;
        *self.resolved.lock() = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// The address to dial for a place.
    fn judge(&self, place: &Place, address: IpAddr) -> Result<IpAddr, SendError> {
        let address = self.allowed(address)?;
        let proxied = self.proxy.is_some();
        match &self.private {
            // Keys are not sent over the internet in the clear.
            Some(private) if !place.https && !proxied && !private.iter().any(|range| range.contains(address)) => {
                Err(SendError::Plain)
            }
            _ => Ok(address),
        }
    }

    fn allowed(&self, address: IpAddr) -> Result<IpAddr, SendError> {
        match &self.private {
            None => Ok(address),
            Some(private) => to_dial(address, private).ok_or(SendError::Forbidden(address.to_canonical())),
        }
    }

    async fn secure<S: Io>(&self, place: &Place, stream: S) -> Result<tokio_rustls::client::TlsStream<S>, SendError> {
        let tls = self.tls.get_or_try_init(|| self.authorities.connector(&self.own)).await.map_err(SendError::Tls)?;
        let name = match place.host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(place.host.clone()).map_err(|_| SendError::Tls(TlsFailure::WrongName))?,
        };
        tls.connect(name, stream).await.map_err(|error| SendError::Tls(tls::failure(&error)))
    }
}

/// Asks the proxy for a way to the place.
async fn ask_proxy(way: &mut Box<dyn Io>, place: &Place, proxy: &Proxy) -> Result<(), SendError> {
    let target = place.host_and_port();
    let authorization =
        proxy.authorization.as_ref().map(|value| format!("Proxy-Authorization: {}\r\n", value.expose()));
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorization.unwrap_or_default());
    let broke = |_| SendError::Proxy("closed the connection".to_owned());
    way.write_all(head.as_bytes()).await.map_err(broke)?;
    way.flush().await.map_err(broke)?;
    // Byte by byte: what follows the head belongs to TLS, and a proxy sends nothing before we do.
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == MAX_PROXY_HEAD {
            return Err(SendError::Proxy("sent an answer that is too long".to_owned()));
        }
        answer.push(way.read_u8().await.map_err(broke)?);
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status =
        std::str::from_utf8(line).ok().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    match status {
        Some(200..=299) => Ok(()),
        Some(407) => Err(SendError::Proxy("wants a user name and a password".to_owned())),
        Some(status @ 100..=599_u16) => Err(SendError::Proxy(format!("refuses the way ({status})"))),
        _ => Err(SendError::Proxy("does not speak HTTP".to_owned())),
    }
}

async fn handshake<S: Io + 'static>(stream: S) -> Result<Sender, SendError> {
    let mut builder = Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_BUFFER_BYTES);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (requests, connection) = handshake.map_err(|_| SendError::Protocol(Protocol::Lost))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream of models was lost");
        }
    });
    Ok(Sender { requests, _driver: AbortOnDrop(driver) })
}
/// A failure on the way to the proxy: the upstream itself was not asked.
fn of_proxy(error: SendError) -> SendError {
    match error {
        SendError::Connect(kind) => SendError::Proxy(format!("cannot be reached: {kind}")),
        SendError::Dns => SendError::Proxy("has a name that does not resolve".to_owned()),
        SendError::Tls(why) => SendError::Proxy(format!("offers no TLS: {why}")),
        other => other,
    }
}
