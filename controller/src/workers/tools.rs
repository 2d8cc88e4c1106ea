//! Workers of tools: which one takes a call, and how it comes by a component that it has not seen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::tool::MAX_RESULT_BYTES;
use cofferdam_contract::worker::ToolsHealth;
use cofferdam_contract::{Component, OrganizationId, Problem, ToolCall, ToolOutcome};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::upgrade::Upgraded;
use serde::de::DeserializeOwned;

use super::forward::lost;
use super::health::Watched;
use super::worker::Worker;
use super::{Busy, WorkerRequest};
use crate::Error;
use crate::config::{RemoteWorker, Secret};
use crate::supervisor::Components;

/// The longest answer to a call: its result, and what it said (at most 1 MiB, which JSON's escapes may make six).
const MAX_ANSWER: usize = MAX_RESULT_BYTES + (7 << 20);
/// The longest description of a component.
const MAX_DESCRIPTION: usize = 32 << 20;
/// What a call may take beyond its own time: waiting for a place, loading the component.
const BESIDE: Duration = Duration::from_secs(60);
/// A component is checked and compiled within this by a worker on another machine, or it is lost.
const COMPILE: Duration = Duration::from_secs(900);

/// A worker of tools, on this machine or behind a code-runner's front.
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
        &self.worker.name
    }

    /// For run ids.
    pub fn tag(&self) -> &str {
        &self.worker.tag
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
        self.health.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Opens an uplink for the gateway of that name.
    ///
    /// # Errors
    /// Where the worker cannot be reached or refuses.
    pub async fn uplink(&self, gateway: &str) -> Result<Upgraded, Error> {
        self.worker.uplink("/tools/uplink", gateway).await
    }

    /// Passes a foreign request on, for a process that is only a front.
    ///
    /// # Errors
    /// [`Problem::unavailable`] before anything was sent, [`Problem::worker_lost`] afterwards.
    pub async fn pass(&self, request: Request<Body>) -> Result<Response<Busy>, Error> {
        self.worker.pass(request).await
    }

    /// Its Prometheus text.
    ///
    /// # Errors
    /// Where it is not there.
    pub async fn metrics(&self) -> Result<Bytes, Error> {
        let organization = OrganizationId::default_organization();
        self.worker.ask_bytes(WorkerRequest::new(Method::GET, "/tools/metrics", &organization)).await
    }

    /// Has a component checked and compiled where this worker finds it, and learns what it is. The bytes have that digest.
    ///
    /// # Errors
    /// [`Problem::bad_component`] with what is wrong with it; what keeps the worker from looking at it.
    pub async fn ensure(&self, digest: &str, bytes: Bytes) -> Result<Component, Error> {
        if let Some(components) = &self.components {
            return Ok(components.ensure(digest, bytes).await?);
        }
        let organization = OrganizationId::default_organization();
        let mut request = WorkerRequest::new(Method::PUT, format!("/tools/components/{digest}"), &organization);
        request.content_type = Some(HeaderValue::from_static("application/wasm"));
        request.body = Body::from(bytes);
        self.ask(request, MAX_DESCRIPTION, COMPILE).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: WorkerRequest<'_>,
        longest: usize,
        timeout: Duration,
    ) -> Result<T, Error> {
        let exchange = async {
            let response = self.worker.send(request).await?;
            let status = response.status();
            let bytes = Limited::new(response.into_body(), longest).collect().await;
            Ok::<_, Error>((status, bytes.map_err(|e| lost(&self.worker, e.as_ref()))?.to_bytes()))
        };
        let answered = tokio::time::timeout(timeout, exchange).await;
        let (status, bytes) = answered.unwrap_or_else(|elapsed| Err(lost(&self.worker, &elapsed)))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| Error::Wire(e.to_string()));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(e) => Err(Error::Wire(format!("status {status}: {e}"))),
        }
    }

    async fn call(&self, organization: &OrganizationId, call: &ToolCall) -> Result<ToolOutcome, Error> {
        let request = WorkerRequest::new(Method::POST, "/tools/calls", organization).json(call)?;
        let timeout = Duration::from_millis(call.limits.wall_ms).saturating_add(BESIDE);
        self.ask(request, MAX_ANSWER, timeout).await
    }
}

impl Watched for Arc<ToolWorker> {
    fn name(&self) -> &str {
        &self.worker.name
    }

    fn ready(&self) -> bool {
        self.is_ready()
    }

    async fn check(&self, timeout: Duration) -> Result<(), Error> {
        let health = self.worker.ping_at("/tools/health", timeout).await?;
        *self.health.write().unwrap_or_else(|e| e.into_inner()) = Some(health);
        self.worker.set_ready(true);
        Ok(())
    }

    fn lost(&self) {
        self.worker.set_ready(false);
    }
}

/// All workers of tools.
pub struct ToolWorkers {
    workers: Vec<Arc<ToolWorker>>,
    turn: AtomicUsize,
}

fn is(error: &Error, kind: &str) -> bool {
    matches!(error, Error::Refused(problem) if problem.kind() == kind)
}

impl ToolWorkers {
    pub fn new(workers: Vec<Arc<ToolWorker>>) -> Self {
        Self { workers, turn: AtomicUsize::new(0) }
    }

    pub fn all(&self) -> &[Arc<ToolWorker>] {
        &self.workers
    }

    pub fn any_ready(&self) -> bool {
        self.workers.iter().any(|worker| worker.is_ready())
    }

    /// The ready worker with the least to do, other than `except`; equals take turns.
    ///
    /// # Errors
    /// [`Problem::unavailable`] where none is ready.
    pub fn pick(&self, except: Option<&ToolWorker>) -> Result<Arc<ToolWorker>, Error> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        let (before, after) = self.workers.split_at(start.min(self.workers.len()));
        let ready = after.iter().chain(before).filter(|worker| worker.is_ready());
        let others = ready.filter(|worker| except.is_none_or(|except| !std::ptr::eq(except, Arc::as_ptr(worker))));
        let least = others.min_by_key(|worker| worker.active()).cloned();
        least.ok_or_else(|| Problem::unavailable("No worker of tools is ready; see /ready.").into())
    }

    /// Has a component checked and compiled by one of the workers, and learns what it is.
    ///
    /// # Errors
    /// As [`ToolWorker::ensure`].
    pub async fn ensure(&self, digest: &str, bytes: Bytes) -> Result<Component, Error> {
        self.pick(None)?.ensure(digest, bytes).await
    }

    /// Makes a call. `component` gives the component's bytes; it is asked only where a worker does not have it.
    /// Dropping the future cancels the call.
    ///
    /// # Errors
    /// What is wrong with the call, or that no worker could take it. What the tool does wrong is an outcome.
    pub async fn call<F>(
        &self,
        organization: &OrganizationId,
        call: &ToolCall,
        component: impl Fn() -> F,
    ) -> Result<ToolOutcome, Error>
    where
        F: Future<Output = Result<Bytes, Error>>,
    {
        let worker = self.pick(None)?;
        let first = Self::call_at(&worker, organization, call, &component).await;
        let Err(error) = &first else { return first };
        // Neither of these has begun.
        let another = is(error, "unavailable") || is(error, "overloaded");
        match self.pick(Some(&worker)) {
            Ok(other) if another => Self::call_at(&other, organization, call, &component).await,
            _ => first,
        }
    }

    async fn call_at<F>(
        worker: &ToolWorker,
        organization: &OrganizationId,
        call: &ToolCall,
        component: &impl Fn() -> F,
    ) -> Result<ToolOutcome, Error>
    where
        F: Future<Output = Result<Bytes, Error>>,
    {
        match worker.call(organization, call).await {
            Err(error) if is(&error, "component-missing") => {
                worker.ensure(&call.digest, component().await?).await?;
                worker.call(organization, call).await
            }
            answered => answered,
        }
    }
}
