//! Idle connections to upstreams of one token: a few for each route, kept for a short time. A pool belongs to one
//! [`crate::admission::Admission`], so that what one run leaves on a connection can only ever meet its own next request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::upstream::{Route, Sender};

/// A connection that was idle for longer is closed: the other side may be closing it, too.
const MAX_IDLE: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: usize = 32;
const MAX_OF_A_ROUTE: usize = 16;
/// A connection that is not ready again in this time is in the middle of something and is dropped.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Idle {
    senders: HashMap<Route, Vec<(Sender, Instant)>>,
    /// A task closes connections that are idle for too long.
    swept: bool,
}

impl Idle {
    fn prune(&mut self) {
        self.senders.retain(|_, senders| {
            senders.retain(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < MAX_IDLE);
            !senders.is_empty()
        });
    }
}

#[derive(Default)]
pub(crate) struct Kept {
    idle: Mutex<Idle>,
}

impl Kept {
    /// Takes the connection of the route that was used last.
    pub(crate) fn take(&self, route: &Route) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let senders = idle.senders.get_mut(route)?;
        let found = std::iter::from_fn(|| senders.pop())
            .find(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < MAX_IDLE);
        if senders.is_empty() {
            idle.senders.remove(route);
        }
        found.map(|(sender, _)| sender)
    }

    /// Keeps a connection whose answer has been read.
    pub(crate) fn give_back(kept: &Arc<Self>, route: Route, mut sender: Sender) {
        if sender.requests.is_ready() {
            Self::put(kept, route, sender);
            return;
        }
        let kept = Arc::clone(kept);
        tokio::spawn(async move {
            if matches!(tokio::time::timeout(READY_TIMEOUT, sender.requests.ready()).await, Ok(Ok(()))) {
                Self::put(&kept, route, sender);
            }
        });
    }

    fn put(kept: &Arc<Self>, route: Route, sender: Sender) {
        let mut idle = kept.idle.lock();
        let total = |idle: &Idle| idle.senders.values().map(Vec::len).sum::<usize>();
        if total(&idle) >= MAX_CONNECTIONS {
            idle.prune();
        }
        if total(&idle) >= MAX_CONNECTIONS {
            return;
        }
        let senders = idle.senders.entry(route).or_default();
        if senders.len() < MAX_OF_A_ROUTE {
            senders.push((sender, Instant::now()));
        }
        if !std::mem::replace(&mut idle.swept, true) {
            Self::sweep(kept);
        }
    }

    /// Closes connections that are idle for too long, until none is left or the pool is gone.
    fn sweep(kept: &Arc<Self>) {
        let kept = Arc::downgrade(kept);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(MAX_IDLE).await;
                let Some(kept) = kept.upgrade() else { return };
                let mut idle = kept.idle.lock();
                idle.prune();
                if idle.senders.is_empty() {
                    idle.swept = false;
                    return;
                }
            }
        });
    }

    pub(crate) fn clear(&self) {
        self.idle.lock().senders.clear();
    }
}
