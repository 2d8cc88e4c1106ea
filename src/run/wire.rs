//! One HTTP call over a connection of its own: Unix socket, TCP, or TLS. Dropping the call closes the connection, which
//! cancels what it asked for.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use cofferdam_contract::Problem;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 1 << 30;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Address {
    Unix(PathBuf),
    Http(Uri),
}

impl Address {
    /// From `http://HOST[:PORT][/PREFIX]`, or https.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.trim_end_matches('/').parse().with_context(|| format!("COFFERDAM_URL {url:?}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            bail!("COFFERDAM_URL {url:?} is not http://HOST:PORT or https://HOST");
        }
        Ok(Self::Http(uri))
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let uri = match self {
            Self::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Http(uri) => uri,
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let tls = uri.scheme_str() == Some("https");
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(if tls { 443 } else { 80 }))).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).context("the server's name")?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// One request with these headers and no others, and its answer whatever it is.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: BoxBody<Bytes, std::io::Error>,
    ) -> anyhow::Result<Response<Incoming>> {
        let place = || format!("reaching {}", self.host());
        let stream = self.connect().await.with_context(place)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.prefix()));
        request = request.header("host", self.host());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        sender.send_request(request.body(body)?).await.with_context(place)
    }

    fn host(&self) -> String {
        match self {
            Self::Unix(_) => "worker".to_owned(),
            Self::Http(uri) => uri.authority().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn prefix(&self) -> &str {
        match self {
            Self::Unix(_) => "",
            Self::Http(uri) => uri.path().trim_end_matches('/'),
        }
    }
}

/// A server and the headers that every call to it carries.
#[derive(Debug, Clone)]
pub struct Server {
    pub address: Address,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Server {
    /// Sends a call; the answer is a success and its body still comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        accept: &str,
    ) -> anyhow::Result<Response<Incoming>> {
        self.send_as(method, path, "application/json", body, accept).await
    }

    async fn send_as(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
        accept: &str,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut headers = vec![(http::header::ACCEPT, HeaderValue::from_str(accept)?)];
        if !body.is_empty() {
            headers.push((http::header::CONTENT_TYPE, HeaderValue::from_str(kind)?));
        }
        headers.extend(self.headers.iter().cloned());
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
        let response = self.address.exchange(method, path, &headers, body).await?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    /// Sends a call with a body of that kind and takes the whole answer.
    pub async fn call_as(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
        whole(self.send_as(method, path, kind, body, "application/json").await?).await
    }

    /// Sends a call and takes the whole answer.
    pub async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
        whole(self.send(method, path, body, "application/json").await?).await
    }
}

/// What an answer that is no success says, for people.
pub async fn refusal(response: Response<Incoming>) -> anyhow::Error {
    let status = response.status();
    let body = whole(response).await.unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => anyhow!("{}: {}", problem.title, problem.detail),
        Err(_) => anyhow!("the server answered {status}"),
    }
}

async fn whole(response: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(|e| anyhow!("the answer broke off: {e}"))?.to_bytes())
}
