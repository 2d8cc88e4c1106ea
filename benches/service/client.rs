//! A client with minimal overhead: HTTP/1.1 over one kept connection, blocking, no allocation per call once warm. It
//! implements just enough of the protocol for our own server's answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The timeout of an answer; long enough for a deployment that compiles an interpreter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(240);
/// The server closes connections that are idle for longer than this.
const MAX_IDLE: Duration = Duration::from_secs(5);

pub(crate) struct Client {
    address: SocketAddr,
    key: String,
    stream: Option<TcpStream>,
    last_used: Instant,
    out: Vec<u8>,
    seen: Vec<u8>,
}

/// An answer and its time in milliseconds, from before the first byte sent to after the last byte received.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub ms: f64,
}

impl Answer {
    pub(crate) fn json(&self) -> anyhow::Result<serde_json::Value> {
        if !(200..300).contains(&self.status) {
            anyhow::bail!("status {}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        let key = key.to_owned();
        Self { address, key, stream: None, last_used: Instant::now(), out: Vec::new(), seen: Vec::new() }
    }

    /// Sends a call, with an optional JSON body.
    ///
    /// # Errors
    /// No connection, or one that closed before the whole answer arrived.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.call_with(method, path, if body.is_empty() { "" } else { "content-type: application/json\r\n" }, body)
    }

    /// Sends a call with these header lines.
    pub(crate) fn call_with(&mut self, method: &str, path: &str, lines: &str, body: &[u8]) -> io::Result<Answer> {
        if self.last_used.elapsed() > MAX_IDLE {
            self.stream = None;
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        self.out.clear();
        let Self { address, key, .. } = self;
        write!(self.out, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\n{lines}")?;
        if !body.is_empty() {
            write!(self.out, "content-length: {}\r\n", body.len())?;
        }
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
        let started = Instant::now();
        stream.write_all(&self.out)?;
        let (status, body, stays) = self.answer(&mut stream)?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        self.last_used = Instant::now();
        self.stream = stays.then_some(stream);
        Ok(Answer { status, body, ms })
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.call("POST", path, body)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, ANSWER_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(stream)
    }

    fn more(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let mut chunk = [0_u8; 16 << 10];
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer did"));
        }
        self.seen.extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(())
    }

    fn answer(&mut self, stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>, bool)> {
        self.seen.clear();
        let head = loop {
            match self.seen.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more(stream)?,
            }
        };
        let rest = self.seen.split_off(head);
        let text = String::from_utf8_lossy(&self.seen).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| broken("no status"))?;
        let field = |name: &str| {
            let fields = text.lines().filter_map(|line| line.split_once(':'));
            fields.filter(|(n, _)| *n == name).map(|(_, value)| value.trim().to_owned()).next()
        };
        let stays = field("connection").is_none_or(|value| value != "close");
        let chunked = field("transfer-encoding").is_some_and(|value| value == "chunked");
        let length = field("content-length").and_then(|value| value.parse::<usize>().ok());
        self.seen = rest;
        let body = match length {
            _ if chunked => self.chunks(stream)?,
            Some(length) => self.take(stream, length)?,
            None if status == 204 => Vec::new(),
            None => return Err(broken("neither a length nor chunks")),
        };
        Ok((status, body, stays))
    }

    fn take(&mut self, stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
        while self.seen.len() < length {
            self.more(stream)?;
        }
        let rest = self.seen.split_off(length);
        Ok(std::mem::replace(&mut self.seen, rest))
    }

    fn chunks(&mut self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.seen.windows(2).position(|two| two == b"\r\n") {
                    Some(at) => break at,
                    None => self.more(stream)?,
                }
            };
            let line = self.take(stream, end + 2)?;
            let size = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(size.trim().split(';').next().unwrap_or_default(), 16);
            let size = size.map_err(|_| broken("a chunk without a size"))?;
            let chunk = self.take(stream, size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(chunk.get(..size).unwrap_or_default());
        }
    }
}
