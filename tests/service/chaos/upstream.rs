//! The server that granted requests go to. It knows whose each secret is, says so, and echoes the secret: the gateway has
//! to put it in on the way there and to take it out on the way back.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A silent connection is closed.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    /// Serves until the test's process ends. `owners` are pairs of a secret and its organization.
    pub(super) fn start(owners: Vec<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (owners, asked) = (Arc::new(owners), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (owners, count) = (Arc::clone(&owners), Arc::clone(&count));
                thread::spawn(move || serve(stream, &owners, &count));
            }
        });
        Self { address, asked }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A parameter of a request line's query.
fn parameter<'a>(line: &'a str, name: &str) -> &'a str {
    let query = line.split(' ').nth(1).and_then(|target| target.split_once('?')).map_or("", |(_, query)| query);
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

fn serve(stream: TcpStream, owners: &[(String, String)], asked: &AtomicUsize) {
    let _ = stream.set_read_timeout(Some(SILENCE));
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(2) => break,
                Ok(read) if read > 2 => {}
                _ => return,
            }
        }
        let turn = asked.fetch_add(1, Ordering::Relaxed);
        let (key, token) = (parameter(&first, "key"), parameter(&first, "token"));
        let key = decoded(key);
        let owner = owners.iter().find(|(secret, _)| *secret == key).map_or("nobody", |(_, owner)| owner);
        let body = format!("owner={owner} token={token} echo={key} encoded={}", percent(&key));
        // Some answers end their connection, some are chunked.
        let (end, close) = if turn.is_multiple_of(7) { ("connection: close\r\n", true) } else { ("", false) };
        let answer = match turn % 3 {
            0 => format!("transfer-encoding: chunked\r\n{end}\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            _ => format!("content-length: {}\r\n{end}\r\n{body}", body.len()),
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{answer}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() || close {
            return;
        }
    }
}

/// The text without percent-encoding.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(b"%"),
        }
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Each byte as `%XX`.
pub(super) fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
