//! Notes of sessions at rest: what they go back to when a run has to be stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Inner, Session, Sessions};

/// How long a session rests before its state is noted: not between runs that follow each other closely.
const REST: Duration = Duration::from_millis(10);
/// States of more than this are not noted, in bytes; nor any when those that are take more than the second.
const MAX_CHECKPOINT: u64 = 64 << 20;
const MAX_CHECKPOINTS: u64 = 8 << 30;

impl Sessions {
    /// Notes the state of a session that has had a run, once it rests.
    pub fn checkpoint_later(self: &Arc<Self>, session: Arc<Session>) {
        let sessions = Arc::clone(self);
        self.background.spawn(async move {
            tokio::time::sleep(REST).await;
            if sessions.checkpoint_bytes.load(Ordering::Relaxed) > MAX_CHECKPOINTS {
                return;
            }
            let Ok(mut inner) = Arc::clone(&session.inner).try_lock_owned() else { return };
            let noted = spawn_blocking(move || {
                let Inner { life, meta } = &mut *inner;
                let place = sessions.place(&session.kernel);
                life.checkpoint(&place, meta, MAX_CHECKPOINT)
            });
            if let Ok(Err(error)) = noted.await {
                tracing::warn!(%error, "the state of a session could not be noted");
            }
        });
    }
}
