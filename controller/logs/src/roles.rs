//! Roles of this process for an agent's log: it collects the log, or mirrors what another controller collects. Followers do
//! not notice when the role changes.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::log::{AgentLog, Numbers};
use crate::positions::Positions;
use crate::shelf::SegmentError;

/// Time between two looks for segments that another controller writes.
const MIRROR_INTERVAL: Duration = Duration::from_secs(1);
const MAX_MIRROR_INTERVAL: Duration = Duration::from_secs(10);
/// The newest segments that are searched for positions.
const SEARCHED_SEGMENTS: usize = 4;
/// Timeout for the last write when collecting stops.
const LAST_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) enum Role {
    #[default]
    Idle,
    /// Collects what workloads write.
    Collects { workloads: usize, stop: CancellationToken },
    /// Reads what another controller writes, as long as there are followers.
    Mirrors { stop: CancellationToken },
}

impl AgentLog {
    /// Begins to collect behind the last stored line. Called once for each workload.
    ///
    /// # Errors
    /// The object store cannot be read, or the database reserves no numbers.
    pub(crate) async fn begin_collecting(self: &Arc<Self>) -> Result<(), Error> {
        let mut role = self.role.lock().await;
        if let Role::Collects { workloads, .. } = &mut *role {
            *workloads += 1;
            return Ok(());
        }
        let index = self.shelf.list(0).await?;
        let (mut positions, mut last) = (Positions::default(), 0);
        // The newest segment has all positions, unless it is damaged from its beginning on.
        for segment in index.iter().rev().take(SEARCHED_SEGMENTS) {
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

    /// Ends collecting for one workload. After the last one, `write` stores the lines received so far.
    pub(crate) async fn end_collecting(self: &Arc<Self>, write: bool) {
        let mut role = self.role.lock().await;
        let Role::Collects { workloads, stop } = &mut *role else { return };
        *workloads = workloads.saturating_sub(1);
        if *workloads > 0 {
            return;
        }
        if write {
            let (organization, agent) = (&self.key.organization, &self.key.agent);
            match tokio::time::timeout(LAST_FLUSH_TIMEOUT, self.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%organization, %agent, %error, "cannot store the last lines of a log");
                }
                Err(_) => tracing::warn!(%organization, %agent, "cannot store the last lines of a log in time"),
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

    /// Loads the list of segments, and keeps it current if another controller collects.
    ///
    /// # Errors
    /// The object store cannot be read.
    pub(crate) async fn begin_following(self: &Arc<Self>) -> Result<(), SegmentError> {
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
        let mut wait = MIRROR_INTERVAL;
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
            wait = match self.mirror_new(epoch).await {
                Ok(()) => MIRROR_INTERVAL,
                Err(error) => {
                    let (organization, agent) = (&self.key.organization, &self.key.agent);
                    tracing::debug!(%organization, %agent, %error, "cannot look for new segments of a log");
                    (wait * 2).min(MAX_MIRROR_INTERVAL)
                }
            };
        }
    }

    /// Reads new segments from the store.
    async fn mirror_new(&self, epoch: u64) -> Result<(), SegmentError> {
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
        // One after the other, so that memory holds one segment at a time.
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
