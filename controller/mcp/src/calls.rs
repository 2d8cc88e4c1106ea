//! Calls under way in this process, so that a client's `notifications/cancelled` finds its call. There are no sessions:
//! a client gets a name when it initializes (`Mcp-Session-Id`), which is neither stored nor checked, and a call is
//! found by API key, that name and the request's id. A notification that reaches another controller, or lacks the name,
//! cancels nothing; closing the request's connection always does.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use cofferdam_core::{Caller, RandomError, random};
use parking_lot::Mutex;

pub(crate) const CLIENT: HeaderName = HeaderName::from_static("mcp-session-id");

/// Longer messages are neither `initialize` nor `notifications/cancelled`, and are not parsed here.
const MAX_PEEKED_BYTES: usize = 16 << 10;
/// Calls that can be cancelled by a notification; further ones run but cannot be found.
const MAX_CALLS: usize = 16_384;
/// The longest request id that is remembered.
const MAX_ID: usize = 128;

/// The fields of a message that matter here.
#[derive(Debug, Deserialize)]
struct Head {
    method: String,
    #[serde(default)]
    params: Option<Params>,
}

#[derive(Debug, Deserialize)]
struct Params {
    #[serde(default, rename = "requestId")]
    request: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    key: String,
    client: String,
    /// As JSON, because 5 and "5" are different ids.
    request: String,
}

impl Name {
    fn new(caller: &Caller, headers: &HeaderMap, request: &Value) -> Option<Self> {
        let client = headers.get(CLIENT)?.to_str().ok().filter(|text| text.len() == 32)?;
        let request = request.to_string();
        (request.len() <= MAX_ID).then(|| Self { key: caller.key.clone(), client: client.to_owned(), request })
    }
}

#[derive(Default)]
pub(crate) struct Calls {
    under_way: Mutex<HashMap<Name, CancellationToken>>,
}

/// A call that can be cancelled; forgotten on drop.
pub(crate) struct UnderWay {
    calls: Arc<Calls>,
    name: Option<Name>,
    cancelled: CancellationToken,
}

impl UnderWay {
    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.cancelled.cancelled()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.calls.under_way.lock().remove(name);
        }
    }
}

impl Calls {
    /// Remembers a call. A second call with the same id cannot be cancelled: the id would be ambiguous.
    pub(crate) fn begin(self: &Arc<Self>, caller: &Caller, headers: &HeaderMap, request: &Value) -> UnderWay {
        let cancelled = CancellationToken::new();
        let name = Name::new(caller, headers, request).filter(|name| {
            let mut under_way = self.under_way.lock();
            let free = under_way.len() < MAX_CALLS && !under_way.contains_key(name);
            if free {
                under_way.insert(name.clone(), cancelled.clone());
            }
            free
        });
        UnderWay { calls: Arc::clone(self), name, cancelled }
    }

    /// Inspects a message before it is answered. A cancellation cancels its call; an `initialize` from a client without
    /// a name returns a new name for it.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub(crate) fn look(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        message: &[u8],
    ) -> Result<Option<HeaderValue>, RandomError> {
        if message.len() > MAX_PEEKED_BYTES {
            return Ok(None);
        }
        let Ok(head) = serde_json::from_slice::<Head>(message) else { return Ok(None) };
        match (head.method.as_str(), head.params.and_then(|params| params.request)) {
            ("initialize", _) if !headers.contains_key(CLIENT) => {
                Ok(HeaderValue::from_str(&hex::encode(random::<16>()?)).ok())
            }
            ("notifications/cancelled", Some(request)) => {
                let name = Name::new(caller, headers, &request);
                let under_way = self.under_way.lock();
                if let Some(call) = name.and_then(|name| under_way.get(&name)) {
                    call.cancel();
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}
