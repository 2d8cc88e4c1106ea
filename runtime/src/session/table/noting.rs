//! Checkpoints of idle sessions: the states that they return to when a run must be stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Inner, Session, Sessions};

/// The idle time before a checkpoint, so that closely following runs are not interleaved with checkpoints.
const IDLE_BEFORE_NOTING: Duration = Duration::from_millis(10);
/// The largest state to checkpoint, in bytes, and the most bytes of all checkpoints together.
const MAX_CHECKPOINT: u64 = 64 << 20;
pub(super) const MAX_CHECKPOINTS: u64 = 8 << 30;

impl Sessions {
    /// Checkpoints a session that has had a run, once it is idle.
    pub(crate) fn checkpoint_later(self: &Arc<Self>, session: Arc<Session>) {
        let sessions = Arc::clone(self);
        self.background.spawn(async move {
            tokio::time::sleep(IDLE_BEFORE_NOTING).await;
            if sessions.checkpoints.used() >= MAX_CHECKPOINTS {
                return;
            }
            let Ok(mut inner) = Arc::clone(&session.inner).try_lock_owned() else { return };
            let noted = spawn_blocking(move || {
                let Inner { life, meta } = &mut *inner;
                let place = sessions.place(&session.kernel);
                life.checkpoint(&place, meta, MAX_CHECKPOINT)
            });
            if let Ok(Err(error)) = noted.await {
                tracing::warn!(%error, "a session could not be checkpointed");
            }
        });
    }
}
