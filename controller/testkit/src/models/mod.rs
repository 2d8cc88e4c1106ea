//! The providers of models as a scripted server on loopback: each one's wire, streaming and not, and every way in which an
//! upstream can misbehave.
//!
//! A caller says what it wants by the model's name, so that an unmodified client can ask for it: `trouble.NAME` is a
//! [`Trouble`], `words.COUNT.PAUSE_MS` a longer or slower answer, any other name a good answer at once. A test can say it with
//! [`FakeModels::trouble`] too. A key that contains `refused`, `limited` or `broke` is answered as such a key is.
//! A path may begin with `/as/NAME`, by which a test tells its upstreams apart.
//! Knows nothing of the gateway: the official clients speak to it directly as well.

mod ask;
mod bedrock;
mod body;
mod chat;
mod messages;
mod misbehave;
mod other;
mod responses;
mod script;
mod serve;
mod standalone;
mod trouble;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

pub use script::{CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, REASONING_TOKENS};
pub use standalone::{FakeProcess, run_if_asked};
pub use trouble::Trouble;

/// Requests that are kept for assertions; older ones are forgotten.
const MAX_SEEN: usize = 4_096;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    pub method: http::Method,
    /// The path with its query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl SeenRequest {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Shared {
    keep: bool,
    seen: Mutex<VecDeque<SeenRequest>>,
    next: Mutex<VecDeque<Trouble>>,
    failures: Mutex<HashMap<String, u64>>,
    calls: AtomicU64,
    open: AtomicUsize,
    cancelled: AtomicUsize,
    finished: AtomicUsize,
}

/// The server, for as long as this value lives.
pub struct FakeModels {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl FakeModels {
    /// Starts it within this runtime.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { keep: true, ..Shared::default() });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve::accept(listener, Arc::clone(&shared))));
        Self { shared, address, stop }
    }

    /// The address without a path: `http://127.0.0.1:PORT`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next call gets this, whatever model it asks for. Several wait in turn.
    pub fn trouble(&self, trouble: Trouble) {
        self.shared.next.lock().unwrap().push_back(trouble);
    }

    /// Requests since the last call of this.
    pub fn take_seen(&self) -> Vec<SeenRequest> {
        self.shared.seen.lock().unwrap().drain(..).collect()
    }

    /// All requests, refused ones among them.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Streams that are being sent now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Answers whose caller went away before the end.
    pub fn cancelled(&self) -> usize {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// Streams that were sent to the end.
    pub fn finished(&self) -> usize {
        self.shared.finished.load(Ordering::SeqCst)
    }
}

impl Drop for FakeModels {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
