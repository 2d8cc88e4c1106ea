//! An API with a worker whose uplink the test controls, and servers to reach through it.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::uplink::{GATEWAY_HEADER, METHOD_HEADER, REFUSED_HEADER, TOKEN_HEADER, UPGRADE, URL_HEADER};
use cofferdam_contract::worker::WorkerHealth;
use cofferdam_contract::{Grants, OrganizationId, Problem};
use cofferdam_controller::config::{Config, Flags};
use cofferdam_controller::{Controller, Machines, World};
use cofferdam_core::{Caller, Scope, Scopes};
use cofferdam_gateway::{Admitted, Pass, Resolve, SystemResolver, Uplink, keep_uplink};
use cofferdam_identity::accept_serve_key;
use cofferdam_store::Store;
use cofferdam_workers::Worker;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(super) const ADMIN: &str = "an-admin-key-for-these-tests";
/// A policy that allows loopback, and secrets over plain HTTP there.
pub(super) const LOOPBACK: &str =
    "version: \"1.0\"\nnetwork:\n  private: [127.0.0.0/8]\nsecrets:\n  plain_http: true\n";

/// A worker's view of the gateway.
pub(super) type Sender = SendRequest<Body>;

pub(super) struct Rig {
    pub app: Arc<Controller>,
    pub router: axum::Router,
    pub uplink: Sender,
    /// Uplinks as they come, after the first.
    pub more: mpsc::UnboundedReceiver<Sender>,
    _folder: TempDir,
    stop: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The received part of the body, and the error that ended it.
    pub body: Bytes,
    pub broken: Option<String>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(super) fn refused(&self) -> Option<&str> {
        self.headers.get(REFUSED_HEADER).map(|value| value.to_str().unwrap())
    }

    /// Asserts that the gateway refused for this reason, with this text.
    pub(super) fn refusal(&self, by: &str, part: &str) -> Problem {
        assert_eq!(self.refused(), Some(by), "{} {}", self.status, self.text());
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert!(problem.detail.contains(part), "{}", problem.detail);
        problem
    }

    pub(super) fn good(self) -> Self {
        assert_eq!((self.refused(), self.broken.as_deref()), (None, None), "{} {}", self.status, self.text());
        self
    }
}

/// Resolves each name to the next of its lists, the last one forever; other names go to the system's resolver.
#[derive(Default)]
pub(super) struct Names {
    pub known: Mutex<Vec<(String, Vec<Vec<IpAddr>>)>>,
    pub asked: AtomicUsize,
    system: SystemResolver,
}

impl Names {
    pub(super) fn set(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|list| list.iter().map(|text| text.parse().unwrap()).collect()).collect();
        self.known.lock().unwrap().insert(0, (name.to_owned(), answers));
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> cofferdam_gateway::Addresses<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut known = self.known.lock().unwrap();
        let Some((_, answers)) = known.iter_mut().find(|(name, _)| name == host) else {
            return self.system.resolve(host);
        };
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { Ok::<_, io::Error>(answer) })
    }
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(LOOPBACK, Arc::new(Names::default()), &[]).await
    }

    pub(super) async fn with(policy: &str, names: Arc<Names>, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy_file = folder.path().join("policy.yaml");
        std::fs::write(&policy_file, policy).unwrap();
        let mut env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        env.push(("COFFERDAM_API_KEY".into(), ADMIN.into()));
        env.push(("COFFERDAM_POLICY".into(), policy_file.to_string_lossy().into()));
        let look = move |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let flags = Flags { data_dir: Some(folder.path().to_owned()), ..Flags::default() };
        let config = Config::parse(&flags, &look, None).unwrap();
        let store = Store::open(&config.database).await.unwrap();
        accept_serve_key(config.api_key.as_ref(), folder.path(), &store).await.unwrap();
        let (worker, mut more) = worker(folder.path());
        let machines = Machines { workers: vec![Arc::clone(&worker)], ..Machines::default() };
        let world = World { names, ..World::default() };
        let app = Arc::new(Controller::new(config, store, machines, world).await.unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(keep_uplink(Arc::clone(&app.gateway), Uplink::Snippets(worker), stop.clone()));
        let uplink = tokio::time::timeout(Duration::from_secs(5), more.recv()).await.unwrap().unwrap();
        Self { router: app.router().0, app, uplink, more, _folder: folder, stop }
    }

    pub(super) fn pass(&self, grants: Value) -> Pass {
        let caller = Caller::new("key_serve", OrganizationId::default_organization(), Scopes::new(vec![Scope::Run]));
        let grants: Grants = serde_json::from_value(grants).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        Pass { caller, tool: Some("tester".into()), session: None, grants, depth: 0, deadline }
    }

    pub(super) fn admit(&self, grants: Value) -> Admitted {
        self.app.gateway.admit(self.pass(grants)).unwrap()
    }

    /// Sends a request to the gateway and reads as much of the body as arrives.
    pub(super) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = match self.uplink.clone().send_request(request).await {
            Ok(response) => response,
            // The head was still under way when the body broke off.
            Err(error) => {
                let (status, headers, body) = (StatusCode::BAD_GATEWAY, HeaderMap::new(), Bytes::new());
                return Answer { status, headers, body, broken: Some(format!("{error:?}")) };
            }
        };
        let (head, mut body) = response.into_parts();
        let (mut bytes, mut broken) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    let refused = frame.trailers_ref().and_then(|trailers| trailers.get(REFUSED_HEADER));
                    broken = refused.map(|by| by.to_str().unwrap().to_owned());
                    bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                Err(error) => broken = Some(error.to_string()),
            }
            if broken.is_some() {
                break;
            }
        }
        Answer { status: head.status, headers: head.headers, body: bytes.into(), broken }
    }

    pub(super) fn request(&self, token: &Admitted, method: &str, url: &str) -> http::request::Builder {
        let token = token.token.as_deref().unwrap_or_default();
        let builder = Request::post("http://gateway/http").header(TOKEN_HEADER, token);
        builder.header(METHOD_HEADER, method).header(URL_HEADER, url)
    }

    pub(super) async fn http(&self, token: &Admitted, method: &str, url: &str) -> Answer {
        self.ask(self.request(token, method, url).body(Body::empty()).unwrap()).await
    }

    /// Calls the API itself.
    pub(super) async fn api(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let builder = Request::builder().method(method).uri(path).header("x-api-key", key);
        let builder = builder.header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(builder.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
            broken: None,
        }
    }

    pub(super) async fn secret(&self, name: &str, value: &str, hosts: &[&str]) {
        let body = json!({"value": value, "hosts": hosts});
        let answer = self.api(ADMIN, "PUT", &format!("/v1/secrets/{name}"), Some(body)).await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }
}

/// A worker that answers `/health` and hands its `/uplink` to the test.
fn worker(folder: &std::path::Path) -> (Arc<Worker>, mpsc::UnboundedReceiver<Sender>) {
    let socket = folder.join("worker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (found, uplinks) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let found = found.clone();
            let service = service_fn(move |request| serve_worker(request, found.clone()));
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        }
    });
    let worker = Worker::local(&socket);
    let kernels = vec!["python 3.15".to_owned()];
    let health = WorkerHealth { kernels, runs_active: 0, runs_waiting: 0, sessions_live: 0, sessions_suspended: 0 };
    worker.set_health(Some(health));
    (worker, uplinks)
}

async fn serve_worker(
    mut request: Request<Incoming>,
    found: mpsc::UnboundedSender<Sender>,
) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.uri().path(), "/uplink");
    let name = request.headers()[GATEWAY_HEADER].to_str().unwrap();
    assert!(name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let connection = upgrade.await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(1 << 24);
        let (sender, connection) = builder.handshake(connection).await.unwrap();
        let _ = found.send(sender);
        let _ = connection.await;
    });
    let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", UPGRADE);
    Ok(response.body(Body::empty()).unwrap())
}

/// A server on loopback that records its requests.
pub(super) struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn grants(&self) -> Value {
        json!({"http": [{"host": self.host()}]})
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// A server that runs an axum router.
    pub(super) async fn routes(router: axum::Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { builder.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self { address, connections, seen }
    }

    /// A server that echoes every request.
    pub(super) async fn echo() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let handler = move |request: Request<Body>| {
            let kept = Arc::clone(&kept);
            async move {
                let (head, body) = request.into_parts();
                let mut text = format!("{} {}\n", head.method, head.uri);
                for (name, value) in &head.headers {
                    text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
                }
                text.push('\n');
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                text.push_str(&String::from_utf8_lossy(&body));
                kept.lock().unwrap().push(text.clone());
                text
            }
        };
        Self { seen, ..Self::routes(axum::Router::new().fallback(handler)).await }
    }

    /// A server that answers each head with 200 and takes what follows it for the next request, whatever the head says
    /// of a body. It records the requests' first lines, and closes where HTTP says so.
    pub(super) async fn without_bodies() -> Self {
        Self::streams(answer_heads).await
    }

    /// A server that answers each connection with a task of its own.
    async fn streams<F: Future<Output = ()> + Send + 'static>(
        answer: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&connections));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, Arc::clone(&kept)));
            }
        });
        Self { address, connections, seen }
    }

    /// A server that reads a request's head and writes these bytes, a piece at a time.
    pub(super) async fn raw(pieces: Vec<Vec<u8>>, pause: Duration) -> Self {
        Self::streams(move |stream, seen| answer(stream, pieces.clone(), pause, seen)).await
    }
}

async fn answer_heads(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let (mut held, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        while let Some(end) = held.windows(4).position(|end| end == b"\r\n\r\n") {
            let head: Vec<u8> = held.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
            let close = head.to_lowercase().contains("connection: close");
            let answer = if close { "connection: close\r\n" } else { "" };
            let answer = format!("HTTP/1.1 200 OK\r\n{answer}content-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() || close {
                return;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => held.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
}

async fn answer(mut stream: TcpStream, pieces: Vec<Vec<u8>>, pause: Duration, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    let mut buffer = [0; 4_096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    for piece in pieces {
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}
