//! Questions to an API server and their answers, each bounded in time and size. What they mean is decided elsewhere.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::core::{Request, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ClusterError;
use super::words::{self, Asked};
use crate::config::Secret;

/// From a question to the whole of its answer.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// The longest answer: a list of many objects with much in them.
const MOST: usize = 8 * 1_024 * 1_024;

/// An API server, and what may not be repeated of what it says.
pub(super) struct Wire {
    client: kube::Client,
    /// `host:port`, for words.
    server: String,
    /// Credentials that an answer might echo.
    secrets: Vec<Secret>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The API server said no.
    Api(Box<Status>),
    /// There was none, or it was none of an API server.
    Other(ClusterError),
}

impl Failure {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Api(status) if status.code == 404)
    }
}

impl Wire {
    pub(super) fn new(client: kube::Client, server: String, secrets: Vec<Secret>) -> Self {
        Self { client, server, secrets }
    }

    /// An answer as an object.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: http::Request<Vec<u8>>) -> Result<T, Failure> {
        let bytes = self.in_time(async { self.whole(self.send(request).await?).await }).await?;
        serde_json::from_slice(&bytes).map_err(|_| Failure::Other(words::no_api(&self.server)))
    }

    /// Puts an object as server-side apply does: ours is what we say, the rest is others'.
    pub(super) async fn apply<T>(&self, path: &str, name: &str, object: &T) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
    {
        let how = kube::api::PatchParams::apply(super::names::MANAGER).force();
        self.ask(self.built(Request::new(path).patch(name, &how, &kube::api::Patch::Apply(object)))?).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<Option<T>, Failure> {
        let request = self.built(Request::new(path).get(name, &kube::api::GetParams::default()))?;
        match self.ask(request).await {
            Ok(object) => Ok(Some(object)),
            Err(failure) if failure.is_gone() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether there was something to delete.
    pub(super) async fn delete(&self, path: &str, name: &str, how: &kube::api::DeleteParams) -> Result<bool, Failure> {
        let request = self.built(Request::new(path).delete(name, how))?;
        match self.ask::<serde_json::Value>(request).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_gone() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// An answer whose body goes on; only its begin has a time.
    pub(super) async fn open(&self, request: http::Request<Vec<u8>>) -> Result<Body, Failure> {
        let response = self.in_time(self.send(request)).await?;
        Ok(response.into_body())
    }

    /// A short text, such as the end of a log.
    pub(super) async fn text(&self, request: http::Request<Vec<u8>>) -> Result<Bytes, Failure> {
        self.in_time(async { self.whole(self.send(request).await?).await }).await
    }

    pub(super) fn built(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<http::Request<Vec<u8>>, Failure> {
        request.map_err(|e| Failure::Other(ClusterError::Settings(format!("A request could not be made: {e}"))))
    }

    /// The failure of a question, in words for people.
    pub(super) fn explain(&self, failure: Failure, asked: &Asked<'_>) -> ClusterError {
        match failure {
            Failure::Other(error) => error,
            Failure::Api(status) => words::refused(&status, asked, &self.server, |text| self.scrub(text)),
        }
    }

    /// A text of the cluster's without our credentials.
    pub(super) fn scrub(&self, text: &str) -> String {
        let long = self.secrets.iter().map(Secret::expose).filter(|secret| secret.len() >= 6);
        long.fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| Err(Failure::Other(words::slow(&self.server))))
    }

    /// The answer's begin; an error is read to its end.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Body>, Failure> {
        let sent = self.client.send(request.map(Body::from)).await;
        let response = sent.map_err(|e| Failure::Other(words::unreachable(&e, &self.server)))?;
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        let bytes = self.whole(response).await?;
        let status = serde_json::from_slice::<Status>(&bytes).ok().filter(|status| status.status.is_some());
        let Some(mut status) = status else {
            return Err(Failure::Other(words::not_of_an_api(code, &self.server)));
        };
        status.code = code.as_u16();
        Err(Failure::Api(Box::new(status)))
    }

    async fn whole(&self, response: http::Response<Body>) -> Result<Bytes, Failure> {
        match Limited::new(response.into_body(), MOST).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(_) => Err(Failure::Other(words::broke_off(&self.server))),
        }
    }
}
