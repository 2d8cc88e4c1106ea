//! One call to a worker, and its answer as it comes. The answer's bytes are passed on, not read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::worker::ORGANIZATION_HEADER;
use cofferdam_contract::{OrganizationId, Problem};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::link::{LinkBody, LinkError};
use super::worker::{Active, Worker};
use crate::Error;

/// The longest answer that is read into memory by us; longer ones only pass through.
const MAX_ANSWER: usize = 8 << 20;
/// Calls that are not runs and take longer than this find their worker lost.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);

/// What to ask a worker.
pub struct WorkerRequest<'a> {
    pub method: Method,
    /// Path and query, with a leading slash; only characters that a URI can have.
    pub path: String,
    pub organization: &'a OrganizationId,
    pub accept: Option<HeaderValue>,
    pub content_type: Option<HeaderValue>,
    pub body: Body,
}

impl<'a> WorkerRequest<'a> {
    pub fn new(method: Method, path: impl Into<String>, organization: &'a OrganizationId) -> Self {
        Self { method, path: path.into(), organization, accept: None, content_type: None, body: Body::empty() }
    }

    /// With a JSON body.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn json(mut self, value: &impl serde::Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|e| Error::Wire(e.to_string()))?;
        self.content_type = Some(HeaderValue::from_static("application/json"));
        self.body = Body::from(bytes);
        Ok(self)
    }
}

pub(crate) fn lost(worker: &Worker, why: &dyn std::error::Error) -> Error {
    tracing::warn!(worker = %worker.name, error = %why, cause = why.source().map(tracing::field::display), "worker lost");
    Problem::worker_lost("The worker was lost while the request was with it. The request may have begun to run.").into()
}

impl Worker {
    /// Sends the request and gives the answer when its head is here. Dropping the future or the answer's body closes
    /// the connection, which the worker takes as a cancellation.
    ///
    /// # Errors
    /// [`Problem::unavailable`] before anything was sent, [`Problem::worker_lost`] afterwards.
    pub async fn send(self: &Arc<Self>, request: WorkerRequest<'_>) -> Result<Response<Busy>, Error> {
        if !self.is_ready() {
            return Err(Problem::unavailable("The worker is not ready; it is starting or restarting.").into());
        }
        let mut builder = Request::builder().method(request.method).uri(request.path);
        builder = builder.header(HOST, &self.host).header(ORGANIZATION_HEADER, request.organization.as_str());
        for (name, value) in
            [(ACCEPT, request.accept), (CONTENT_TYPE, request.content_type), (AUTHORIZATION, self.token.clone())]
        {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        let request = builder.body(request.body).map_err(|e| Error::Wire(e.to_string()))?;
        self.exchange(request).await
    }

    async fn exchange(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Busy>, Error> {
        let active = self.enter();
        match self.links.exchange(request).await {
            Ok(response) => Ok(response.map(|body| Busy { body, _active: active })),
            Err(LinkError::Connect(error)) => {
                tracing::warn!(worker = %self.name, %error, "no connection to the worker");
                Err(Problem::unavailable("The worker cannot be reached.").into())
            }
            Err(LinkError::Lost(error)) => Err(lost(self, &error)),
        }
    }

    /// Passes a foreign request on as it is, for a process that is only a front. The same errors as [`Self::send`].
    pub async fn pass(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Busy>, Error> {
        if !self.is_ready() {
            return Err(Problem::unavailable("The worker is not ready; it is starting or restarting.").into());
        }
        let (mut parts, body) = request.into_parts();
        for name in ["authorization", "connection", "keep-alive", "transfer-encoding", "upgrade", "te"] {
            parts.headers.remove(name);
        }
        parts.headers.insert(HOST, self.host.clone());
        self.exchange(Request::from_parts(parts, body)).await
    }

    /// Sends a call that is not a run and reads its whole answer: the JSON of a success, or the worker's problem.
    ///
    /// # Errors
    /// The same as [`Self::send`], and what the worker refused.
    pub async fn ask<T: DeserializeOwned>(self: &Arc<Self>, request: WorkerRequest<'_>) -> Result<T, Error> {
        let bytes = self.ask_bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Wire(e.to_string()))
    }

    /// Like [`Self::ask`], for an answer that is empty or not JSON.
    ///
    /// # Errors
    /// The same as [`Self::ask`].
    pub async fn ask_bytes(self: &Arc<Self>, request: WorkerRequest<'_>) -> Result<Bytes, Error> {
        let call = async {
            let response = self.send(request).await?;
            let status = response.status();
            let bytes = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let bytes = bytes.map_err(|e| lost(self, e.as_ref()))?.to_bytes();
            if status.is_success() {
                return Ok(bytes);
            }
            match serde_json::from_slice::<Problem>(&bytes) {
                Ok(problem) => Err(problem.into()),
                Err(e) => Err(Error::Wire(format!("status {status}: {e}"))),
            }
        };
        match tokio::time::timeout(CONTROL_TIMEOUT, call).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(lost(self, &elapsed)),
        }
    }
}

/// The body of an answer; its worker counts as busy until it is dropped.
pub struct Busy {
    body: LinkBody,
    _active: Active,
}

impl http_body::Body for Busy {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A worker that was lost after its answer had begun.
pub(crate) fn lost_midway(why: &hyper::Error) -> Error {
    tracing::warn!(error = %why, "worker lost in the middle of its answer");
    Problem::worker_lost("The worker was lost in the middle of its answer. The request may have run.").into()
}
