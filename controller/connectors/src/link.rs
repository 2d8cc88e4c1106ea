//! The way to one server for one person: its session, begun anew when the server lost it; credentials, renewed when they are
//! refused; places for calls at once; the breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::work::{ConnectorSpec, McpVersion};
use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::breaker::Breaker;
use crate::clean::said;
use crate::credentials::Credentials;
use crate::error::CallError;
use crate::exchange::{Wanted, exchange};
use crate::http::Bounds;
use crate::listing::Listed;
use crate::wire::{Fault, Head, SESSION, Wire};

/// The longest answer to `initialize`.
const MAX_HELLO_BYTES: usize = 1 << 20;
/// The longest id of a session.
const MAX_SESSION_BYTES: usize = 1_024;
/// Words that need no answer, under way at once: a server that asks without end, and answers nothing, holds so many connections.
const MAX_WORDS: usize = 8;
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// A session with a server.
pub(crate) struct Session {
    id: Option<HeaderValue>,
    pub(crate) version: McpVersion,
    /// The server's name and version, as it says.
    pub(crate) server: String,
    /// It tells when its tools change.
    tells: bool,
}

/// The way to a server.
pub(crate) struct Link {
    pub(crate) wire: Wire,
    pub(crate) spec: ConnectorSpec,
    pub(crate) idle: Duration,
    /// The version of the connector's row.
    pub(crate) row: String,
    pub(crate) credentials: Credentials,
    session: Mutex<Option<Arc<Session>>>,
    ids: AtomicU64,
    slots: Semaphore,
    pub(crate) words: Semaphore,
    breaker: Breaker,
    pub(crate) listed: Mutex<Option<Listed>>,
    /// Counts the changes of the server's tools that it told.
    changes: AtomicU64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hello {
    protocol_version: String,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    server_info: ServerInfo,
}

#[derive(Default, Deserialize)]
struct Capabilities {
    tools: Option<ToolsCapability>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolsCapability {
    #[serde(default)]
    list_changed: bool,
}

#[derive(Default, Deserialize)]
struct ServerInfo {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

impl Link {
    pub(crate) fn new(wire: Wire, spec: ConnectorSpec, row: String, credentials: Credentials) -> Self {
        let idle = Duration::from_secs(spec.idle_s.unwrap_or(crate::spec::DEFAULT_IDLE_S));
        let slots = usize::try_from(spec.concurrency.unwrap_or(crate::spec::DEFAULT_CONCURRENCY)).unwrap_or(1);
        Self {
            wire,
            spec,
            idle,
            row,
            credentials,
            session: Mutex::default(),
            ids: AtomicU64::new(1),
            slots: Semaphore::new(slots),
            words: Semaphore::new(MAX_WORDS),
            breaker: Breaker::default(),
            listed: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The server says that it has other tools.
    pub(crate) fn tools_changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes a request of the session. The session is begun if there is none.
    pub(crate) async fn request(
        self: &Arc<Self>,
        method: &str,
        params: Value,
        wanted: &Wanted,
    ) -> Result<(String, Arc<Session>), CallError> {
        if let Err(wait) = self.breaker.ready() {
            let why = "the server failed several times in a row and is left alone for a while".to_owned();
            return Err(CallError::NotSent { why, retry_after: Some(wait) });
        }
        let place = timeout_at(wanted.deadline, self.slots.acquire()).await;
        let _place = match place {
            Ok(Ok(place)) => place,
            _ => return Err(CallError::not_sent("too many calls of this connector are under way")),
        };
        let (mut begun_anew, mut renewed) = (false, false);
        loop {
            let held = self.credentials.get(self, wanted.deadline).await?;
            let tried = async {
                let session = self.session(&held.head, wanted.deadline).await?;
                let head = Head { session: session.id.clone(), version: Some(session.version), ..held.head.clone() };
                let answer = exchange(self, &head, method, params.clone(), wanted).await;
                answer.map(|answer| (answer, Arc::clone(&session))).map_err(|fault| {
                    if matches!(fault, Fault::SessionLost(_)) { (fault, Some(session)) } else { (fault, None) }
                })
            };
            let (fault, lost) = match tried.await {
                Ok(answer) => {
                    self.breaker.good();
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            match fault {
                // Refused with 404: it was not done.
                Fault::SessionLost(_) if !begun_anew => {
                    begun_anew = true;
                    self.forget(lost).await;
                }
                Fault::Unauthorized(challenge) => {
                    self.breaker.good();
                    self.credentials.refused(self, &held, challenge, renewed, wanted.deadline).await?;
                    renewed = true;
                }
                fault => return Err(self.failed(fault)),
            }
        }
    }

    fn failed(&self, fault: Fault) -> CallError {
        match fault {
            Fault::NotSent(why, retry_after) => {
                if retry_after.is_none() {
                    self.breaker.failed();
                }
                CallError::NotSent { why, retry_after }
            }
            Fault::Unknown(why) => {
                self.breaker.failed();
                CallError::Unknown(why)
            }
            Fault::Forbidden(why) => CallError::Refused(why),
            Fault::Answered(why) | Fault::SessionLost(why) => {
                self.breaker.good();
                CallError::Answered(why)
            }
            Fault::Unauthorized(_) => {
                CallError::Answered("the server refuses the connector's credentials (401)".to_owned())
            }
        }
    }

    /// Forgets a session that the server does not know, unless there is another one by now.
    async fn forget(&self, lost: Option<Arc<Session>>) {
        let mut held = self.session.lock().await;
        if let (Some(now), Some(lost)) = (held.as_ref(), lost.as_ref())
            && Arc::ptr_eq(now, lost)
        {
            *held = None;
        }
    }

    async fn session(
        self: &Arc<Self>,
        head: &Head,
        deadline: Instant,
    ) -> Result<Arc<Session>, (Fault, Option<Arc<Session>>)> {
        let late = |_| (Fault::NotSent("the session with the server was not begun in time".to_owned(), None), None);
        let mut held = timeout_at(deadline, self.session.lock()).await.map_err(late)?;
        if let Some(session) = held.as_ref() {
            return Ok(Arc::clone(session));
        }
        let begun = self.begin(head, deadline.min(Instant::now() + HELLO_TIMEOUT)).await;
        // A session that was not begun has no effect: the call itself was not sent.
        let session = begun.map_err(|fault| match fault {
            Fault::Unknown(why) => (Fault::NotSent(why, None), None),
            other => (other, None),
        })?;
        let session = Arc::clone(held.insert(Arc::new(session)));
        if session.tells {
            let head = Head { session: session.id.clone(), version: Some(session.version), ..head.clone() };
            crate::listener::start(self, &session, head);
        }
        Ok(session)
    }

    /// Begins a session: who we are, which version is spoken.
    async fn begin(self: &Arc<Self>, head: &Head, deadline: Instant) -> Result<Session, Fault> {
        let head = Head { session: None, version: None, ..head.clone() };
        let id = self.next_id();
        let params = json!({
            "protocolVersion": McpVersion::NEWEST.as_str(),
            "capabilities": {},
            "clientInfo": { "name": "cofferdam", "version": env!("CARGO_PKG_VERSION") },
        });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": params }).to_string();
        let bounds = Bounds { max_bytes: MAX_HELLO_BYTES, idle: self.idle, deadline };
        let answer = self.wire.post(&head, body.into(), bounds).await?;
        let session = answer.headers.get(SESSION).cloned();
        if session.as_ref().is_some_and(|id| id.len() > MAX_SESSION_BYTES || id.to_str().is_err()) {
            return Err(Fault::Answered(
                "the id of the server's session is too long, or not of visible characters".to_owned(),
            ));
        }
        let wanted = Wanted { deadline, max_bytes: MAX_HELLO_BYTES, progress: None, cancels: false };
        let hello = crate::exchange::answer_of(self, &head, id, &wanted, answer).await?;
        let hello: Hello = serde_json::from_str(&hello)
            .map_err(|_| Fault::Answered("the server's answer to `initialize` cannot be read".to_owned()))?;
        let version: McpVersion = hello.protocol_version.parse().map_err(|_| {
            Fault::Answered(format!(
                "the server speaks the version {:?}, which this client does not",
                said(&hello.protocol_version)
            ))
        })?;
        if self.spec.min_protocol.is_some_and(|min| version < min) {
            return Err(Fault::Answered(format!(
                "the server speaks the version {}, which is too old",
                version.as_str()
            )));
        }
        let head = Head { session: session.clone(), version: Some(version), ..head };
        let ready = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let told = self.wire.post(&head, ready, bounds).await?;
        told.body.whole(MAX_HELLO_BYTES).await.map_err(Fault::Unknown)?;
        let server = head.scrub.said(&format!("{} {}", hello.server_info.name, hello.server_info.version));
        let tells = hello.capabilities.tools.is_some_and(|tools| tools.list_changed);
        Ok(Session { id: session, version, server, tells })
    }

    /// Ends the session at the server, beside everything else.
    pub(crate) fn close(self: &Arc<Self>) {
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let Some(session) = link.session.lock().await.take() else { return };
            let deadline = Instant::now() + HELLO_TIMEOUT;
            let Ok(held) = link.credentials.get(&link, deadline).await else { return };
            let head = Head { session: session.id.clone(), version: Some(session.version), ..held.head.clone() };
            if head.session.is_some() {
                link.wire.end(&head, Bounds { max_bytes: 64 << 10, idle: HELLO_TIMEOUT, deadline }).await;
            }
        });
    }
}
