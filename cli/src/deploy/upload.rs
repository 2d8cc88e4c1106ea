//! Uploads an archive to its link, and resumes after a broken connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use cofferdam_contract::Progress;
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::{Body, Client, RequestBuilder, Url};
use serde_json::Value;
use tokio::sync::mpsc;

use super::look;
use super::source::DeploySource;
use super::wire::Link;
use crate::client::{Server, exchange, refusal, summary};
use crate::progress::{Elsewhere, Handle, Line, bytes};
use crate::terminal::note;

const PIECE: usize = 256 << 10;
/// The longest row of attempts without progress.
const MAX_ATTEMPTS: u32 = 8;
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// The archive from byte `from` on, read by a thread of its own.
fn body(source: &DeploySource, from: u64, line: &Handle) -> std::io::Result<Body> {
    let mut reader = source.open(from)?;
    let (send, mut pieces) = mpsc::channel(4);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let piece = match reader.read(&mut piece) {
                Ok(0) => return,
                Ok(got) => {
                    piece.truncate(got);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if send.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    line.set(from);
    let line = line.clone();
    Ok(Body::wrap_stream(stream::poll_fn(move |cx| {
        let piece = std::task::ready!(pieces.poll_recv(cx));
        if let Some(Ok(piece)) = &piece {
            line.add(piece.len() as u64);
        }
        std::task::Poll::Ready(piece)
    })))
}

/// The place of an upload, with the headers that its link asks for.
struct Place {
    http: Client,
    url: Url,
    headers: HeaderMap,
}

impl Place {
    fn new(server: &Server, link: &Link) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &link.headers {
            headers.append(name.parse::<HeaderName>()?, value.parse()?);
        }
        let (http, url) = server.link(&link.link)?;
        Ok(Self { http, url, headers })
    }

    fn request(&self, method: Method) -> RequestBuilder {
        self.http.request(method, self.url.clone()).headers(self.headers.clone())
    }
}

/// Sends all of it.
///
/// # Errors
/// The server refused it, or cannot be reached any more.
pub(super) async fn upload(server: &Server, agent: &str, link: Link, source: DeploySource) -> anyhow::Result<()> {
    let place = Place::new(server, &link)?;
    let line = Line::start("sent", source.size(), Arc::new(Vec::new), Elsewhere::Lines);
    let (mut from, mut in_vain) = (0, 0);
    loop {
        let failure = match send(&place, &source, from, &line).await {
            Ok(summary) => {
                let size = source.size().unwrap_or_else(|| line.position());
                drop(line);
                tell(size, &summary);
                return Ok(());
            }
            Err(Failed::Refused(why)) => return Err(why),
            Err(Failed::Broke(why)) => why,
        };
        // The server may have refused what it has read; the deployment says why.
        if let Some(why) = ended(server, agent, link.version).await {
            bail!(why);
        }
        if !source.is_resumable() {
            return Err(failure.context("standard input cannot be sent again; a file can be resumed"));
        }
        let reached = offset(&place).await.unwrap_or(0);
        in_vain = if reached > from { 0 } else { in_vain + 1 };
        if in_vain >= MAX_ATTEMPTS {
            return Err(failure.context(format!("given up after {MAX_ATTEMPTS} attempts")));
        }
        line.note(&format!("the connection broke; resuming at byte {reached}"));
        tokio::time::sleep(Duration::from_millis(250 << in_vain.min(5))).await;
        from = reached;
    }
}

enum Failed {
    /// Final.
    Refused(anyhow::Error),
    /// Worth another attempt.
    Broke(anyhow::Error),
}

async fn send(place: &Place, source: &DeploySource, from: u64, line: &Handle) -> Result<Value, Failed> {
    let refused = |error: std::io::Error| Failed::Refused(anyhow::Error::new(error).context("reading the archive"));
    let mut request = if from == 0 {
        place.request(Method::PUT)
    } else {
        place.request(Method::PATCH).header(OFFSET, HeaderValue::from(from))
    };
    // Storage such as S3 refuses a body of unknown length.
    if let Some(size) = source.size() {
        request = request.header(CONTENT_LENGTH, size.saturating_sub(from));
    }
    let request = request.body(body(source, from, line).map_err(refused)?);
    let response = exchange(request).await.map_err(|error| Failed::Broke(error.into()))?;
    let status = response.status();
    if status.is_success() {
        return Ok(summary(response).await);
    }
    // 409: the offset has changed meanwhile. 408, 429 and 503: worth another attempt.
    let again = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS
    );
    let why = refusal(response).await.into();
    Err(if again { Failed::Broke(why) } else { Failed::Refused(why) })
}

/// The number of bytes that have arrived, if the place knows it.
async fn offset(place: &Place) -> Option<u64> {
    let answer = exchange(place.request(Method::HEAD)).await.ok()?;
    answer.headers().get(OFFSET)?.to_str().ok()?.parse().ok()
}

/// The cause if the deployment has failed.
async fn ended(server: &Server, agent: &str, number: u64) -> Option<String> {
    let deployment = look(server, agent, number).await.ok()?;
    (deployment.progress() == Progress::Failed).then_some(deployment.detail)
}

/// Shows the result, with the layers if the server counts them.
fn tell(size: u64, summary: &Value) {
    let number = |name: &str| summary.get(name).and_then(Value::as_u64);
    let sent = bytes(size);
    match (number("layers"), number("skipped")) {
        (Some(layers), Some(skipped)) => {
            note!("uploaded {sent}: {layers} layers, {skipped} of them were in the registry already");
        }
        _ => note!("uploaded {sent}"),
    }
}
