//! A server that answers with scripted bytes, and what the tests say to upstreams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::Secret;
use cofferdam_policy::Cidr;
use cofferdam_upstreams::{Ask, BodyError, Kind, Net, Owner, SendError, Sent, Service, Upstream, UpstreamSpec};
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub(crate) const KEY: &str = "sk-hush-0123456789-canary";
pub(crate) const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"x_unknown":1e2}"#;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// One step of an answer.
#[derive(Clone)]
pub(crate) enum Step {
    Write(Vec<u8>),
    /// Goes on when the test lets it.
    Gate(Arc<Semaphore>),
    /// Waits for the caller to close.
    Hang,
    /// Writes the same again and again.
    Endless(Vec<u8>),
    Close,
}

type Script = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<parking_lot::Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Connections that the caller closed during a step that waits for it.
    pub(crate) closed: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with_tls(None, script).await
    }

    pub(crate) async fn with_tls(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let (own, script): (Self, Arc<Script>) = (server.clone(), Arc::new(script));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                own.connections.fetch_add(1, Ordering::SeqCst);
                let (own, script, tls) = (own.clone(), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => own.serve(stream, &*script).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => own.serve(stream, &*script).await,
                            Err(_) => return,
                        },
                    };
                });
            }
        });
        server
    }

    /// Answers every request with the same bytes.
    pub(crate) async fn always(answer: Vec<u8>) -> Self {
        Self::start(move |_| vec![Step::Write(answer.clone())]).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) -> Option<()> {
        let mut held = Vec::new();
        loop {
            let seen = read(&mut stream, &mut held).await?;
            self.seen.lock().push(seen.clone());
            for step in script(&seen) {
                match step {
                    Step::Write(bytes) => stream.write_all(&bytes).await.ok()?,
                    Step::Gate(gate) => gate.acquire().await.unwrap().forget(),
                    Step::Close => return stream.shutdown().await.ok(),
                    Step::Hang => {
                        let mut rest = [0; 64];
                        while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {}
                        self.closed.fetch_add(1, Ordering::SeqCst);
                        return None;
                    }
                    Step::Endless(bytes) => loop {
                        if stream.write_all(&bytes).await.is_err() {
                            self.closed.fetch_add(1, Ordering::SeqCst);
                            return None;
                        }
                        sleep(Duration::from_millis(5)).await;
                    },
                }
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), held: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(held).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(held[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let length =
        headers.iter().find(|header| header.0 == "content-length").map_or(0, |header| header.1.parse().unwrap());
    while held.len() < end + 4 + length {
        if stream.read_buf(held).await.ok()? == 0 {
            return None;
        }
    }
    let rest = held.split_off(end + 4 + length);
    let body = std::mem::replace(held, rest).split_off(end + 4);
    Some(Seen { line, headers, body })
}

/// An answer with its length.
pub(crate) fn answer(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, "content-type: application/json\r\n", body)
}

/// The head of a stream in chunks.
pub(crate) fn stream_head(content_type: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes()
}

pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A network in which organizations may use loopback.
pub(crate) fn net() -> Net {
    Net::new(vec![Cidr::parse("127.0.0.0/8").unwrap()], Vec::new())
}

pub(crate) fn spec(kind: Kind, base: impl Into<String>) -> UpstreamSpec {
    UpstreamSpec { base_url: Some(base.into()), ..UpstreamSpec::new(kind) }
}

pub(crate) fn made(spec: UpstreamSpec, keys: &[&str]) -> Arc<Upstream> {
    let keys = keys.iter().map(|key| Secret::new(*key)).collect();
    Upstream::new("up", Owner::Operator, spec, keys, &net()).unwrap()
}

/// An upstream of OpenAI's kind at the server.
pub(crate) fn openai(server: &Server) -> Arc<Upstream> {
    made(spec(Kind::Openai, server.url("/v1")), &[KEY])
}

pub(crate) fn ask(service: Service, stream: bool, body: &str) -> Ask {
    Ask {
        organization: cofferdam_contract::OrganizationId::default_organization(),
        service,
        model: "m".to_owned(),
        stream,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

pub(crate) async fn chat(upstream: &Arc<Upstream>) -> Result<Sent, SendError> {
    timeout(Duration::from_secs(20), upstream.send(ask(Service::Chat, true, CHAT))).await.expect("in time")
}

/// All bytes of a body up to its end, and how it ended.
pub(crate) async fn whole(sent: Sent) -> (Vec<u8>, Result<(), BodyError>) {
    let (mut body, mut bytes) = (sent.body, Vec::new());
    let read = async {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
                Err(why) => return Err(why),
            }
        }
        Ok(())
    };
    let ended = timeout(Duration::from_secs(20), read).await.expect("in time");
    (bytes, ended)
}

pub(crate) async fn text(sent: Sent) -> String {
    let (bytes, ended) = whole(sent).await;
    ended.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Waits until it is true.
pub(crate) async fn until(mut is: impl FnMut() -> bool) {
    timeout(Duration::from_secs(10), async {
        while !is() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("in time");
}
