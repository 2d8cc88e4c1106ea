//! One call to a worker, and its answer as it arrives. The answer of a run is passed on, not read.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cofferdam_contract::worker::{MAX_RUNS_HEADER, ORGANIZATION_HEADER};
use cofferdam_contract::{OrganizationId, Problem};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::link::{LinkBody, LinkError};
use crate::worker::{Active, Worker};

/// The longest answer that is read into memory here, in bytes; longer ones only pass through.
const MAX_ANSWER: usize = 8 << 20;
/// A worker that takes longer than this for a call that is not a run is lost.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers that belong to the caller's connection to us and not to ours to the worker.
const OF_THE_CONNECTION: [&str; 6] =
    ["authorization", "connection", "keep-alive", "transfer-encoding", "upgrade", "te"];

/// A request to a worker.
pub struct WorkerRequest<'a> {
    pub method: Method,
    /// Path and query, with a leading slash; only characters that a URI can have.
    pub path: String,
    pub organization: &'a OrganizationId,
    /// The most runs that the organization may have at once; absent: as many as the worker lets it have.
    pub max_runs: Option<u32>,
    pub accept: Option<HeaderValue>,
    pub content_type: Option<HeaderValue>,
    pub body: Body,
}

impl<'a> WorkerRequest<'a> {
    pub fn new(method: Method, path: impl Into<String>, organization: &'a OrganizationId) -> Self {
        let path = path.into();
        Self { method, path, organization, max_runs: None, accept: None, content_type: None, body: Body::empty() }
    }

    /// Sets a JSON body.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn json(mut self, value: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(Error::Encode)?;
        self.content_type = Some(HeaderValue::from_static("application/json"));
        self.body = Body::from(bytes);
        Ok(self)
    }
}

impl Worker {
    /// Sends the request and returns the answer when its head has arrived. Dropping the future or the answer's body
    /// closes the connection, which the worker takes as a cancellation.
    ///
    /// # Errors
    /// [`Problem::unavailable`] before anything was sent, [`Problem::worker_lost`] afterwards.
    pub async fn send(self: &Arc<Self>, request: WorkerRequest<'_>) -> Result<Response<Busy>, Error> {
        self.check_ready()?;
        let mut builder = Request::builder().method(request.method).uri(request.path);
        builder = builder.header(HOST, &self.host).header(ORGANIZATION_HEADER, request.organization.as_str());
        if let Some(max) = request.max_runs {
            builder = builder.header(MAX_RUNS_HEADER, max);
        }
        for (name, value) in
            [(ACCEPT, request.accept), (CONTENT_TYPE, request.content_type), (AUTHORIZATION, self.token.clone())]
        {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        self.exchange(builder.body(request.body)?).await
    }

    /// Passes a foreign request on as it is, for a process that is only a front.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn pass(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Busy>, Error> {
        self.check_ready()?;
        let (mut parts, body) = request.into_parts();
        for name in OF_THE_CONNECTION {
            parts.headers.remove(name);
        }
        parts.headers.insert(HOST, self.host.clone());
        self.exchange(Request::from_parts(parts, body)).await
    }

    /// Sends a call that is not a run and reads the whole answer as JSON.
    ///
    /// # Errors
    /// As [`Self::send`], and the worker's refusal.
    pub async fn ask<T: DeserializeOwned>(self: &Arc<Self>, request: WorkerRequest<'_>) -> Result<T, Error> {
        read_json(&self.ask_bytes(request).await?)
    }

    /// Like [`Self::ask`], for an answer that is empty or not JSON.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_bytes(self: &Arc<Self>, request: WorkerRequest<'_>) -> Result<Bytes, Error> {
        self.ask_within(request, MAX_ANSWER, CONTROL_TIMEOUT).await
    }

    /// The bytes of a successful answer that is at most `longest` bytes and complete within `timeout`.
    pub(crate) async fn ask_within(
        self: &Arc<Self>,
        request: WorkerRequest<'_>,
        longest: usize,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let exchange = async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), longest).collect().await;
            Ok::<_, Error>((status, body.map_err(|e| self.lost(e.as_ref()))?.to_bytes()))
        };
        let answered = tokio::time::timeout(timeout, exchange).await;
        let (status, bytes) = answered.unwrap_or_else(|elapsed| Err(self.lost(&elapsed)))?;
        if status.is_success() {
            return Ok(bytes);
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(problem.into()),
            Err(error) => Err(Error::Wire(format!("status {status}: {error}"))),
        }
    }

    fn check_ready(&self) -> Result<(), Error> {
        if self.is_ready() {
            return Ok(());
        }
        Err(Problem::unavailable("The worker is not ready; it is starting or restarting.").into())
    }

    async fn exchange(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Busy>, Error> {
        let active = self.enter();
        match self.links.exchange(request).await {
            Ok(response) => Ok(response.map(|body| Busy { body, _active: active })),
            Err(LinkError::Connect(error)) => {
                tracing::warn!(worker = self.name(), %error, "no connection to the worker");
                Err(Problem::unavailable("The worker cannot be reached.").into())
            }
            Err(LinkError::Lost(error)) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, why: &dyn StdError) -> Error {
        let cause = why.source().map(tracing::field::display);
        tracing::warn!(worker = self.name(), error = %why, cause, "worker lost");
        let detail = "The worker was lost while the request was with it. The request may have begun to run.";
        Problem::worker_lost(detail).into()
    }
}

/// The JSON of a worker's answer.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Wire(e.to_string()))
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

/// The error of an answer that broke off after its head had arrived.
pub fn lost_midway(why: &hyper::Error) -> Error {
    tracing::warn!(error = %why, "worker lost in the middle of its answer");
    Problem::worker_lost("The worker was lost in the middle of its answer. The request may have run.").into()
}
