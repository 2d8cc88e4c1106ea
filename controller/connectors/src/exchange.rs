//! One request and its answer, as JSON or as events: progress on the way, the server's own requests answered or refused, a
//! stream that was cut taken up again where it was left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::http::{Answer, Bounds};
use crate::link::Link;
use crate::rpc::{Message, messages};
use crate::sse::Reader;
use crate::wire::{Fault, Head};

/// The most bytes of one answer, its events together.
pub(crate) const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Requests of a server that are answered while it owes an answer.
const MAX_ASKED_BACK: usize = 32;
/// Attempts in a row to take up a stream again.
const MAX_RESUMED: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The time for a word that needs no answer.
const WORD_TIMEOUT: Duration = Duration::from_secs(10);

/// The progress of a call, as the server says.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub progress: f64,
    pub total: Option<f64>,
    pub message: Option<String>,
}

/// Called with each progress of a call.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProgress {
    progress_token: Value,
    progress: f64,
    total: Option<f64>,
    message: Option<String>,
}

/// The purpose of a request.
pub(crate) struct Wanted {
    pub(crate) deadline: Instant,
    pub(crate) max_bytes: usize,
    pub(crate) progress: Option<OnProgress>,
    /// The server is told when nobody waits for the answer any more.
    pub(crate) cancels: bool,
}

/// The state while an answer is read.
struct Reading<'a> {
    link: &'a Arc<Link>,
    head: &'a Head,
    id: u64,
    wanted: &'a Wanted,
    left: usize,
    asked_back: usize,
}

/// Tells the server that nobody waits any more, when it is dropped before the answer.
struct Cancel {
    link: Arc<Link>,
    head: Head,
    id: u64,
    armed: bool,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let params = json!({ "requestId": self.id, "reason": "the caller does not wait any more" });
        let word = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        tell(&self.link, &self.head, &word, true);
    }
}

/// Sends a word that needs no answer, beside everything else. Where too many are under way it waits a while, or is left out.
pub(crate) fn tell(link: &Arc<Link>, head: &Head, word: &Value, waits: bool) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !waits && link.words.available_permits() == 0 {
        return;
    }
    let (link, head, body) = (Arc::clone(link), head.clone(), Bytes::from(word.to_string()));
    runtime.spawn(async move {
        let deadline = Instant::now() + WORD_TIMEOUT;
        let place = match waits {
            true => timeout_at(deadline, link.words.acquire()).await.ok().and_then(Result::ok),
            false => link.words.try_acquire().ok(),
        };
        let Some(_place) = place else { return };
        let bounds = Bounds { max_bytes: 64 << 10, idle: WORD_TIMEOUT, deadline };
        match timeout_at(deadline, link.wire.post(&head, body, bounds)).await {
            // A drip of bytes does not hold the place.
            Ok(Ok(answer)) => drop(timeout_at(deadline, answer.body.whole(64 << 10)).await),
            other => tracing::debug!(failed = ?other.map(|sent| sent.err()), "a word to an MCP server was lost"),
        }
    });
}

/// Sends a request and waits for its result, as JSON.
pub(crate) async fn exchange(
    link: &Arc<Link>,
    head: &Head,
    method: &str,
    mut params: Value,
    wanted: &Wanted,
) -> Result<String, Fault> {
    let id = link.next_id();
    if wanted.progress.is_some()
        && let Some(params) = params.as_object_mut()
        && let Some(meta) = params.entry("_meta").or_insert_with(|| json!({})).as_object_mut()
    {
        meta.insert("progressToken".to_owned(), json!(id));
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
    let mut cancel = Cancel { link: Arc::clone(link), head: head.clone(), id, armed: wanted.cancels };
    let bounds = Bounds { max_bytes: wanted.max_bytes, idle: link.idle, deadline: wanted.deadline };
    let sent = timeout_at(wanted.deadline, link.wire.post(head, body.into(), bounds)).await;
    let answer = match sent {
        Err(_) => return Err(Fault::Unknown("the server did not answer in time".to_owned())),
        Ok(Ok(answer)) => answer,
        Ok(Err(fault)) => {
            // Nobody works on it, as far as we know; after a silence somebody may.
            cancel.armed &= matches!(fault, Fault::Unknown(_));
            return Err(fault);
        }
    };
    let result = answer_of(link, head, id, wanted, answer).await;
    cancel.armed &= matches!(result, Err(Fault::Unknown(_)));
    result
}

/// Reads the answer to the request with this id, whose head has come.
pub(crate) async fn answer_of(
    link: &Arc<Link>,
    head: &Head,
    id: u64,
    wanted: &Wanted,
    answer: Answer,
) -> Result<String, Fault> {
    let mut reading = Reading { link, head, id, wanted, left: wanted.max_bytes, asked_back: 0 };
    let read = timeout_at(wanted.deadline, reading.answer(answer)).await;
    read.unwrap_or_else(|_| Err(Fault::Unknown("the server did not answer in time".to_owned())))
}

impl Reading<'_> {
    async fn answer(&mut self, answer: Answer) -> Result<String, Fault> {
        let kind = answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" => {
                let bytes = answer.body.whole(self.left).await.map_err(Fault::Unknown)?;
                let none = || Fault::Unknown("the server's answer does not answer the request".to_owned());
                self.read(text(&bytes)?)?.ok_or_else(none)?
            }
            "text/event-stream" => self.events(answer).await,
            _ => Err(Fault::Unknown("the server's answer is neither JSON nor a stream of events".to_owned())),
        }
    }

    async fn events(&mut self, mut answer: Answer) -> Result<String, Fault> {
        let mut reader = Reader::default();
        let mut failures = 0;
        loop {
            let why = loop {
                let piece = match answer.body.piece().await {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break "the server ended the stream before the answer".to_owned(),
                    Err(why) => break why,
                };
                self.left = self.left.checked_sub(piece.len()).ok_or_else(|| {
                    Fault::Unknown(format!("the server's answer is longer than {} bytes", self.wanted.max_bytes))
                })?;
                for event in reader.push(&piece) {
                    failures = 0;
                    // The first event of a stream may be there only to give an id.
                    if event.data.is_empty() || !matches!(event.name.as_str(), "" | "message") {
                        continue;
                    }
                    if let Some(result) = self.read(&event.data)? {
                        return result;
                    }
                }
            };
            answer = self.resume(&mut reader, &mut failures, why).await?;
        }
    }

    /// Takes up a stream again, where the server gave its events ids.
    async fn resume(&mut self, reader: &mut Reader, failures: &mut u32, why: String) -> Result<Answer, Fault> {
        let lost = || Fault::Unknown(why.clone());
        let Some(last) = reader.last_id().map(str::to_owned) else { return Err(lost()) };
        // A line that was cut comes again.
        let retry = reader.retry;
        *reader = Reader::after(&last, retry);
        loop {
            *failures += 1;
            if *failures > MAX_RESUMED {
                return Err(lost());
            }
            let backoff = cofferdam_core::backoff(FIRST_WAIT, LONGEST_WAIT, *failures);
            sleep(retry.unwrap_or(backoff).max(FIRST_WAIT)).await;
            let bounds =
                Bounds { max_bytes: self.wanted.max_bytes, idle: self.link.idle, deadline: self.wanted.deadline };
            match self.link.wire.listen(self.head, Some(&last), bounds).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::NotSent(..) | Fault::Unknown(_)) => {}
                Err(_) => return Err(lost()),
            }
        }
    }

    /// Takes in messages. Gives our answer, if it is among them.
    fn read(&mut self, text: &str) -> Result<Option<Result<String, Fault>>, Fault> {
        let mut found = None;
        for message in messages(text).map_err(|why| Fault::Unknown(why.to_owned()))? {
            match message {
                Message::Result { id, result } if id == self.id => found = found.or(Some(Ok(result.to_owned()))),
                Message::Error { id, code, message } if id.is_none_or(|id| id == self.id) => {
                    let words = self.head.scrub.said(&message);
                    found = found.or(Some(Err(Fault::Answered(format!("the server refuses ({code}): {words}")))));
                }
                // Answers to requests that were never made.
                Message::Result { .. } | Message::Error { .. } => {}
                Message::Notification { method, params } => self.note(&method, params),
                Message::Request { id, method } => self.asked(id, &method),
            }
        }
        Ok(found)
    }

    fn note(&self, method: &str, params: Option<&str>) {
        match method {
            "notifications/tools/list_changed" => self.link.tools_changed(),
            "notifications/progress" => {
                let Some(on_progress) = &self.wanted.progress else { return };
                let progress = params.and_then(|params| serde_json::from_str::<RawProgress>(params).ok());
                let Some(progress) = progress.filter(|one| one.progress_token.as_u64() == Some(self.id)) else {
                    return;
                };
                let message = progress.message.map(|message| self.head.scrub.said(&message));
                on_progress(Progress { progress: progress.progress, total: progress.total, message });
            }
            _ => {}
        }
    }

    /// Answers a ping, and refuses everything else that a server may ask of a client.
    fn asked(&mut self, id: &str, method: &str) {
        self.asked_back += 1;
        if self.asked_back > MAX_ASKED_BACK {
            return;
        }
        if let Some(word) = reply(id, method) {
            tell(self.link, self.head, &word, false);
        }
    }
}

/// The answer to a request of the server.
pub(crate) fn reply(id: &str, method: &str) -> Option<Value> {
    let id: Value = serde_json::from_str(id).ok()?;
    Some(match method {
        "ping" => json!({ "jsonrpc": "2.0", "id": id, "result": {} }),
        _ => {
            let error =
                json!({ "code": -32601, "message": "This client offers neither sampling, elicitation nor roots." });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    })
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Unknown("the server's answer is not UTF-8".to_owned()))
}
