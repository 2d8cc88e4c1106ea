//! Sends an archive to its link, and goes on where a connection broke.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame, SizeHint};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::sync::mpsc;

use super::look;
use super::source::Source;
use super::wire::Link;
use crate::run::wire::{Address, Server, refusal};

const PIECE: usize = 256 << 10;
/// Attempts in a row that bring nothing further.
const ATTEMPTS: u32 = 8;
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// The body, as far as it was read.
struct Pieces {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    left: Option<u64>,
    sent: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(cx));
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            let size = piece.len() as u64;
            self.left = self.left.map(|left| left.saturating_sub(size));
            let sent = self.sent.fetch_add(size, Ordering::Relaxed) + size;
            self.bar.set_position(sent);
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn read(source: &Source, from: u64, bar: &ProgressBar) -> std::io::Result<Pieces> {
    let mut reader = source.open(from)?;
    let (send, pieces) = mpsc::channel(4);
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
    let left = source.size().map(|size| size.saturating_sub(from));
    Ok(Pieces { pieces, left, sent: Arc::new(AtomicU64::new(from)), bar: bar.clone() })
}

fn bar(size: Option<u64>) -> ProgressBar {
    let bar = match size {
        Some(size) => ProgressBar::new(size),
        None => ProgressBar::no_length(),
    };
    let shape = match size {
        Some(_) => "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
        None => "{spinner} {binary_bytes}, {binary_bytes_per_sec}",
    };
    // A template that is not right shows the usual bar.
    ProgressStyle::with_template(shape).map_or(bar.clone(), |style| bar.with_style(style))
}

/// Where a link leads: the server, and the rest of the address.
struct Place {
    address: Address,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Place {
    fn new(server: &Server, link: &Link) -> anyhow::Result<Self> {
        let mut headers = Vec::new();
        for (name, value) in &link.headers {
            headers.push((name.parse::<HeaderName>()?, value.parse()?));
        }
        if link.link.starts_with('/') {
            return Ok(Self { address: server.address.clone(), path: link.link.clone(), headers });
        }
        let uri: Uri = link.link.parse().context("the server's upload link")?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("the server's upload link is no address");
        };
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { address: Address::parse(&format!("{scheme}://{authority}"))?, path, headers })
    }
}

/// Sends all of it.
///
/// # Errors
/// What the server refused, or a connection that cannot be brought back.
pub async fn upload(server: &Server, agent: &str, link: Link, source: Source) -> anyhow::Result<()> {
    let place = Place::new(server, &link)?;
    let bar = bar(source.size());
    let (mut from, mut in_vain) = (0, 0);
    loop {
        let failure = match send(&place, &source, from, &bar).await {
            Ok(summary) => {
                bar.finish_and_clear();
                tell(source.size().unwrap_or_else(|| bar.position()), &summary);
                return Ok(());
            }
            Err(Failed::Refused(why)) => {
                bar.abandon();
                return Err(why);
            }
            Err(Failed::Broke(why)) => why,
        };
        // The server may have seen enough: then the deployment says why.
        if let Some(why) = ended(server, agent, link.version).await {
            bar.abandon();
            bail!(why);
        }
        if !source.again() {
            bar.abandon();
            return Err(failure.context("standard input cannot be sent again; send a file to be able to go on"));
        }
        let reached = offset(&place).await.unwrap_or(0);
        in_vain = if reached > from { 0 } else { in_vain + 1 };
        if in_vain >= ATTEMPTS {
            bar.abandon();
            return Err(failure.context(format!("given up after {ATTEMPTS} attempts")));
        }
        bar.println(format!("the connection broke; going on at byte {reached}"));
        tokio::time::sleep(Duration::from_millis(250 << in_vain.min(5))).await;
        from = reached;
    }
}

enum Failed {
    /// For good.
    Refused(anyhow::Error),
    /// Worth going on.
    Broke(anyhow::Error),
}

async fn send(place: &Place, source: &Source, from: u64, bar: &ProgressBar) -> Result<Value, Failed> {
    let refused = |error: std::io::Error| Failed::Refused(anyhow::Error::new(error).context("reading the archive"));
    let body = read(source, from, bar).map_err(refused)?;
    let mut headers = place.headers.clone();
    let method = if from == 0 {
        Method::PUT
    } else {
        headers.push((OFFSET, HeaderValue::from(from)));
        Method::PATCH
    };
    let response = place.address.exchange(method, &place.path, &headers, body.boxed()).await.map_err(Failed::Broke)?;
    let status = response.status();
    if status.is_success() {
        let body = http_body_util::Limited::new(response.into_body(), 1 << 20).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return Ok(serde_json::from_slice(&body).unwrap_or(Value::Null));
    }
    // 409: the offset was another one by now. 408 and 503: worth another attempt.
    let again = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS
    );
    let why = refusal(response).await;
    Err(if again { Failed::Broke(why) } else { Failed::Refused(why) })
}

/// How much has arrived; nothing where the place does not know.
async fn offset(place: &Place) -> Option<u64> {
    let nothing = Empty::new().map_err(|never| match never {}).boxed();
    let answer = place.address.exchange(Method::HEAD, &place.path, &place.headers, nothing).await.ok()?;
    answer.headers().get(OFFSET)?.to_str().ok()?.parse().ok()
}

/// Why the deployment has failed, where it has.
async fn ended(server: &Server, agent: &str, number: u64) -> Option<String> {
    let deployment = look(server, agent, number).await.ok()?;
    (deployment.state == "Failed").then_some(deployment.detail)
}

/// What became of the layers, where the server says it.
fn tell(size: u64, summary: &Value) {
    let number = |name: &str| summary.get(name).and_then(Value::as_u64);
    let sent = indicatif::BinaryBytes(size);
    match (number("layers"), number("skipped")) {
        (Some(layers), Some(skipped)) => {
            eprintln!("uploaded {sent}: {layers} layers, {skipped} of them were in the registry already");
        }
        _ => eprintln!("uploaded {sent}"),
    }
}
