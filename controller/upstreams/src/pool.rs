//! Connections of one upstream that wait for their next call, newest first; bounded in number and age. A connection whose
//! answer was not read to its end is closed, which is how a caller's cancellation reaches the upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::dial::Sender;

/// A connection that was idle for longer is closed: the other side may be closing it, too.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);
/// Idle connections of one upstream.
const MAX_IDLE: usize = 256;
/// A connection that is not ready again in this time is in the middle of something and is dropped.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Idle {
    senders: Vec<(Sender, Instant)>,
    /// A task closes connections that are idle for too long.
    swept: bool,
}

/// The idle connections.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Idle>);

impl Pool {
    /// Takes the connection that was used last.
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut idle = self.0.lock();
        let fresh = |found: &(Sender, Instant)| !found.0.requests.is_closed() && found.1.elapsed() < MAX_IDLE_TIME;
        std::iter::from_fn(|| idle.senders.pop()).find(fresh).map(|found| found.0)
    }

    /// Keeps a connection whose answer has been read.
    fn give_back(pool: &Arc<Self>, mut sender: Sender) {
        if sender.requests.is_ready() {
            Self::put(pool, sender);
            return;
        }
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            if matches!(timeout(READY_TIMEOUT, sender.requests.ready()).await, Ok(Ok(()))) {
                Self::put(&pool, sender);
            }
        });
    }

    fn put(pool: &Arc<Self>, sender: Sender) {
        let mut idle = pool.0.lock();
        if idle.senders.len() >= MAX_IDLE {
            return;
        }
        idle.senders.push((sender, Instant::now()));
        if !std::mem::replace(&mut idle.swept, true) {
            Self::sweep(pool);
        }
    }

    /// Closes connections that are idle for too long, until none is left or the upstream is gone.
    fn sweep(pool: &Arc<Self>) {
        let pool = Arc::downgrade(pool);
        tokio::spawn(async move {
            loop {
                sleep(MAX_IDLE_TIME).await;
                let Some(pool) = pool.upgrade() else { return };
                let mut idle = pool.0.lock();
                idle.senders.retain(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < MAX_IDLE_TIME);
                if idle.senders.is_empty() {
                    idle.senders.shrink_to_fit();
                    idle.swept = false;
                    return;
                }
            }
        });
    }
}

/// The body of an answer, and the connection that it comes on.
pub(crate) struct Leased {
    body: Incoming,
    sender: Option<Sender>,
    pool: Arc<Pool>,
}

impl Leased {
    pub(crate) fn new(body: Incoming, sender: Sender, pool: Arc<Pool>) -> Self {
        Self { body, sender: Some(sender), pool }
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.sender = None;
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.close(),
            Poll::Ready(None) => self.over(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.over(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // Not before the connection is given back.
        self.sender.is_none() && self.body.is_end_stream()
    }
}

impl Leased {
    fn over(&mut self) {
        if let Some(sender) = self.sender.take() {
            Pool::give_back(&self.pool, sender);
        }
    }
}
