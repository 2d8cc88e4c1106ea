//! Requests to an API server and their answers, each bounded in time and size. Other modules interpret them.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::Secret;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::core::{Request, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::words::{self, Asked, redacted};
use crate::{ClusterError, names};

/// The timeout from a request to the end of its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer: a list of many large objects.
const MAX_ANSWER_BYTES: usize = 8 * 1_024 * 1_024;

/// The most objects within an answer, counted by their opening braces. A list of a version's pods has some thousands; each
/// becomes a value of up to 8 KiB here, whatever it has in it.
const MAX_ANSWER_OBJECTS: usize = 16_384;

/// A client of one API server.
pub(crate) struct Wire {
    client: kube::Client,
    /// `host:port`, for error texts.
    server: String,
    /// Our credentials, which an answer might echo.
    secrets: Vec<Secret>,
}

/// A request failed.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The API server refused it.
    Api(Box<Status>),
    /// No answer came, or not one of an API server.
    Other(ClusterError),
}

impl RequestError {
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 404)
    }
}

impl Wire {
    pub(crate) fn new(client: kube::Client, server: String, secrets: Vec<Secret>) -> Self {
        Self { client, server, secrets }
    }

    /// Sends a request and parses the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: http::Request<Vec<u8>>) -> Result<T, RequestError> {
        let bytes = self.in_time(async { self.whole(self.send(request).await?).await }).await?;
        if bytes.iter().filter(|byte| **byte == b'{').count() > MAX_ANSWER_OBJECTS {
            return Err(RequestError::Other(words::too_much(&self.server)));
        }
        serde_json::from_slice(&bytes).map_err(|_| RequestError::Other(words::no_api(&self.server)))
    }

    /// Writes an object by server-side apply: we own the fields we set, others own the rest.
    pub(crate) async fn apply<T>(&self, path: &str, name: &str, object: &T) -> Result<T, RequestError>
    where
        T: Serialize + DeserializeOwned,
    {
        let how = kube::api::PatchParams::apply(names::MANAGER).force();
        self.ask(self.built(Request::new(path).patch(name, &how, &kube::api::Patch::Apply(object)))?).await
    }

    /// Changes some fields of an object.
    pub(crate) async fn merge<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        fields: &serde_json::Value,
    ) -> Result<T, RequestError> {
        let how = kube::api::PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..Default::default() };
        self.ask(self.built(Request::new(path).patch(name, &how, &kube::api::Patch::Merge(fields)))?).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<Option<T>, RequestError> {
        let request = self.built(Request::new(path).get(name, &kube::api::GetParams::default()))?;
        match self.ask(request).await {
            Ok(object) => Ok(Some(object)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes an object; succeeds if there is none.
    pub(crate) async fn delete(
        &self,
        path: &str,
        name: &str,
        how: &kube::api::DeleteParams,
    ) -> Result<(), RequestError> {
        let request = self.built(Request::new(path).delete(name, how))?;
        match self.ask::<serde_json::Value>(request).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_gone() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a request whose answer goes on; only its head has a timeout.
    pub(crate) async fn open(&self, request: http::Request<Vec<u8>>) -> Result<Body, RequestError> {
        let response = self.in_time(self.send(request)).await?;
        Ok(response.into_body())
    }

    /// Sends a request for a short text, such as the end of a log.
    pub(crate) async fn text(&self, request: http::Request<Vec<u8>>) -> Result<Bytes, RequestError> {
        self.in_time(async { self.whole(self.send(request).await?).await }).await
    }

    pub(crate) fn built(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<http::Request<Vec<u8>>, RequestError> {
        request.map_err(|e| RequestError::Other(ClusterError::Settings(format!("A request could not be built: {e}"))))
    }

    /// A failed request, in words for people.
    pub(crate) fn explain(&self, failure: RequestError, asked: &Asked<'_>) -> ClusterError {
        match failure {
            RequestError::Other(error) => error,
            RequestError::Api(status) => words::refused(&status, asked, &self.server, |text| {
                redacted(text, &self.secrets, asked.workload, asked.namespace)
            }),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
        tokio::time::timeout(ANSWER_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| Err(RequestError::Other(words::slow(&self.server))))
    }

    /// Returns the head of the answer. Reads the whole answer if it is an error.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Body>, RequestError> {
        let sent = self.client.send(request.map(Body::from)).await;
        let response = sent.map_err(|e| RequestError::Other(words::unreachable(&e, &self.server)))?;
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        let bytes = self.whole(response).await?;
        let small = bytes.iter().filter(|byte| **byte == b'{').count() <= MAX_ANSWER_OBJECTS;
        let status = small
            .then(|| serde_json::from_slice::<Status>(&bytes).ok())
            .flatten()
            .filter(|status| status.status.is_some());
        let Some(mut status) = status else {
            return Err(RequestError::Other(words::not_of_an_api(code, &self.server)));
        };
        status.code = code.as_u16();
        Err(RequestError::Api(Box::new(status)))
    }

    async fn whole(&self, response: http::Response<Body>) -> Result<Bytes, RequestError> {
        match Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(_) => Err(RequestError::Other(words::broke_off(&self.server))),
        }
    }
}
