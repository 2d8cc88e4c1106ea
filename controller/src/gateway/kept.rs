//! Idle connections to upstreams: a few for each route, for a short time, and never for another route.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::upstream::{Route, Sender};

/// A connection that was idle for longer is not used again: the other side may be closing it.
const IDLE: Duration = Duration::from_secs(10);
const MOST: usize = 256;
const MOST_OF_A_ROUTE: usize = 16;
/// A connection that is not ready again by then has something left over.
const READY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Kept {
    idle: Mutex<HashMap<Route, Vec<(Sender, Instant)>>>,
}

impl Kept {
    /// The connection that was used last.
    pub fn take(&self, route: &Route) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        let senders = idle.get_mut(route)?;
        let found = std::iter::from_fn(|| senders.pop())
            .find(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < IDLE);
        if senders.is_empty() {
            idle.remove(route);
        }
        found.map(|(sender, _)| sender)
    }

    /// Keeps a connection whose answer has been read.
    pub fn give_back(kept: &Arc<Self>, route: Route, mut sender: Sender) {
        if sender.requests.is_ready() {
            kept.put(route, sender);
            return;
        }
        let kept = Arc::clone(kept);
        tokio::spawn(async move {
            if matches!(tokio::time::timeout(READY, sender.requests.ready()).await, Ok(Ok(()))) {
                kept.put(route, sender);
            }
        });
    }

    fn put(&self, route: Route, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        let total: usize = idle.values().map(Vec::len).sum();
        if total >= MOST {
            idle.retain(|_, senders| {
                senders.retain(|(sender, since)| !sender.requests.is_closed() && since.elapsed() < IDLE);
                !senders.is_empty()
            });
        }
        let total: usize = idle.values().map(Vec::len).sum();
        let senders = idle.entry(route).or_default();
        if total < MOST && senders.len() < MOST_OF_A_ROUTE {
            senders.push((sender, Instant::now()));
        }
    }

    pub fn clear(&self) {
        self.idle.lock().unwrap_or_else(|e| e.into_inner()).clear();
    }
}
