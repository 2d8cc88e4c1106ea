//! What this process is for an agent's log: the one that collects it, or one that shows what another collects. Roles
//! change while followers follow; they see neither.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::log::{AgentLog, LogError, Numbers};
use super::positions::Positions;
use super::shelf::ShelfError;

/// How often segments that another controller writes are looked for.
pub const LOOK: Duration = Duration::from_secs(1);
const MOST_LOOK: Duration = Duration::from_secs(10);
/// Segments that are looked at for how far containers were read.
const LOOKED_BACK: usize = 4;
/// The last write of one who stops collecting.
const LAST_FLUSH: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub enum Role {
    #[default]
    Idle,
    /// For so many workloads.
    Collects { workloads: usize, stop: CancellationToken },
    /// Reads what another one writes, while somebody follows.
    Mirrors { stop: CancellationToken },
}

impl AgentLog {
    /// Begins to collect, behind everything that is in segments. Once for each workload.
    ///
    /// # Errors
    /// A store that cannot be read, or gives no numbers.
    pub async fn begin_collecting(self: &Arc<Self>) -> Result<(), LogError> {
        let mut role = self.role.lock().await;
        if let Role::Collects { workloads, .. } = &mut *role {
            *workloads += 1;
            return Ok(());
        }
        let index = self.shelf.list(0).await?;
        let (mut positions, mut last) = (Positions::default(), 0);
        // The newest says it all, unless it is damaged from its beginning on.
        for segment in index.iter().rev().take(LOOKED_BACK) {
            let decoded = self.shelf.read(segment).await?;
            last = last.max(decoded.last()).max(segment.first);
            positions = decoded.positions.clone();
            if positions != Positions::default() {
                break;
            }
        }
        let numbers = self.first_numbers(last).await?;
        if let Role::Mirrors { stop } = &*role {
            stop.cancel();
        }
        self.end_segment().await;
        {
            let mut state = self.lock();
            state.restart(numbers.next - 1, index, positions);
            self.tell(&mut state);
        }
        *self.numbers.lock().await = numbers;
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(self).keep_telling(stop.clone()));
        tokio::spawn(Arc::clone(self).keep_writing(stop.clone()));
        *role = Role::Collects { workloads: 1, stop };
        Ok(())
    }

    /// One workload less. With the last one: what came is written, unless somebody else collects already.
    pub async fn end_collecting(self: &Arc<Self>, write: bool) {
        let mut role = self.role.lock().await;
        let Role::Collects { workloads, stop } = &mut *role else { return };
        *workloads = workloads.saturating_sub(1);
        if *workloads > 0 {
            return;
        }
        if write {
            let (organization, agent) = (&self.key.organization, &self.key.agent);
            match tokio::time::timeout(LAST_FLUSH, self.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%organization, %agent, %error, "the last lines of a log could not be stored");
                }
                Err(_) => tracing::warn!(%organization, %agent, "the last lines of a log could not be stored in time"),
            }
        }
        stop.cancel();
        *self.numbers.lock().await = Numbers::default();
        self.end_segment().await;
        {
            let mut state = self.lock();
            state.forget_unflushed();
            state.epoch += 1;
        }
        self.room.notify_waiters();
        *role = Role::Idle;
        if self.followers() > 0 {
            self.mirror(&mut role);
        }
    }

    /// Makes sure that the segments' list is there, and stays new where another controller collects.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn begin_following(self: &Arc<Self>) -> Result<(), ShelfError> {
        let mut role = self.role.lock().await;
        if !matches!(*role, Role::Idle) {
            return Ok(());
        }
        let index = self.shelf.list(0).await?;
        let last = match index.last() {
            Some(newest) => self.shelf.read(newest).await?.last().max(newest.first),
            None => 0,
        };
        {
            let mut state = self.lock();
            state.restart(last, index, Positions::default());
            self.tell(&mut state);
        }
        self.mirror(&mut role);
        Ok(())
    }

    fn mirror(self: &Arc<Self>, role: &mut Role) {
        let stop = CancellationToken::new();
        let epoch = self.lock().epoch;
        tokio::spawn(Arc::clone(self).keep_mirroring(stop.clone(), epoch));
        *role = Role::Mirrors { stop };
    }

    async fn keep_mirroring(self: Arc<Self>, stop: CancellationToken, epoch: u64) {
        let mut wait = LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            {
                let mut role = self.role.lock().await;
                if stop.is_cancelled() {
                    return;
                }
                if self.followers() == 0 {
                    *role = Role::Idle;
                    return;
                }
            }
            wait = match self.look(epoch).await {
                Ok(()) => LOOK,
                Err(error) => {
                    let (organization, agent) = (&self.key.organization, &self.key.agent);
                    tracing::debug!(%organization, %agent, %error, "new segments of a log cannot be looked for");
                    (wait * 2).min(MOST_LOOK)
                }
            };
        }
    }

    /// Takes over what is new in the store.
    async fn look(&self, epoch: u64) -> Result<(), ShelfError> {
        let (from, known) = {
            let state = self.lock();
            (state.index().last().map_or(0, |info| info.first), state.index().last().cloned())
        };
        let newer = self.shelf.list(from).await?;
        let changed: Vec<_> = newer.iter().filter(|info| Some(*info) != known.as_ref()).cloned().collect();
        {
            let mut state = self.lock();
            if state.epoch != epoch {
                return Ok(());
            }
            state.update_index(from, newer);
        }
        // One after the other: however much came meanwhile, memory holds a segment of it.
        for info in changed {
            let decoded = self.shelf.read(&info).await?;
            let mut state = self.lock();
            if state.epoch != epoch {
                return Ok(());
            }
            decoded.batches.iter().for_each(|batch| state.mirror(Arc::clone(batch)));
            self.tell(&mut state);
        }
        Ok(())
    }
}
