//! Requests to an API server and their answers, each bounded in time and size. Other modules interpret them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Request;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::answers::{List, Status};
use crate::held::{Held, Room, Taken};
use crate::ours::{Ours, Pieces};
use crate::words::{self, Asked};
use crate::{ClusterError, names};

/// The timeout from a request to the end of its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer: a list of many large objects.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// The longest list, all its pages together.
const MAX_LIST_BYTES: usize = 8 * MAX_ANSWER_BYTES;
/// The timeout of a list, all its pages together.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest text of which the end is read: the last lines of a log.
const MAX_TAILED_BYTES: usize = 64 << 20;
/// Times that a list is begun again because it changed too much between two pages.
const MAX_LIST_TRIES: usize = 3;

/// A client of one API server.
pub(crate) struct Wire {
    client: kube::Client,
    /// `host:port`, for error texts.
    server: String,
    /// Our credentials, which an answer might echo.
    ours: Arc<Ours>,
    /// The room for the answers of all clusters.
    room: Room,
    /// The settings say that the server's certificate does not count.
    pub(crate) unverified: bool,
}

/// A request as kube builds it.
pub(crate) type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// A request failed.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The API server refused it.
    Api(Refusal),
    /// No answer came, or not one of an API server.
    Other(ClusterError),
}

/// An API server's refusal. The message can hold secrets.
pub(crate) struct Refusal {
    pub code: u16,
    pub message: String,
}

/// Never the message.
impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refusal").field("code", &self.code).finish_non_exhaustive()
    }
}

/// The way in which an answer is read.
#[derive(Clone, Copy)]
enum Read {
    /// Without our credentials: parts of it may be shown.
    Scrubbed,
    /// As it came, because it goes back to the cluster. Nothing of it is shown.
    AsItCame,
}

/// The parts of the objects that a list has.
#[derive(Clone, Copy)]
pub(crate) enum Listed {
    Objects,
    Metadata,
}

impl RequestError {
    pub(crate) fn is_gone(&self) -> bool {
        self.has_code(404)
    }

    pub(crate) fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Api(refusal) if refusal.code == code)
    }
}

impl Wire {
    pub(crate) fn new(client: kube::Client, server: String, ours: Arc<Ours>, room: Room, unverified: bool) -> Self {
        Self { client, server, ours, room, unverified }
    }

    /// Sends a request and parses the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Built) -> Result<T, RequestError> {
        self.ask_within(request, MAX_ANSWER_BYTES, Read::Scrubbed, &mut self.room.begin()).await
    }

    /// Sends a request and parses the answer, which has at most `most` bytes. They take room.
    async fn ask_within<T: DeserializeOwned>(
        &self,
        request: Built,
        most: usize,
        read: Read,
        taken: &mut Taken,
    ) -> Result<T, RequestError> {
        let most = MAX_ANSWER_BYTES.min(most);
        let whole = async { self.whole(self.send(request).await?.into_body(), most, taken).await };
        let bytes = self.in_time(whole).await?;
        let bytes = match read {
            Read::Scrubbed => self.scrubbed(bytes)?,
            Read::AsItCame => bytes,
        };
        serde_json::from_slice(&bytes).map_err(|e| {
            // A server that ends an answer by closing the connection can only be caught so.
            let failed = if e.is_eof() { words::broke_off } else { words::no_api };
            RequestError::Other(failed(&self.server))
        })
    }

    /// Takes our credentials out of an answer before anything of it is read.
    fn scrubbed(&self, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        self.ours.answer(bytes).map_err(|_| RequestError::Other(words::no_api(&self.server)))
    }

    /// Reads a list page by page, at most `most` pages. A list that expires between two pages is begun again.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        how: kube::api::ListParams,
        what: Listed,
        most: usize,
    ) -> Result<Held<T>, RequestError> {
        self.list_of(path, how, what, most, |_| true).await
    }

    /// The same, and drops at once what is not to be kept.
    pub(crate) async fn list_of<T: DeserializeOwned>(
        &self,
        path: &str,
        how: kube::api::ListParams,
        what: Listed,
        most: usize,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Held<T>, RequestError> {
        let all = async {
            let mut last = None;
            for _ in 0..MAX_LIST_TRIES {
                match self.pages(path, how.clone(), what, most, &keep).await {
                    Err(expired) if expired.has_code(410) => last = Some(expired),
                    read => return read,
                }
            }
            Err(last.unwrap_or_else(|| RequestError::Other(words::broke_off(&self.server))))
        };
        let all = tokio::time::timeout(LIST_TIMEOUT, all).await;
        all.unwrap_or_else(|_| Err(RequestError::Other(words::broke_off(&self.server))))
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        mut how: kube::api::ListParams,
        what: Listed,
        most: usize,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Held<T>, RequestError> {
        let (mut all, mut read, mut room) = (Vec::new(), 0_usize, MAX_LIST_BYTES);
        let mut taken = self.room.begin();
        // A server that knows no pages sends more on each than was asked for, and fewer of them count.
        let items = usize::try_from(how.limit.unwrap_or_default()).unwrap_or_default().saturating_mul(most);
        for _ in 0..most {
            let request = Request::new(path);
            let request = match what {
                Listed::Objects => request.list(&how),
                Listed::Metadata => request.list_metadata(&how),
            };
            let (before, kept) = (taken.bytes(), all.len());
            let page: List<T> = self.ask_within(request, room, Read::Scrubbed, &mut taken).await?;
            room = room.saturating_sub(taken.bytes().saturating_sub(before));
            read = read.saturating_add(page.items.len());
            all.extend(page.items.into_vec().into_iter().filter(|item| keep(item)));
            if all.len() == kept {
                taken.shrink_to(before);
            }
            match page.metadata.next {
                Some(token) if !token.is_empty() && read < items => how.continue_token = Some(token),
                _ => break,
            }
        }
        Ok(taken.with(all))
    }

    /// Writes an object by server-side apply: we own the fields we set, others own the rest.
    pub(crate) async fn apply<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        object: &impl Serialize,
    ) -> Result<T, RequestError> {
        let how = kube::api::PatchParams::apply(names::MANAGER).force();
        self.ask(Request::new(path).patch(name, &how, &kube::api::Patch::Apply(object))).await
    }

    /// Changes some fields of an object.
    pub(crate) async fn merge(&self, path: &str, name: &str, fields: &serde_json::Value) -> Result<(), RequestError> {
        let how = kube::api::PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..Default::default() };
        self.changed(Request::new(path).patch(name, &how, &kube::api::Patch::Merge(fields))).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<Option<T>, RequestError> {
        self.get_read(path, name, Read::Scrubbed).await
    }

    /// Gets an object of which nothing is shown, and which goes back to the cluster as it is.
    pub(crate) async fn get_as_it_is<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
    ) -> Result<Option<T>, RequestError> {
        self.get_read(path, name, Read::AsItCame).await
    }

    async fn get_read<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        read: Read,
    ) -> Result<Option<T>, RequestError> {
        let request = Request::new(path).get(name, &kube::api::GetParams::default());
        match self.ask_within(request, MAX_ANSWER_BYTES, read, &mut self.room.begin()).await {
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
        match self.changed(Request::new(path).delete(name, how)).await {
            Err(failure) if failure.is_gone() => Ok(()),
            deleted => deleted,
        }
    }

    /// Sends a request of whose answer only the success counts.
    pub(crate) async fn changed(&self, request: Built) -> Result<(), RequestError> {
        self.ask::<IgnoredAny>(request).await.map(drop)
    }

    /// Sends a request whose answer goes on, without our credentials; only its head has a timeout.
    pub(crate) async fn open(&self, request: Built) -> Result<Pieces, RequestError> {
        let response = self.in_time(self.send(request)).await?;
        Ok(self.ours.log(response.into_body().into_data_stream().map_err(drop).boxed()))
    }

    /// Sends a request for a text and returns its last `most` bytes, without our credentials.
    pub(crate) async fn tail(&self, request: Built, most: usize) -> Result<Vec<u8>, RequestError> {
        self.in_time(async {
            let mut body = self.send(request).await?.into_body();
            let (mut kept, mut read) = (Vec::new(), 0_usize);
            while let Some(piece) = self.piece(&mut body).await? {
                read = read.saturating_add(piece.len());
                if read > MAX_TAILED_BYTES {
                    return Err(RequestError::Other(words::broke_off(&self.server)));
                }
                let piece = piece.get(piece.len().saturating_sub(most)..).unwrap_or_default();
                kept.extend_from_slice(piece);
                // Seldom, so that small pieces are not moved each time.
                if kept.len() > most.saturating_mul(2) {
                    kept.drain(..kept.len() - most);
                }
            }
            kept.drain(..kept.len().saturating_sub(most));
            self.scrubbed(kept)
        })
        .await
    }

    /// A failed request, in words for people.
    pub(crate) fn explain(&self, failure: RequestError, asked: &Asked<'_>) -> ClusterError {
        match failure {
            RequestError::Other(error) => error,
            RequestError::Api(refusal) => words::refused(&refusal, asked, &self.server, |text| self.scrub(text)),
        }
    }

    /// Takes our credentials out of a cluster's text.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.ours.text(text)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
        tokio::time::timeout(ANSWER_TIMEOUT, work)
            .await
            .unwrap_or_else(|_| Err(RequestError::Other(words::slow(&self.server))))
    }

    /// Returns the head of the answer. Reads the whole answer if it is an error.
    async fn send(&self, request: Built) -> Result<http::Response<Body>, RequestError> {
        let request = request
            .map_err(|e| RequestError::Other(ClusterError::Settings(format!("A request could not be built: {e}"))))?;
        let sent = self.client.send(request.map(Body::from)).await;
        let response = sent.map_err(|e| RequestError::Other(words::unreachable(&e, &self.server)))?;
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        let bytes = self.whole(response.into_body(), MAX_ANSWER_BYTES, &mut self.room.begin()).await?;
        match serde_json::from_slice::<Status>(&bytes) {
            Ok(Status { outcome: Some(_), message }) => {
                Err(RequestError::Api(Refusal { code: code.as_u16(), message: message.unwrap_or_default() }))
            }
            _ => Err(RequestError::Other(words::not_of_an_api(code, &self.server))),
        }
    }

    /// Reads a body of at most `most` bytes, once there is room for them.
    async fn whole(&self, mut body: Body, most: usize, taken: &mut Taken) -> Result<Vec<u8>, RequestError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(&mut body).await? {
            if bytes.len() + piece.len() > most {
                return Err(RequestError::Other(words::broke_off(&self.server)));
            }
            taken.grow(piece.len()).await;
            // Copied, because a piece of one byte keeps the whole buffer that it came in.
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The next piece of a body; empty for what is no data.
    async fn piece(&self, body: &mut Body) -> Result<Option<bytes::Bytes>, RequestError> {
        match body.frame().await {
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(_)) => Err(RequestError::Other(words::broke_off(&self.server))),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_these_bounds() {
        let document = include_str!("../../../docs/security.md").split_whitespace().collect::<Vec<_>>().join(" ");
        for says in [
            format!("whole answer have {} s", ANSWER_TIMEOUT.as_secs()),
            format!("at most {} MiB, a list at most {} MiB", MAX_ANSWER_BYTES >> 20, MAX_LIST_BYTES >> 20),
            format!("whole list {} s", LIST_TIMEOUT.as_secs()),
            format!("together hold at most {} MiB", crate::held::MAX_HELD_BYTES >> 20),
            format!("pages of at most {} objects", crate::answers::MAX_ITEMS),
        ] {
            assert!(document.contains(&says), "{says}");
        }
    }
}
