//! The HTTP client: a server's API over TCP or TLS, or a worker's wire over a Unix socket. Each call has a connection of
//! its own, so that dropping the call closes it, which cancels the work. Never uses a proxy and never follows redirects.

mod error;
mod find;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use cofferdam_contract::Problem;
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use sse_stream::{Sse, SseStream};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) use error::ClientError;
pub(crate) use find::{block_on, find};

const MAX_ANSWER_BYTES: usize = 1 << 30;
/// A problem, or what the place of an upload says.
const MAX_SUMMARY_BYTES: usize = 1 << 20;
const MAX_EVENT_BYTES: usize = 256 << 20;
const JSON: &str = "application/json";
const NO_LINK: &str = "the server's upload link is not an HTTP URL";
const EVENTS: &str = "text/event-stream";
/// The host in URLs of calls over a Unix socket.
const WORKER: &str = "http://worker";

/// Everything but unreserved characters (RFC 3986, 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// A name as one segment of a path, or as a value in a query.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// A relative path with its slashes.
pub(crate) fn segments(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// A server and the headers that every call to it carries.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    http: Client,
    base: String,
    headers: HeaderMap,
}

impl Server {
    /// From `http://HOST[:PORT][/PREFIX]`, or https.
    pub(crate) fn at(url: &str, key: Option<&str>) -> anyhow::Result<Self> {
        // A password may stand before an `@`.
        let shown = if url.contains('@') { String::new() } else { format!(" {url:?}") };
        let wrong = || format!("COFFERDAM_URL{shown} is not http://HOST:PORT or https://HOST");
        let Ok(mut parsed) = Url::parse(url) else { bail!(wrong()) };
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            bail!(wrong());
        }
        parsed.set_query(None);
        parsed.set_fragment(None);
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let Ok(mut value) = HeaderValue::from_str(key.trim()) else {
                bail!("COFFERDAM_API_KEY holds characters that no key has, such as the end of a line")
            };
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-api-key"), value);
        }
        Ok(Self { http: client(&parsed)?, base: parsed.as_str().trim_end_matches('/').to_owned(), headers })
    }

    /// A worker behind its socket.
    pub(crate) fn worker(socket: &Path, headers: HeaderMap) -> anyhow::Result<Self> {
        let http = builder(RootCertStore::empty())?.unix_socket(socket).build()?;
        Ok(Self { http, base: WORKER.to_owned(), headers })
    }

    /// A call with the server's headers.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).headers(self.headers.clone()).header(ACCEPT, JSON)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The client and the URL of a link that the server gave: a path of its own, or a place elsewhere. The link says
    /// which headers it needs; the server's own are not for it.
    pub(crate) fn link(&self, link: &str) -> anyhow::Result<(Client, Url)> {
        if link.starts_with('/') {
            let Ok(url) = Url::parse(&self.url(link)) else { bail!(NO_LINK) };
            return Ok((self.http.clone(), url));
        }
        let Ok(url) = Url::parse(link) else { bail!(NO_LINK) };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            bail!(NO_LINK);
        }
        Ok((client(&url)?, url))
    }

    /// A call without a body, answered in JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        read(&call(self.request(Method::GET, path)).await?)
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        call(self.request(Method::DELETE, path)).await?;
        Ok(())
    }

    /// A call with a JSON body.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, ClientError> {
        call(json(self.request(method, path), body)).await
    }

    /// Reads an answer of events.
    pub(crate) async fn events(&self, path: &str) -> Result<Events, ClientError> {
        events(self.request(Method::GET, path)).await
    }
}

fn client(url: &Url) -> anyhow::Result<Client> {
    let mut roots = RootCertStore::empty();
    // Reading the system's certificates takes a while.
    if url.scheme() == "https" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(builder(roots)?.build()?)
}

fn builder(roots: RootCertStore) -> anyhow::Result<ClientBuilder> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = Client::builder().tls_backend_preconfigured(tls).http1_only();
    Ok(builder.no_proxy().redirect(Policy::none()).referer(false).pool_max_idle_per_host(0))
}

/// Gives a request a JSON body.
pub(crate) fn json(request: RequestBuilder, body: Vec<u8>) -> RequestBuilder {
    request.header(CONTENT_TYPE, JSON).body(body)
}

/// Reads JSON that the server sent.
pub(crate) fn read<T: DeserializeOwned>(answer: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(answer).map_err(|_| ClientError::Foreign.into())
}

/// Sends a request and returns the answer whatever its status.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Response, ClientError> {
    request.send().await.map_err(|error| ClientError::unreachable(&error))
}

/// Sends a request and returns a successful answer, whose body is still to come.
async fn open(request: RequestBuilder) -> Result<Response, ClientError> {
    let response = exchange(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(match refusal(response).await {
        // Our own 404 is a problem document.
        ClientError::Status(StatusCode::NOT_FOUND) => ClientError::Foreign,
        refused => refused,
    })
}

/// Sends a request and returns the body of a successful answer.
pub(crate) async fn call(request: RequestBuilder) -> Result<Bytes, ClientError> {
    body(open(request).await?, MAX_ANSWER_BYTES).await
}

/// The error of an answer that is not a success.
pub(crate) async fn refusal(response: Response) -> ClientError {
    let status = response.status();
    let body = body(response, MAX_SUMMARY_BYTES).await.unwrap_or_default();
    refused(status, &body)
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return ClientError::Refused(Box::new(problem));
    }
    let told: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    match told.as_ref().and_then(|told| told.pointer("/error/message")).and_then(serde_json::Value::as_str) {
        Some(message) => ClientError::Told { status, message: message.to_owned() },
        None => ClientError::Status(status),
    }
}

/// The JSON of an answer that may have none.
pub(crate) async fn summary(response: Response) -> serde_json::Value {
    body(response, MAX_SUMMARY_BYTES).await.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
}

async fn body(mut response: Response, max: usize) -> Result<Bytes, ClientError> {
    let mut whole = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| ClientError::broken(&error))? {
        if whole.len() + piece.len() > max {
            return Err(ClientError::TooLarge(max));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Server-sent events as they come, each of at most [`MAX_EVENT_BYTES`].
pub(crate) struct Events {
    events: SseStream<reqwest::Body>,
    /// Bytes that came since the last event.
    pending: Arc<AtomicUsize>,
}

/// Sends a request and reads its answer as events.
pub(crate) async fn events(request: RequestBuilder) -> Result<Events, ClientError> {
    let response = open_events(request).await?;
    let pending = Arc::new(AtomicUsize::new(0));
    let pieces = bounded(response.bytes_stream(), Arc::clone(&pending), MAX_EVENT_BYTES);
    Ok(Events { events: SseStream::new(reqwest::Body::wrap_stream(pieces)), pending })
}

/// The same from a server that says every few seconds that it is there: a connection is given up after a longer silence.
pub(crate) async fn lively_events(request: RequestBuilder, silence: Duration) -> Result<Events, ClientError> {
    let response = tokio::time::timeout(silence, open_events(request)).await;
    let response = response.map_err(|_| ClientError::Broken(silent(silence)))??;
    let pending = Arc::new(AtomicUsize::new(0));
    let pieces = bounded(within(response.bytes_stream(), silence), Arc::clone(&pending), MAX_EVENT_BYTES);
    Ok(Events { events: SseStream::new(reqwest::Body::wrap_stream(pieces)), pending })
}

async fn open_events(request: RequestBuilder) -> Result<Response, ClientError> {
    let mut accept = HeaderMap::new();
    accept.insert(ACCEPT, HeaderValue::from_static(EVENTS));
    // `headers` replaces where `header` would add.
    open(request.headers(accept)).await
}

fn silent(silence: Duration) -> String {
    format!("nothing came for {} s", silence.as_secs())
}

/// Ends a stream with an error when nothing comes for so long.
fn within<E: std::error::Error + Send + Sync + 'static>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    silence: Duration,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::unfold(Some(Box::pin(pieces)), move |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(silence, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(std::io::Error::other(error)), None)),
            Err(_) => Some((Err(std::io::Error::other(silent(silence))), None)),
        }
    })
}

/// Ends a stream with an error when more than `max` bytes come without an event, which resets `pending`.
fn bounded<E: std::error::Error + Send + Sync + 'static>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
    pending: Arc<AtomicUsize>,
    max: usize,
) -> impl Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
    pieces.map(move |piece| {
        let piece = piece?;
        if pending.fetch_add(piece.len(), Ordering::Relaxed) + piece.len() > max {
            return Err(format!("an event is larger than {max} bytes").into());
        }
        Ok(piece)
    })
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Sse>, ClientError> {
        let event = self.events.next().await.transpose().map_err(|error| ClientError::broken(&error))?;
        self.pending.store(0, Ordering::Relaxed);
        Ok(event)
    }
}

#[cfg(test)]
mod tests;
