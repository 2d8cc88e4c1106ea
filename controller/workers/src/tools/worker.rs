//! One worker of tools, on this machine or behind a code-runner's front.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::tool::MAX_RESULT_BYTES;
use cofferdam_contract::worker::ToolsHealth;
use cofferdam_contract::{Component, OrganizationId, ToolCall, ToolOutcome};
use cofferdam_core::Secret;
use http::{HeaderValue, Method, Request, Response};
use hyper::upgrade::Upgraded;
use parking_lot::RwLock;

use super::Owner;
use crate::forward::read_json;
use crate::load::Load;
use crate::supervisor::Components;
use crate::{Busy, Error, RemoteWorker, Watched, Worker, WorkerRequest};

/// The longest answer to a call: its result and its output (at most 1 MiB, up to six with JSON's escapes).
const MAX_ANSWER: usize = MAX_RESULT_BYTES + (7 << 20);
/// The longest description of a component.
const MAX_DESCRIPTION: usize = 32 << 20;
/// The time of a call beyond its own limit: waiting for a place, loading the component.
const CALL_OVERHEAD: Duration = Duration::from_secs(60);
/// A worker on another machine that takes longer to check and compile a component is lost.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(900);

/// A worker of tools.
pub struct ToolWorker {
    worker: Arc<Worker>,
    health: RwLock<Option<ToolsHealth>>,
    /// Compiles on this machine; a front does it for its own worker.
    components: Option<Arc<Components>>,
}

impl ToolWorker {
    /// The tool worker on this machine, listening on `socket`.
    pub fn local(socket: impl Into<std::path::PathBuf>, components: Arc<Components>) -> Arc<Self> {
        Arc::new(Self { worker: Worker::local(socket), health: RwLock::default(), components: Some(components) })
    }

    /// The one behind the front of a code-runner.
    ///
    /// # Errors
    /// A token that cannot stand in a header.
    pub fn remote(worker: &RemoteWorker, token: Option<&Secret>) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self { worker: Worker::remote(worker, token)?, health: RwLock::default(), components: None }))
    }

    /// `local`, or its address.
    pub fn name(&self) -> &str {
        self.worker.name()
    }

    pub fn is_ready(&self) -> bool {
        self.worker.is_ready()
    }

    /// Calls under way from this process.
    pub fn active(&self) -> usize {
        self.worker.active()
    }

    /// The last health answer, however old.
    pub fn health(&self) -> Option<ToolsHealth> {
        self.health.read().clone()
    }

    /// Opens an uplink for the gateway of that name.
    ///
    /// # Errors
    /// A worker that cannot be reached or refuses.
    pub async fn uplink(&self, gateway: &str) -> Result<Upgraded, Error> {
        self.worker.uplink("/tools/uplink", gateway).await
    }

    /// Passes a foreign request on, for a process that is only a front.
    ///
    /// # Errors
    /// As [`Worker::send`].
    pub async fn pass(&self, request: Request<Body>) -> Result<Response<Busy>, Error> {
        self.worker.pass(request).await
    }

    /// The worker's metrics as Prometheus text.
    ///
    /// # Errors
    /// A worker that is not ready or cannot be reached.
    pub async fn metrics(&self) -> Result<Bytes, Error> {
        let organization = OrganizationId::default_organization();
        self.worker.ask_bytes(WorkerRequest::new(Method::GET, "/tools/metrics", &organization)).await
    }

    /// Has a component checked and compiled for this worker, and returns its description. `digest` is that of `bytes`.
    ///
    /// # Errors
    /// [`Problem::bad_component`](cofferdam_contract::Problem::bad_component) says why the component is invalid; else
    /// why the worker could not look at it.
    pub async fn ensure(&self, digest: &str, bytes: Bytes) -> Result<Component, Error> {
        if let Some(components) = &self.components {
            return Ok(components.ensure(digest, bytes).await?);
        }
        let organization = OrganizationId::default_organization();
        let mut request = WorkerRequest::new(Method::PUT, format!("/tools/components/{digest}"), &organization);
        request.content_type = Some(HeaderValue::from_static("application/wasm"));
        request.body = Body::from(bytes);
        read_json(&self.worker.ask_within(request, MAX_DESCRIPTION, COMPILE_TIMEOUT).await?)
    }

    pub(super) async fn call(&self, owner: Owner<'_>, call: &ToolCall) -> Result<ToolOutcome, Error> {
        let mut request = WorkerRequest::new(Method::POST, "/tools/calls", owner.organization).json(call)?;
        request.max_runs = owner.max_calls;
        let timeout = Duration::from_millis(call.limits.wall_ms).saturating_add(CALL_OVERHEAD);
        read_json(&self.worker.ask_within(request, MAX_ANSWER, timeout).await?)
    }
}

impl Load for ToolWorker {
    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn active(&self) -> usize {
        self.active()
    }
}

impl Watched for Arc<ToolWorker> {
    fn name(&self) -> &str {
        self.worker.name()
    }

    fn ready(&self) -> bool {
        self.is_ready()
    }

    async fn check(&self, timeout: Duration) -> Result<(), Error> {
        let health = self.worker.ping_at("/tools/health", timeout).await?;
        *self.health.write() = Some(health);
        self.worker.set_ready(true);
        Ok(())
    }

    fn lost(&self) {
        self.worker.set_ready(false);
    }
}
