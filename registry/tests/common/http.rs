//! A minimal HTTP server that can misbehave: cut connections, write forever, stay silent.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HashMap<String, String>,
    pub reader: BufReader<OwnedReadHalf>,
    pub writer: OwnedWriteHalf,
    /// Bytes of the body that are not read yet, or of its current chunk.
    pub left: usize,
    pub chunked: bool,
    pub broken: bool,
}

impl Request {
    /// Reads at most this much of the rest of the body; less if it breaks off.
    pub(crate) async fn body(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < most {
            if self.left == 0 && (!self.chunked || !self.next_chunk().await) {
                break;
            }
            let mut piece = vec![0; (most - bytes.len()).min(self.left).min(64 << 10)];
            let size = self.reader.read(&mut piece).await.unwrap_or(0);
            if size == 0 {
                self.broken = true;
                break;
            }
            bytes.extend_from_slice(&piece[..size]);
            self.left -= size;
        }
        bytes
    }

    /// Reads the size of the next chunk of a body with `transfer-encoding: chunked`. False at the end.
    async fn next_chunk(&mut self) -> bool {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            if self.reader.read_line(&mut line).await.unwrap_or(0) == 0 {
                self.broken = true;
                return false;
            }
        }
        self.left = usize::from_str_radix(line.trim(), 16).unwrap();
        self.chunked = self.left > 0;
        if !self.chunked {
            self.reader.read_line(&mut line).await.unwrap();
        }
        self.chunked
    }

    /// True if the body is read to its end.
    pub(crate) fn complete(&self) -> bool {
        self.left == 0 && !self.chunked && !self.broken
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Answers, and returns true if the connection can be reused.
    pub(crate) async fn answer(&mut self, status: u16, headers: &[(String, String)], body: &[u8]) -> bool {
        let mut head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let body: &[u8] = if self.method == "HEAD" { b"" } else { body };
        self.raw(head.as_bytes()).await && self.raw(body).await && self.complete()
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok()
    }
}

pub(crate) type Handled = std::pin::Pin<Box<dyn Future<Output = Option<Request>> + Send>>;

/// Serves on a free port of an address. A handler returns the request if the connection continues.
pub(crate) async fn serve(address: &str, handle: impl Fn(Request) -> Handled + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&handle)));
        }
    });
    at
}

async fn connection(stream: TcpStream, handle: Arc<impl Fn(Request) -> Handled + Send + Sync + 'static>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(place)) = (words.next(), words.next()) else { return };
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let left = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let chunked = headers.get("transfer-encoding").is_some_and(|text| text == "chunked");
        let (method, path) = (method.to_owned(), path.to_owned());
        let request = Request { method, path, query, headers, reader, writer, left, chunked, broken: false };
        match handle(request).await {
            Some(request) => (reader, writer) = (request.reader, request.writer),
            None => return,
        }
    }
}
