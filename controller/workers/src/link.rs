//! A pool of connections to one worker, each driven by the task that uses it. A connection task of its own, as hyper's
//! client spawns, would cost two thread switches a call, more than everything else that we do for a run.
//!
//! Dropping an exchange, or its body before the end, closes the connection; the worker takes that as a cancellation.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use parking_lot::Mutex;
use tokio::runtime::{self, Handle};

use crate::connect::{Stream, Target};

/// A connection that was idle for longer is not used again: the other side may be closing it.
const MAX_IDLE_TIME: Duration = Duration::from_secs(5);
/// Idle connections that are kept.
const MAX_IDLE: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing was sent.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// Something may have been sent.
    #[error("the connection was lost: {0}")]
    Lost(#[source] hyper::Error),
}

struct Link {
    /// The runtime that polls the socket. On another one the connection works, but wakes two threads each time.
    home: runtime::Id,
    sender: SendRequest<Body>,
    /// `None` once it has ended: only dropping it gives back the requests that still wait in it.
    connection: Option<Connection<Stream, Body>>,
}

impl Link {
    /// Lets the connection read and write what it can.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // The pending answer carries the error.
            self.connection = None;
        }
    }
}

/// The pool of connections to one worker.
pub(crate) struct Links {
    target: Target,
    idle: Mutex<Vec<(Link, Instant)>>,
}

impl Links {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, idle: Mutex::default() }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The connection of this runtime that was used last; those older than [`MAX_IDLE_TIME`] are dropped.
    fn take(&self) -> Option<Link> {
        let home = Handle::current().id();
        let mut idle = self.idle.lock();
        let at = idle.iter().rposition(|(link, _)| link.home == home)?;
        let (link, since) = idle.remove(at);
        if since.elapsed() < MAX_IDLE_TIME {
            return Some(link);
        }
        // Those before it are older still.
        idle.drain(..at);
        None
    }

    /// Keeps a connection, and drops those that were idle for too long: the newest ones are taken first, so nobody comes
    /// across the others once there are fewer calls, and the worker that they lead to may be dead.
    fn give_back(&self, link: Link) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        // They are in the order of their times.
        let is_old = |(_, since): &(Link, Instant)| now.duration_since(*since) >= MAX_IDLE_TIME;
        if idle.first().is_some_and(is_old) {
            let old = idle.partition_point(is_old);
            idle.drain(..old);
        }
        if idle.len() < MAX_IDLE {
            idle.push((link, now));
        }
    }

    async fn open(&self) -> Result<Link, LinkError> {
        let stream = self.target.connect().await.map_err(LinkError::Connect)?;
        let (sender, connection) = handshake(stream).await.map_err(LinkError::Lost)?;
        Ok(Link { home: Handle::current().id(), sender, connection: Some(connection) })
    }

    /// Sends a request and returns the answer when its head has arrived. The request is sent again only if a pooled
    /// connection turned out to be closed before a byte of it was written.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        mut request: Request<Body>,
    ) -> Result<Response<LinkBody>, LinkError> {
        loop {
            let (mut link, kept) = match self.take() {
                Some(link) => (link, true),
                None => (self.open().await?, false),
            };
            let mut answer = std::pin::pin!(link.sender.try_send_request(request));
            let answered = poll_fn(|cx| {
                link.drive(cx);
                answer.as_mut().poll(cx)
            });
            match answered.await {
                Ok(response) => {
                    let links = Arc::clone(self);
                    return Ok(response.map(|body| LinkBody { body, link: Some(link), links }));
                }
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) if kept => request = unsent,
                    _ => return Err(LinkError::Lost(refused.into_error())),
                },
            }
        }
    }
}

/// The body of an answer. At its end, its connection goes back to the pool.
pub(crate) struct LinkBody {
    body: Incoming,
    link: Option<Link>,
    links: Arc<Links>,
}

impl LinkBody {
    fn finish(&mut self, cx: &mut Context<'_>) {
        let Some(mut link) = self.link.take() else { return };
        link.drive(cx);
        if link.connection.is_some() && link.sender.is_ready() {
            self.links.give_back(link);
        }
    }
}

impl http_body::Body for LinkBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending()
            && let Some(link) = &mut self.link
        {
            // The first poll told the connection that more is wanted.
            link.drive(cx);
            polled = Pin::new(&mut self.body).poll_frame(cx);
        }
        let over = matches!(polled, Poll::Ready(None)) || (polled.is_ready() && self.body.is_end_stream());
        if over {
            self.finish(cx);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // Not before the connection is given back.
        self.link.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
