//! Uploads an archive to its link. Resumes after a broken connection, and waits for a place that is busy, which may say so
//! while the archive is still being sent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use cofferdam_contract::Progress;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::{Body, Client, RequestBuilder, Url};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::look;
use super::source::DeploySource;
use super::wire::Link;
use crate::client::{ClientError, Server, exchange, refusal, summary};
use crate::progress::{Elsewhere, Handle, Line, bytes};
use crate::terminal::note;

const PIECE: usize = 256 << 10;
/// The longest row of attempts without progress.
const MAX_ATTEMPTS: u32 = 8;
/// The longest time that a place may be busy, without taking anything in between.
const MAX_BUSY: Duration = Duration::from_secs(600);
/// The longest wait that a place may ask for at once.
const MAX_WAIT: Duration = Duration::from_secs(60);
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const RESUMABLE: HeaderName = HeaderName::from_static("upload-resumable");

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
    let (mut from, mut in_vain, mut busy_since) = (0, 0, None);
    loop {
        let (failure, wait) = match send(&place, &source, from, &line).await {
            Ok(summary) => {
                let size = source.size().unwrap_or_else(|| line.position());
                drop(line);
                tell(size, &summary);
                return Ok(());
            }
            Err(Failed::Refused(why)) => return Err(why),
            Err(Failed::Broke(why)) => (why, None),
            Err(Failed::Busy(why, wait)) => (why, Some(wait)),
        };
        // The server may have refused what it has read; the deployment says why.
        if let Some(why) = ended(server, agent, link.version).await {
            bail!(why);
        }
        if !source.is_resumable() {
            return Err(failure.context("standard input cannot be sent again; a file can be resumed"));
        }
        let reached = offset(&place).await.unwrap_or(0);
        if reached > from {
            (in_vain, busy_since) = (0, None);
        }
        if let Some(wait) = wait {
            if busy_since.get_or_insert_with(Instant::now).elapsed() > MAX_BUSY {
                return Err(failure.context(format!("given up after {} s", MAX_BUSY.as_secs())));
            }
            line.note(&format!("{failure} Trying again in {} s", wait.as_secs()));
            tokio::time::sleep(wait).await;
        } else {
            in_vain += u32::from(reached <= from);
            if in_vain >= MAX_ATTEMPTS {
                return Err(failure.context(format!("given up after {MAX_ATTEMPTS} attempts")));
            }
            let lost = failure.downcast_ref::<ClientError>().is_some_and(ClientError::is_lost);
            let why = if lost { "the connection broke".to_owned() } else { failure.to_string() };
            line.note(&format!("{why}; resuming at byte {reached}"));
            tokio::time::sleep(Duration::from_millis(250 << in_vain.min(5))).await;
        }
        from = reached;
    }
}

enum Failed {
    /// Final.
    Refused(anyhow::Error),
    /// Worth another attempt.
    Broke(anyhow::Error),
    /// Worth another attempt after a while.
    Busy(anyhow::Error, Duration),
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
    // The server need not wait for a client that cannot come back.
    if !source.is_resumable() {
        request = request.header(RESUMABLE, HeaderValue::from_static("?0"));
    }
    let request = request.body(body(source, from, line).map_err(refused)?);
    let response = exchange(request).await.map_err(|error| Failed::Broke(error.into()))?;
    let status = response.status();
    if status.is_success() {
        return Ok(summary(response).await);
    }
    let wait = wait(response.headers());
    let why = refusal(response).await.into();
    Err(match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Failed::Busy(why, wait),
        // 409: the offset has changed meanwhile.
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => Failed::Broke(why),
        _ => Failed::Refused(why),
    })
}

/// The wait that an answer asks for, in seconds.
fn wait(headers: &HeaderMap) -> Duration {
    let asked =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    Duration::from_secs(asked.unwrap_or(2)).clamp(Duration::from_secs(1), MAX_WAIT)
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
            let of_them = match (layers, skipped) {
                (1, 0) => "1 layer, which was not in the registry yet".to_owned(),
                (1, _) => "1 layer, which was in the registry already".to_owned(),
                (_, 1) => format!("{layers} layers, 1 of them was in the registry already"),
                _ => format!("{layers} layers, {skipped} of them were in the registry already"),
            };
            note!("uploaded {sent}: {of_them}");
        }
        _ => note!("uploaded {sent}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// A place that is busy at first: it says so before it has read the archive, and reads no more.
    #[tokio::test]
    async fn a_busy_place_is_heard_while_the_archive_is_sent_and_waited_for() {
        const SIZE: usize = 32 << 20;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE as u64).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let place = std::thread::spawn(move || {
            let (mut puts, mut held) = (Vec::new(), Vec::new());
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let head = head(&mut stream);
                if !head.starts_with("PUT") {
                    stream
                        .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .unwrap();
                    continue;
                }
                puts.push(Instant::now());
                if puts.len() == 1 {
                    let problem = br#"{"type":"about:blank","title":"Too many uploads","status":429,"detail":"8 at once are enough.","fault":"caller","retryable":true}"#;
                    let head = format!(
                        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: {}\r\n\r\n",
                        problem.len()
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    stream.write_all(problem).unwrap();
                    // Neither read nor closed.
                    held.push(stream);
                    continue;
                }
                let mut rest = vec![0; SIZE];
                stream.read_exact(&mut rest).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                return puts;
            }
        });
        let link = serde_json::json!({"deployment_id": "d", "version": 1, "link": "/uploads/x", "headers": {}});
        let server = Server::at(&url, None).unwrap();
        let source = DeploySource::File { path: file.path().to_owned(), size: SIZE as u64 };
        let sent = upload(&server, "a", serde_json::from_value(link).unwrap(), source);
        tokio::time::timeout(Duration::from_secs(30), sent).await.unwrap().unwrap();
        let puts = place.join().unwrap();
        assert!(puts[1] - puts[0] >= Duration::from_secs(2), "{:?}", puts[1] - puts[0]);
    }

    #[test]
    fn a_wait_has_a_bound() {
        let asked = |text: &str| wait(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())])).as_secs();
        assert_eq!(["0", "7", "99999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "-1"].map(asked), [1, 7, 60, 2, 2]);
    }
}
