//! Calls under way in this process, so that a client's `notifications/cancelled` finds its call. There is no session
//! behind it: a client gets a name when it initializes (`Mcp-Session-Id`), which nobody keeps or checks, and a call is
//! found by key, that name and the request's id. A notification that reaches another controller, or comes without the
//! name, cancels nothing; closing the request's connection always does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::Error;
use crate::auth::{Caller, hex};
use crate::clock::random;

pub const CLIENT: HeaderName = HeaderName::from_static("mcp-session-id");

/// Longer messages are neither of those that are looked at here.
const SHORT: usize = 16 << 10;
/// Calls that can be found; further ones run all the same.
const MOST: usize = 16_384;
/// The longest id of a request that is remembered.
const MAX_ID: usize = 128;

/// What is looked at of a message.
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
    /// In JSON: 5 and "5" are two.
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
pub struct Calls {
    under_way: Mutex<HashMap<Name, CancellationToken>>,
}

/// A call that may be cancelled; forgotten when it is dropped.
pub struct UnderWay {
    calls: Arc<Calls>,
    name: Option<Name>,
    cancelled: CancellationToken,
}

impl UnderWay {
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.cancelled.cancelled()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.calls.under_way.lock().unwrap_or_else(|e| e.into_inner()).remove(name);
        }
    }
}

impl Calls {
    /// Remembers a call. One whose name is taken is not found: a client that uses an id twice means either.
    pub fn begin(self: &Arc<Self>, caller: &Caller, headers: &HeaderMap, request: &Value) -> UnderWay {
        let cancelled = CancellationToken::new();
        let name = Name::new(caller, headers, request).filter(|name| {
            let mut under_way = self.under_way.lock().unwrap_or_else(|e| e.into_inner());
            let free = under_way.len() < MOST && !under_way.contains_key(name);
            if free {
                under_way.insert(name.clone(), cancelled.clone());
            }
            free
        });
        UnderWay { calls: Arc::clone(self), name, cancelled }
    }

    /// Looks at a message before it is answered: cancels the call that a notification names; the name that a client gets
    /// which initializes and has none.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn look(&self, caller: &Caller, headers: &HeaderMap, message: &[u8]) -> Result<Option<HeaderValue>, Error> {
        if message.len() > SHORT {
            return Ok(None);
        }
        let Ok(head) = serde_json::from_slice::<Head>(message) else { return Ok(None) };
        match (head.method.as_str(), head.params.and_then(|params| params.request)) {
            ("initialize", _) if !headers.contains_key(CLIENT) => {
                Ok(HeaderValue::from_str(&hex(&random::<16>()?)).ok())
            }
            ("notifications/cancelled", Some(request)) => {
                let name = Name::new(caller, headers, &request);
                let under_way = self.under_way.lock().unwrap_or_else(|e| e.into_inner());
                if let Some(call) = name.and_then(|name| under_way.get(&name)) {
                    call.cancel();
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}
