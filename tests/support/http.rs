//! An HTTP/1.1 client that can misbehave: it sends any bytes, slowly if asked, and can break off.
//!
//! One connection per call, unless the call names another `connection` header and its stream is kept (`kept.rs`). It never
//! follows, retries or normalizes anything.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The timeout of a call: a server that hangs fails the test.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The size of the body's pieces, and the pause after each.
    pub slow: Option<(usize, Duration)>,
    /// Sends these bytes verbatim instead of everything above.
    pub raw: Option<Vec<u8>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Call {
    pub(crate) fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.to_owned(), path: path.into(), ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string(), "application/json")
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>, kind: &str) -> Self {
        self.body = body.into();
        self.header("content-type", kind)
    }

    fn head(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {address}\r\n", self.method, self.path);
        let given = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !given("connection") {
            head.push_str("connection: close\r\n");
        }
        if !given("content-length") && !given("transfer-encoding") && (!self.body.is_empty() || self.method != "GET") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Sends it and returns the open connection, with the head read.
    pub(crate) fn open(&self, address: SocketAddr) -> Result<Stream, String> {
        self.open_on(connect(address)?, address)
    }

    /// Sends it over a new connection and reads nothing.
    pub(crate) fn begin(&self, address: SocketAddr) -> Result<TcpStream, String> {
        let reader = connect(address)?;
        let _ = self.send(reader.get_ref(), address);
        Ok(reader.into_inner())
    }

    /// Sends it over an open connection and reads the answer's head.
    pub(super) fn open_on(&self, mut reader: BufReader<TcpStream>, address: SocketAddr) -> Result<Stream, String> {
        let started = Instant::now();
        // A server that has seen enough answers and stops reading: that is no failure of ours.
        let _ = self.send(reader.get_ref(), address);
        let (status, headers) = read_head(&mut reader)?;
        Ok(Stream { reader, status, headers, started })
    }

    fn send(&self, mut stream: &TcpStream, address: SocketAddr) -> std::io::Result<()> {
        if let Some(raw) = &self.raw {
            stream.write_all(raw)?;
            return stream.flush();
        }
        let mut bytes = self.head(address);
        match self.slow {
            None => {
                bytes.extend_from_slice(&self.body);
                stream.write_all(&bytes)
            }
            Some((size, pause)) => {
                stream.write_all(&bytes)?;
                for piece in self.body.chunks(size.max(1)) {
                    std::thread::sleep(pause);
                    stream.write_all(piece)?;
                    if has_answer(stream) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send_to(&self, address: SocketAddr) -> Result<Answer, String> {
        self.open(address)?.finish()
    }
}

/// A new connection.
pub(super) fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>, String> {
    let fail = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).map_err(fail("connecting"))?;
    stream.set_nodelay(true).map_err(fail("nodelay"))?;
    stream.set_read_timeout(Some(CALL_TIMEOUT)).map_err(fail("timeout"))?;
    stream.set_write_timeout(Some(CALL_TIMEOUT)).map_err(fail("timeout"))?;
    Ok(BufReader::with_capacity(64 << 10, stream))
}

/// True if the server has sent something or closed the connection.
fn has_answer(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let seen = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    !matches!(seen, Err(e) if e.kind() == ErrorKind::WouldBlock)
}

type Head = (u16, Vec<(String, String)>);

fn read_head(reader: &mut impl BufRead) -> Result<Head, String> {
    let mut status = None;
    let mut headers = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).map_err(|e| format!("reading the answer's head: {e}"))?;
        if read == 0 {
            return Err("the connection was closed without an answer".to_owned());
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        match (status, line.is_empty(), line.split_once(':')) {
            (None, _, _) => {
                let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
                status = Some(code.ok_or_else(|| format!("no status line: {line:?}"))?);
            }
            (Some(100), true, _) => status = None,
            (Some(status), true, _) => return Ok((status, headers)),
            (_, _, Some((name, value))) => headers.push((name.to_lowercase(), value.trim().to_owned())),
            _ => return Err(format!("no header: {line:?}")),
        }
    }
}

/// An answer whose body has not been read yet. Dropping it closes the connection.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    started: Instant,
}

impl Stream {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// From here on, a read fails after this time of silence.
    pub(crate) fn patience(&self, patience: Duration) {
        let _ = self.reader.get_ref().set_read_timeout(Some(patience));
    }

    /// The next piece of a chunked body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>, String> {
        let fail = |e: std::io::Error| format!("reading a chunk: {e}");
        let mut line = String::new();
        if self.reader.read_line(&mut line).map_err(fail)? == 0 {
            return Err("the body broke off".to_owned());
        }
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|e| format!("chunk size {line:?}: {e}"))?;
        let mut piece = vec![0; size + 2];
        self.reader.read_exact(&mut piece).map_err(fail)?;
        piece.truncate(size);
        Ok((size > 0).then_some(piece))
    }

    /// Reads to the end.
    pub(crate) fn finish(self) -> Result<Answer, String> {
        Ok(self.finish_kept()?.0)
    }

    /// Reads to the end of the answer, and returns the connection, too.
    pub(super) fn finish_kept(mut self) -> Result<(Answer, BufReader<TcpStream>), String> {
        let mut body = Vec::new();
        if self.status == 204 {
            // It has no body, and no length of one.
        } else if self.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.chunk()? {
                body.extend_from_slice(&piece);
            }
        } else if let Some(length) = self.header("content-length").and_then(|text| text.parse::<u64>().ok()) {
            let read = (&mut self.reader).take(length).read_to_end(&mut body);
            let read = read.map_err(|e| format!("reading the body: {e}"))?;
            if (read as u64) < length {
                return Err(format!("the body broke off after {read} of {length} bytes"));
            }
        } else {
            self.reader.read_to_end(&mut body).map_err(|e| format!("reading the body: {e}"))?;
        }
        let answer = Answer { status: self.status, headers: self.headers, body, took: self.started.elapsed() };
        Ok((answer, self.reader))
    }

    /// Closes the connection.
    pub(crate) fn hang_up(self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    /// Asserts the status and returns the JSON.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts that it is a complete problem document of that kind, and returns its `detail`.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        self.check_problem(kind).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The same, but returns an error instead of panicking.
    pub(crate) fn check_problem(&self, kind: &str) -> Result<String, String> {
        if self.header("content-type") != Some("application/problem+json") {
            return Err(format!("not a problem document but {:?}: {}", self.header("content-type"), self.text()));
        }
        let problem: cofferdam_contract::Problem =
            serde_json::from_slice(&self.body).map_err(|e| format!("{e}: {}", self.text()))?;
        if problem.kind() != kind || problem.status != self.status || problem.detail.is_empty() {
            return Err(format!("expected the problem {kind:?}, got {problem:?}"));
        }
        if matches!(self.status, 429 | 503) && self.header("retry-after").is_none() {
            return Err(format!("{} without Retry-After", self.status));
        }
        Ok(problem.detail)
    }

    /// Server-sent events as pairs of name and data.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        parse_events(&self.text())
    }
}

/// The complete blocks of an event stream.
pub(crate) fn parse_events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let field = |name: &str| {
                let lines = block.lines().filter_map(|line| line.strip_prefix(name));
                lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
            };
            let data = field("data:");
            let value = serde_json::from_str(&data).unwrap_or_else(|e| panic!("{e}: {block}"));
            (field("event:"), value)
        })
        .collect()
}
