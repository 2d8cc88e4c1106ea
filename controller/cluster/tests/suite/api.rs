//! An API server on loopback that replays a cluster's answers: over TLS, and only to clients with the token. It records
//! the requests. It also stores applied objects like an API server: with a uid, and a new version only if something
//! changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cofferdam_cluster::{
    Access, AnyCluster, ClusterError, Clusters, KubernetesClusters, Options, Place, Words, Workload, WorkloadId,
    workload_name,
};
use cofferdam_contract::{AgentId, OrganizationId, PodSettings, Resources};
use cofferdam_core::Secret;
use cofferdam_policy::Cidr;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const TOKEN: &str = "a-token-of-the-tests-0123456789";
pub(crate) const NAMESPACE: &str = "agents";

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// The server's answer to a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub method: String,
    /// Part of path and query.
    pub path: String,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    /// Repeats the body this many times.
    #[serde(default)]
    pub repeat: Option<u64>,
    /// The delay before the answer.
    #[serde(default)]
    pub after_ms: u64,
    /// Closes the connection before the end of the body.
    #[serde(default)]
    pub breaks: bool,
    /// The number of times that this answer is used.
    #[serde(default)]
    pub times: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub method: Method,
    pub path: String,
    pub content_type: String,
    pub authorization: String,
    pub body: Value,
}

#[derive(Default)]
pub(crate) struct State {
    pub answers: Vec<Answer>,
    pub asked: Vec<Asked>,
    /// By path.
    pub objects: BTreeMap<String, Value>,
    version: u64,
}

pub(crate) struct Api {
    pub port: u16,
    pub authority: String,
    pub state: Arc<Mutex<State>>,
    pub clusters: KubernetesClusters,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        let (authority, config) = certified();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let kept = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let serving =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = serving.await;
                });
            }
        });
        Self { port, authority, state, clusters: clusters(), serving }
    }

    pub(crate) fn kubeconfig(&self) -> Value {
        kubeconfig(self.port, &self.authority)
    }

    pub(crate) fn cluster(&self) -> AnyCluster {
        settings(&self.kubeconfig()).connect(&self.clusters).unwrap()
    }

    pub(crate) fn play(&self, answers: Vec<Answer>) {
        self.state.lock().unwrap().answers = answers;
    }

    /// Puts an object where the API would have it.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().asked.clear();
    }
}

/// An authority in PEM, and the settings of a server that it vouches for.
pub(crate) fn certified() -> (String, ServerConfig) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "kubernetes.default".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &*authority).unwrap();
    (authority.as_ref().pem(), serving_with(&certificate, &key))
}

pub(crate) fn serving_with(certificate: &Certificate, key: &KeyPair) -> ServerConfig {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap()
}

pub(crate) fn clusters() -> KubernetesClusters {
    KubernetesClusters::new(Options {
        private: vec![Cidr::parse("127.0.0.0/8").unwrap()],
        controller_namespace: Some("cofferdam".to_owned()),
        unschedulable_after: Duration::from_secs(30),
        grace: Duration::from_secs(1),
        ..Options::default()
    })
}

pub(crate) fn kubeconfig(port: u16, authority: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "fake", "user": "tester"}}],
        "clusters": [{"name": "fake", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "tester", "user": {"token": TOKEN}}],
    })
}

/// The part of an environment that points to a cluster.
#[derive(Clone)]
pub(crate) struct Settings {
    pub access: Access,
    pub namespace: String,
}

impl Settings {
    pub(crate) fn connect(&self, clusters: &KubernetesClusters) -> Result<AnyCluster, ClusterError> {
        clusters.connect(&Place { access: &self.access, namespace: &self.namespace })
    }
}

pub(crate) fn settings(kubeconfig: &Value) -> Settings {
    Settings {
        access: Access::Kubeconfig { yaml: Secret::new(kubeconfig.to_string()), context: None },
        namespace: NAMESPACE.to_owned(),
    }
}

pub(crate) fn id() -> WorkloadId {
    WorkloadId {
        organization: OrganizationId::parse("default").unwrap(),
        agent: AgentId::parse("hello").unwrap(),
        version: 3,
    }
}

pub(crate) fn workload() -> Workload {
    Workload {
        id: id(),
        image: format!("registry.example:5000/default/hello@sha256:{}", "0123456789abcdef".repeat(4)),
        architecture: "amd64".to_owned(),
        env: [
            ("GREETING", "hello"),
            ("NUMBER", "007"),
            ("API_KEY", "a-secret-value-of-the-agent"),
            ("SPACED", "alpha  bravo42x\ttabbed"),
            ("QUOTED", "say \"fr1end\" \\ and enter"),
            ("XPANDER_AGENT_ID", "cofferdam"),
            ("NAMESPACE_TOKEN", "agents"),
        ]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .into(),
        resources: Resources {
            cpu: Some("500m".to_owned()),
            memory: Some("256Mi".to_owned()),
            ephemeral_storage: None,
        },
        run_as: None,
        image_pull_secrets: vec!["registry".to_owned()],
        runtime_class: None,
        pod: PodSettings::default(),
        health: cofferdam_contract::Health::default(),
        start_s: 300,
        secrets: Vec::new(),
        ttl_after_finished_s: 3_600,
    }
}

/// The words, with all that the cluster says, contain all of these.
pub(crate) fn says(words: &Words, all: &[&str]) -> bool {
    let text = words.shown(str::to_owned);
    all.iter().all(|part| text.contains(part))
}

pub(crate) fn job_path() -> String {
    format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{}", workload_name(&id()))
}

pub(crate) fn core_path(kind: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{kind}")
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Asked {
        method: parts.method.clone(),
        path: parts.uri.to_string(),
        content_type: header("content-type"),
        authorization: header("authorization"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let played = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked.clone());
        let hit = state.answers.iter_mut().find(|answer| {
            answer.times != Some(0) && asked.method.as_str() == answer.method && asked.path.contains(&answer.path)
        });
        hit.map(|answer| {
            answer.times = answer.times.map(|times| times - 1);
            answer.clone()
        })
    };
    let Some(played) = played else {
        let (code, value) = keep(&mut state.lock().unwrap(), &asked);
        return Ok(whole(code, value.to_string().into()));
    };
    tokio::time::sleep(Duration::from_millis(played.after_ms)).await;
    let piece = Bytes::from(played.body.clone());
    let pieces = futures_util::stream::iter(0..played.repeat.unwrap_or(1)).map(move |_| Ok(Frame::data(piece.clone())));
    let breaks = played.breaks;
    let pieces = pieces.chain(futures_util::stream::once(async move {
        // The pieces sent so far arrive first.
        tokio::time::sleep(Duration::from_millis(if breaks { 200 } else { 0 })).await;
        Ok(Frame::data(Bytes::new()))
    }));
    let mut response = Response::builder().status(played.status.max(200)).header("content-type", "application/json");
    for (name, value) in &played.headers {
        response = response.header(name, value);
    }
    if played.breaks {
        // A length that never comes, and then nothing: hyper ends the connection.
        response = response.header("content-length", played.body.len() + 1_000);
    }
    Ok(response.body(StreamBody::new(pieces).boxed_unsync()).unwrap())
}

fn whole(code: StatusCode, bytes: Bytes) -> Response<Body> {
    let body = http_body_util::Full::new(bytes).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

/// The part of an API server that stores objects.
fn keep(state: &mut State, asked: &Asked) -> (StatusCode, Value) {
    let path = asked.path.split('?').next().unwrap_or_default().to_owned();
    if asked.authorization != format!("Bearer {TOKEN}") {
        return (StatusCode::UNAUTHORIZED, status(401, "Unauthorized", "Unauthorized"));
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    match asked.method.as_str() {
        "PATCH" => {
            let before = state.objects.get(&path).cloned();
            let mut object = asked.body.clone();
            if asked.content_type == "application/merge-patch+json" {
                object = before.clone().unwrap_or_default();
                super::seen::lay_over(&mut object, asked.body.clone());
            } else {
                object["metadata"]["managedFields"] = json!([{"manager": "cofferdam", "operation": "Apply"}]);
            }
            let of = |key: &str| before.as_ref().map(|before| before["metadata"][key].clone());
            let uid = of("uid").unwrap_or_else(|| format!("uid-of-{}", state.objects.len()).into());
            object["metadata"]["uid"] = uid;
            object["metadata"]["resourceVersion"] = of("resourceVersion").unwrap_or_else(|| "0".into());
            if before.as_ref() != Some(&object) {
                state.version += 1;
                object["metadata"]["resourceVersion"] = state.version.to_string().into();
            }
            state.objects.insert(path, object.clone());
            (StatusCode::OK, object)
        }
        "DELETE" => match state.objects.remove(&path) {
            Some(_) => (StatusCode::OK, status(200, "Success", "")),
            None => (StatusCode::NOT_FOUND, status(404, "NotFound", &format!("{name:?} not found"))),
        },
        "GET" if ["pods", "events", "jobs"].contains(&name.as_str()) => {
            let under = format!("{path}/");
            let items: Vec<Value> = state
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with(&under))
                .map(|(_, value)| value.clone())
                .collect();
            (StatusCode::OK, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
        }
        "GET" => match state.objects.get(&path) {
            Some(object) => (StatusCode::OK, object.clone()),
            None => (StatusCode::NOT_FOUND, status(404, "NotFound", &format!("{name:?} not found"))),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, status(405, "MethodNotAllowed", "not here")),
    }
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
           "message": message})
}
