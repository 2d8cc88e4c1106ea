//! Idle connections to upstreams: a few for each route, kept for a short time, never used for another route.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::upstream::{Route, Sender};

/// A connection that was idle for longer is not used again: the other side may be closing it.
const MAX_IDLE: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: usize = 256;
const MAX_OF_A_ROUTE: usize = 16;
/// A connection that is not ready again in this time is in the middle of something and is dropped.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Kept {
    idle: Mutex<HashMap<Route, Vec<(Sender, Instant)>>>,
}

impl Kept {
    /// Takes the connection of the route that was used last.
    pub(crate) fn take(&self, route: &Route) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let senders = idle.get_mut(route)?;
        let found = std::iter::from_fn(|| senders.pop())
            .find(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < MAX_IDLE);
        if senders.is_empty() {
            idle.remove(route);
        }
        found.map(|(sender, _)| sender)
    }

    /// Keeps a connection whose answer has been read.
    pub(crate) fn give_back(kept: &Arc<Self>, route: Route, mut sender: Sender) {
        if sender.requests.is_ready() {
            kept.put(route, sender);
            return;
        }
        let kept = Arc::clone(kept);
        tokio::spawn(async move {
            if matches!(tokio::time::timeout(READY_TIMEOUT, sender.requests.ready()).await, Ok(Ok(()))) {
                kept.put(route, sender);
            }
        });
    }

    fn put(&self, route: Route, sender: Sender) {
        let mut idle = self.idle.lock();
        let total: usize = idle.values().map(Vec::len).sum();
        if total >= MAX_CONNECTIONS {
            idle.retain(|_, senders| {
                senders.retain(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < MAX_IDLE);
                !senders.is_empty()
            });
        }
        let total: usize = idle.values().map(Vec::len).sum();
        let senders = idle.entry(route).or_default();
        if total < MAX_CONNECTIONS && senders.len() < MAX_OF_A_ROUTE {
            senders.push((sender, Instant::now()));
        }
    }

    pub(crate) fn clear(&self) {
        self.idle.lock().clear();
    }
}
