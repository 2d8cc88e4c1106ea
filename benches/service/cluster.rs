//! A minimal Kubernetes API server that stores the applied objects: over TLS, in this process, answering at once, so
//! that a deployment's time is our own. It runs nothing, so no version ever becomes ready.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const READY_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct State {
    /// By path.
    objects: BTreeMap<String, Value>,
    version: u64,
    /// The time at which each Job first appeared, by path.
    jobs: BTreeMap<String, Instant>,
    asked: usize,
}

pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
    port: u16,
    authority: String,
    _runtime: Runtime,
}

impl Cluster {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &*authority)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let kept = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&kept)));
            }
        });
        Ok(Self { state, port, authority: authority.as_ref().pem(), _runtime: runtime })
    }

    /// Writes a kubeconfig for this server.
    pub(crate) fn write_kubeconfig(&self, path: &Path) -> anyhow::Result<()> {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority-data": STANDARD.encode(&self.authority),
            }}],
            "users": [{"name": "bench", "user": {"token": "a-token-of-the-bench"}}],
        });
        std::fs::write(path, text.to_string()).with_context(|| path.display().to_string())
    }

    /// The time at which the Job whose name contains this first appeared.
    pub(crate) fn job(&self, name: &str) -> anyhow::Result<Instant> {
        let started = Instant::now();
        while started.elapsed() < READY_TIMEOUT {
            if let Some((_, at)) = lock(&self.state).jobs.iter().find(|(path, _)| path.contains(name)) {
                return Ok(*at);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("no Job for {name} came within {} s", READY_TIMEOUT.as_secs())
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> usize {
        lock(&self.state).asked
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    // A client that goes away is fine.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (code, value) = keep(&mut lock(&state), &parts.method, parts.uri.path(), &body);
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = code;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn keep(state: &mut State, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
    state.asked += 1;
    let name = path.rsplit('/').next().unwrap_or_default();
    if *method == Method::PATCH {
        state.version += 1;
        let mut object: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let before = state.objects.get(path).and_then(|before| before.pointer("/metadata/uid")).cloned();
            let uid = before.unwrap_or_else(|| format!("uid-{}", state.version).into());
            metadata.insert("uid".to_owned(), uid);
            metadata.insert("resourceVersion".to_owned(), state.version.to_string().into());
        }
        if path.contains("/jobs/") {
            state.jobs.entry(path.to_owned()).or_insert_with(Instant::now);
        }
        state.objects.insert(path.to_owned(), object.clone());
        return (StatusCode::OK, object);
    }
    if *method == Method::GET && ["pods", "events", "jobs"].contains(&name) {
        let under = format!("{path}/");
        let items: Vec<&Value> =
            state.objects.iter().filter(|(key, _)| key.starts_with(&under)).map(|(_, object)| object).collect();
        return (StatusCode::OK, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}));
    }
    let found = match *method {
        Method::DELETE => state.objects.remove(path),
        _ => state.objects.get(path).cloned(),
    };
    found.map_or_else(|| (StatusCode::NOT_FOUND, not_found(name)), |object| (StatusCode::OK, object))
}

fn not_found(name: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
           "message": format!("{name:?} not found")})
}
