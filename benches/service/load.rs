//! Asks for models' answers at as little cost as possible, because the generator shares the processors with what it measures:
//! one thread, kept connections, a request that is the same bytes each time, and of an answer only its end is looked for.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::stats::Samples;

/// The time-out of one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls in a row on one connection that may fail before it gives up.
const MAX_FAILURES: u64 = 20;

/// The end of a body in chunks. It cannot be in JSON or in an event.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The first text of the upstream's streams, in any protocol.
const FIRST_TEXT: &[u8] = b":\"word";

/// A whole request with this body.
pub(crate) fn request(address: SocketAddr, path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The place of a part in a text.
pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Bytes of an answer as far as it has come.
struct Seen<'a> {
    /// The end of the head.
    head: usize,
    /// Absent: the body is in chunks.
    length: Option<usize>,
    bytes: &'a [u8],
}

impl<'a> Seen<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let head = find(bytes, b"\r\n\r\n")? + 4;
        let length = bytes.get(..head)?.split(|byte| *byte == b'\n').find_map(|line| {
            let (name, value) = line.split_at_checked(15)?;
            if !name.eq_ignore_ascii_case(b"content-length:") {
                return None;
            }
            std::str::from_utf8(value).ok()?.trim().parse().ok()
        });
        Some(Self { head, length, bytes })
    }

    /// The body of the answer is there to its end.
    fn whole(&self) -> bool {
        match self.length {
            Some(length) => self.bytes.len() >= self.head + length,
            None => self.bytes.len() > self.head && self.bytes.ends_with(LAST_CHUNK),
        }
    }

    fn status(&self) -> &'a [u8] {
        self.bytes.get(9..12).unwrap_or_default()
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.status() != b"200" {
            bail!("{}", String::from_utf8_lossy(self.bytes.get(..600.min(self.bytes.len())).unwrap_or_default()));
        }
        Ok(())
    }
}

/// A kept connection of the load.
struct Kept {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Kept {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, seen: Vec::with_capacity(8 << 10) })
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.seen.clear();
        self.stream.write_all(request).await?;
        loop {
            if self.stream.read_buf(&mut self.seen).await? == 0 {
                bail!("the connection ended before the answer did");
            }
            if let Some(seen) = Seen::of(&self.seen).filter(Seen::whole) {
                return seen.check();
            }
        }
    }
}

/// The bounds of a load: whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    pub calls: u64,
    pub time: Duration,
}

/// The result of a load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub answered: u64,
    pub seconds: f64,
    pub ms: Samples,
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.seconds.max(1e-9)
    }
}

/// Asks over this many connections, each with one request at a time.
pub(crate) fn load(address: SocketAddr, request: &[u8], connections: usize, until: Until) -> anyhow::Result<Load> {
    let request: Arc<[u8]> = request.into();
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let begun = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let mut all = JoinSet::new();
        for _ in 0..connections {
            let (request, begun) = (Arc::clone(&request), Arc::clone(&begun));
            all.spawn(async move {
                let (mut own, mut kept, mut failures) = (Load::default(), None, 0);
                while failures < MAX_FAILURES
                    && started.elapsed() < until.time
                    && begun.fetch_add(1, Ordering::Relaxed) < until.calls
                {
                    let before = Instant::now();
                    let asked = async {
                        let kept = match &mut kept {
                            Some(kept) => kept,
                            none => none.insert(Kept::connect(address).await?),
                        };
                        kept.ask(&request).await
                    };
                    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await.context("no answer in time").flatten() {
                        Ok(()) => {
                            own.ms.push(before.elapsed().as_secs_f64() * 1e3);
                            (own.answered, failures) = (own.answered + 1, 0);
                        }
                        Err(error) => {
                            (kept, failures, own.errors) = (None, failures + 1, own.errors + 1);
                            own.first_error.get_or_insert_with(|| format!("{error:#}"));
                        }
                    }
                }
                own
            });
        }
        let mut sum = Load::default();
        while let Some(own) = all.join_next().await {
            let own = own?;
            sum.answered += own.answered;
            sum.errors += own.errors;
            sum.ms.extend(&own.ms);
            sum.first_error = sum.first_error.or(own.first_error);
        }
        sum.seconds = started.elapsed().as_secs_f64();
        Ok(sum)
    })
}

/// A stream that was read to its end.
pub(crate) struct Streamed {
    /// Until the first text of the model was there.
    pub first_ms: f64,
    pub whole_ms: f64,
    /// Lines of data.
    pub events: usize,
}

/// One caller of streams, blocking, on a kept connection.
pub(crate) struct Caller {
    stream: std::net::TcpStream,
    request: Vec<u8>,
    seen: Vec<u8>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, path: &str, key: &str, body: &str) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream, request: request(address, path, key, body), seen: Vec::with_capacity(1 << 20) })
    }

    /// Asks, and reads to the end.
    pub(crate) fn ask(&mut self) -> anyhow::Result<Streamed> {
        self.seen.clear();
        let mut piece = [0_u8; 64 << 10];
        let started = Instant::now();
        self.stream.write_all(&self.request)?;
        let mut first_ms = None;
        loop {
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                bail!("the connection ended before the answer did");
            }
            self.seen.extend_from_slice(piece.get(..count).unwrap_or_default());
            if first_ms.is_none() && find(&self.seen, FIRST_TEXT).is_some() {
                first_ms = Some(started.elapsed().as_secs_f64() * 1e3);
            }
            let at_end = self.seen.ends_with(LAST_CHUNK) || first_ms.is_none();
            if at_end && Seen::of(&self.seen).is_some_and(|seen| seen.whole()) {
                break;
            }
        }
        let whole_ms = started.elapsed().as_secs_f64() * 1e3;
        let seen = Seen::of(&self.seen).context("no head")?;
        seen.check()?;
        let body = unchunked(self.seen.get(seen.head..).unwrap_or_default())?;
        let events = body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"data:")).count();
        Ok(Streamed { first_ms: first_ms.context("a stream without a text")?, whole_ms, events })
    }
}

fn unchunked(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(rest.len());
    while let Some(end) = find(rest, b"\r\n") {
        let (line, after) = rest.split_at(end);
        let size = usize::from_str_radix(std::str::from_utf8(line)?.trim(), 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(after.get(2..2 + size).context("a chunk is cut short")?);
        rest = after.get(4 + size..).context("a chunk is cut short")?;
    }
    bail!("no last chunk")
}

/// Many streams that are open at once, each read as it comes by one thread.
pub(crate) struct Many {
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    begun: Arc<AtomicU64>,
}

impl Many {
    /// Opens them, each on a connection of its own. So many at once may be on their way to their first event.
    pub(crate) fn open(address: SocketAddr, request: &[u8], count: usize, at_once: usize) -> Self {
        let (request, begun): (Arc<[u8]>, _) = (request.into(), Arc::new(AtomicU64::new(0)));
        let seen = Arc::clone(&begun);
        let thread = std::thread::spawn(move || {
            Builder::new_current_thread().enable_all().build()?.block_on(async {
                let (mut all, room) = (JoinSet::new(), Arc::new(Semaphore::new(at_once)));
                for _ in 0..count {
                    all.spawn(to_the_end(address, Arc::clone(&request), Arc::clone(&seen), Arc::clone(&room)));
                }
                while let Some(one) = all.join_next().await {
                    one??;
                }
                Ok(())
            })
        });
        Self { thread, begun }
    }

    /// Streams whose first event has come.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn broken(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of all.
    ///
    /// # Errors
    /// One did not begin or end as it should; the others are broken off then.
    pub(crate) fn ended(self) -> anyhow::Result<()> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the streams' thread broke off"))?
    }
}

async fn to_the_end(
    address: SocketAddr,
    request: Arc<[u8]>,
    begun: Arc<AtomicU64>,
    room: Arc<Semaphore>,
) -> anyhow::Result<()> {
    let mut place = Some(room.acquire_owned().await?);
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&request).await?;
    let mut seen = Vec::with_capacity(2 << 10);
    loop {
        let read = tokio::time::timeout(ANSWER_TIMEOUT, stream.read_buf(&mut seen)).await.context("a silent stream")?;
        if read? == 0 {
            bail!("a stream ended early: {}", String::from_utf8_lossy(&seen));
        }
        if place.is_some() && find(&seen, FIRST_TEXT).is_some() {
            Seen::of(&seen).context("no head")?.check()?;
            place = None;
            begun.fetch_add(1, Ordering::Relaxed);
        }
        if place.is_some()
            && let Some(whole) = Seen::of(&seen).filter(Seen::whole)
        {
            whole.check()?;
            bail!("no stream: {}", String::from_utf8_lossy(&seen));
        }
        if place.is_none() && seen.ends_with(LAST_CHUNK) {
            return if find(&seen, b"[DONE]").is_some() { Ok(()) } else { bail!("a stream without its last event") };
        }
        // Only the end is of interest, which comes in one piece or in two.
        if place.is_none() {
            seen.drain(..seen.len().saturating_sub(1 << 10));
        }
    }
}
