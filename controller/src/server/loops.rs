//! Threads that serve connections, each with an event loop of its own. A connection stays where it was given: between
//! its client and its worker no other thread has to be woken.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Loop {
    handle: Handle,
    /// As many clones as there are connections.
    open: Arc<()>,
}

/// The loops; they end, with all that is in them, when this is dropped.
pub(super) struct Loops {
    loops: Vec<Loop>,
    _stop: DropGuard,
}

/// A timer that is always there: setting one that is earlier than all others makes the loop wake itself, and so would
/// each request's, were it the only one.
const SOON: Duration = Duration::from_secs(2);

async fn turn(stop: CancellationToken) {
    while tokio::time::timeout(SOON, stop.cancelled()).await.is_err() {}
}

impl Loops {
    /// One for each processor.
    pub(super) fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut loops = Vec::new();
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            loops.push(Loop { handle: runtime.handle().clone(), open: Arc::new(()) });
            let stop = stop.clone();
            thread::Builder::new().name("loop".to_owned()).spawn(move || runtime.block_on(turn(stop)))?;
        }
        Ok(Self { loops, _stop: stop.drop_guard() })
    }

    /// Serves a connection in the loop that has the fewest.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(least) = self.loops.iter().min_by_key(|one| Arc::strong_count(&one.open)) else { return };
        let open = Arc::clone(&least.open);
        least.handle.spawn(async move {
            connection.await;
            drop(open);
        });
    }
}
