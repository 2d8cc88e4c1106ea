//! An API whose uploads go into memory, and clients that break off where a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::{FailureReason, OrganizationId};
use cofferdam_controller::World;
use cofferdam_environments::Environment;
use cofferdam_identity::hash;
use cofferdam_store::{DeploymentRow, KeyRow, KeyTerms};
use cofferdam_uploads::{Incoming, Pipeline, PushFailure, Pushed, PushedImage};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::{ADMIN, Answer, TestApp};

/// The results of uploads by deployment, and the pace at which pieces are taken.
pub(super) struct Registry {
    pub arrived: Mutex<HashMap<String, Vec<u8>>>,
    /// The image that was wanted of each archive.
    pub wanted: Mutex<HashMap<String, Option<String>>>,
    pub began: Mutex<usize>,
    /// A piece is taken for each permit.
    pub gate: Semaphore,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            arrived: Mutex::default(),
            wanted: Mutex::default(),
            began: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

/// The result that an archive's first bytes request.
fn judged(content: &[u8]) -> Result<(), PushFailure> {
    let failure = |reason, detail| Err(PushFailure::new(reason, detail));
    if content.starts_with(b"bad") {
        return failure(FailureReason::BadImage, "This is no image archive: send what `docker save` writes.");
    }
    if content.starts_with(b"full") {
        return failure(FailureReason::Registry, "The registry r.example: it answered 507. Free storage.");
    }
    if content.starts_with(b"down") {
        return failure(FailureReason::Registry, "The registry r.example: it answered 503.")
            .map_err(PushFailure::once_more);
    }
    Ok(())
}

pub(super) struct Memory(pub Arc<Registry>);

impl Pipeline for Memory {
    fn push(
        &self,
        deployment: DeploymentRow,
        environment: Arc<Environment>,
        mut incoming: Incoming,
    ) -> BoxFuture<'static, Result<Pushed, PushFailure>> {
        let registry = Arc::clone(&self.0);
        *registry.began.lock().unwrap() += 1;
        registry.wanted.lock().unwrap().insert(deployment.id.to_string(), deployment.spec.archive_image.clone());
        async move {
            let (mut content, mut digest, mut size) = (Vec::new(), Sha256::new(), 0);
            loop {
                let permit = registry.gate.acquire().await.unwrap();
                let Some(piece) = incoming.next().await else { break };
                permit.forget();
                let piece = piece.unwrap();
                digest.update(&piece);
                size += piece.len() as u64;
                // The beginning of a large one is enough.
                content.extend_from_slice(&piece[..piece.len().min((1 << 20) - content.len().min(1 << 20))]);
                judged(&content)?;
            }
            let digest = format!("sha256:{:x}", digest.finalize());
            let repository = environment.repository(&deployment.organization, &deployment.agent).unwrap();
            registry.arrived.lock().unwrap().insert(deployment.id.to_string(), content);
            let reference = format!("{repository}@{digest}");
            let image = PushedImage { reference, digest, architecture: "amd64".into(), run_as: None, size_bytes: size };
            Ok(Pushed { image, layers: 2, skipped: 1, sent_bytes: size, notes: vec![] })
        }
        .boxed()
    }
}

pub(super) struct Rig {
    pub test: TestApp,
    pub registry: Arc<Registry>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(super) async fn with(env: &[(&str, &str)]) -> Self {
        Self::within(World::default(), env).await
    }

    /// With the test's own world, except for the registry.
    pub(super) async fn within(world: World, env: &[(&str, &str)]) -> Self {
        let mut all = vec![("COFFERDAM_IMAGES", "http://registry.test:5000/agents")];
        all.extend_from_slice(env);
        let registry = Arc::new(Registry::default());
        let pipeline: Arc<dyn Pipeline> = Arc::new(Memory(Arc::clone(&registry)));
        let world = World { pipeline: Some(pipeline), ..world };
        Self { test: TestApp::within(world, &all).await, registry }
    }

    pub(super) async fn agent(&self, id: &str) {
        let answer = self.test.call(ADMIN, "POST", "/v1/agents", Some(json!({"id": id, "name": id}))).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }

    pub(super) async fn act(&self, body: Value) -> Answer {
        self.test.call(ADMIN, "POST", "/api/deploy-agent", Some(body)).await
    }

    /// An upload's answer.
    pub(super) async fn upload(&self, id: &str) -> Value {
        let answer = self.act(json!({"agent_id": id, "action": "upload"})).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// The path of a new upload's link, and its deployment's number.
    pub(super) async fn link(&self, id: &str) -> (String, u64) {
        let upload = self.upload(id).await;
        let link = upload["link"].as_str().unwrap().strip_prefix(&self.test.base).unwrap().to_owned();
        (link, upload["version"].as_u64().unwrap())
    }

    /// A request to a link, without a key.
    pub(super) async fn send(
        &self,
        method: &str,
        link: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = self.test.request("", method, link);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.test.send(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn put(&self, link: &str, body: impl Into<Body>) -> Answer {
        self.send("PUT", link, &[], body).await
    }

    pub(super) async fn offset(&self, link: &str) -> u64 {
        let answer = self.send("HEAD", link, &[], Body::empty()).await;
        assert_eq!(answer.status, 204);
        answer.headers["upload-offset"].to_str().unwrap().parse().unwrap()
    }

    pub(super) async fn deployment(&self, agent: &str, number: u64) -> Value {
        self.test.call(ADMIN, "GET", &format!("/v1/agents/{agent}/deployments/{number}"), None).await.json()
    }

    /// Waits until a deployment is in that state.
    pub(super) async fn becomes(&self, agent: &str, number: u64, state: &str) -> Value {
        for _ in 0..500 {
            let deployment = self.deployment(agent, number).await;
            if deployment["state"] == state {
                return deployment;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not become {state}: {}", self.deployment(agent, number).await);
    }

    /// Waits until this many bytes have arrived.
    pub(super) async fn reaches(&self, link: &str, offset: u64) {
        for _ in 0..500 {
            if self.offset(link).await == offset {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the offset is {}, not {offset}", self.offset(link).await);
    }

    /// Waits until no upload is under way.
    pub(super) async fn idle(&self) {
        for _ in 0..500 {
            if self.test.app.uploads.count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} uploads are under way", self.test.app.uploads.count());
    }

    /// A connection that has sent this and sends nothing more.
    pub(super) async fn raw(&self, head: &str, body: &[u8]) -> TcpStream {
        let address = self.test.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{head}\r\nhost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }

    /// A key of another organization.
    pub(super) async fn stranger(&self) -> String {
        let key = "a-key-of-another-organization";
        let organization = OrganizationId::parse("stranger").unwrap();
        self.test.app.store.ensure_organization(&organization).await.unwrap();
        let row = KeyRow {
            id: "key_stranger".into(),
            organization,
            name: "stranger".into(),
            hash: hash(key).iter().map(|byte| format!("{byte:02x}")).collect(),
            scopes: "admin".into(),
            created_at: 0,
            terms: KeyTerms::default(),
        };
        self.test.app.store.put_key(&row).await.unwrap();
        self.test.app.keyring.refresh().await.unwrap();
        key.to_owned()
    }
}

/// The text that a connection received within some seconds.
pub(super) async fn answered(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        loop {
            let size = stream.read(&mut buffer).await.unwrap_or(0);
            text.extend_from_slice(&buffer[..size]);
            if size == 0 || text.ends_with(b"}") {
                return;
            }
        }
    };
    // The bytes until then are the answer.
    let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
    String::from_utf8(text).unwrap()
}
