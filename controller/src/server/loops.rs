//! Threads that serve connections, each with an event loop of its own. A connection stays on its thread, so no other
//! thread has to be woken between its client and its worker.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

struct Loop {
    handle: Handle,
    /// Has one clone per connection of the loop.
    open: Arc<()>,
}

/// The loops. They end with all of their connections when this is dropped.
pub(super) struct Loops {
    loops: Vec<Loop>,
    stop: DropGuard,
    /// Has one token per thread.
    running: TaskTracker,
}

/// The time for the threads to drop their connections.
const END_TIMEOUT: Duration = Duration::from_secs(2);

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
        let (mut loops, running) = (Vec::new(), TaskTracker::new());
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            loops.push(Loop { handle: runtime.handle().clone(), open: Arc::new(()) });
            let (stop, token) = (stop.clone(), running.token());
            thread::Builder::new().name("loop".to_owned()).spawn(move || {
                runtime.block_on(turn(stop));
                // First the connections, with all that they hold.
                drop(runtime);
                drop(token);
            })?;
        }
        Ok(Self { loops, stop: stop.drop_guard(), running })
    }

    /// Ends the loops, and waits until their connections are dropped: what an answer under way has used is known then.
    pub(super) async fn end(self) {
        drop(self.stop);
        self.running.close();
        if tokio::time::timeout(END_TIMEOUT, self.running.wait()).await.is_err() {
            tracing::warn!("a connection's thread did not end in time");
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            thread::sleep(Duration::from_millis(50));
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn no_connection_is_left_when_the_loops_have_ended() {
        let (loops, dropped) = (Loops::start().unwrap(), Arc::new(AtomicBool::new(false)));
        let (held, (began, begun)) = (Dropped(Arc::clone(&dropped)), tokio::sync::oneshot::channel());
        loops.spawn(async move {
            let _held = held;
            began.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        begun.await.unwrap();
        loops.end().await;
        assert!(dropped.load(Ordering::SeqCst));
    }
}
