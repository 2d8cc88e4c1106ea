//! Threads that serve connections, each with an event loop of its own. A connection stays on its thread, so no other
//! thread has to be woken between its client and its worker.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Loop {
    handle: Handle,
    /// Has one clone per connection of the loop.
    open: Arc<()>,
}

/// The loops. They end with all of their connections when this is dropped.
pub(super) struct Loops {
    loops: Vec<Loop>,
    _stop: DropGuard,
}

/// The interval of a timer that always runs. Setting a timer that is earlier than all others wakes the loop; without
/// this one, every request's timeout would.
const TIMER_INTERVAL: Duration = Duration::from_secs(2);

async fn turn(stop: CancellationToken) {
    while tokio::time::timeout(TIMER_INTERVAL, stop.cancelled()).await.is_err() {}
}

impl Loops {
    /// Starts one loop per processor.
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

    /// Serves a connection in the loop with the fewest connections.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(least) = self.loops.iter().min_by_key(|one| Arc::strong_count(&one.open)) else { return };
        let open = Arc::clone(&least.open);
        least.handle.spawn(async move {
            connection.await;
            drop(open);
        });
    }
}
