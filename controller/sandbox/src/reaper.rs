//! Upkeep of sessions: their uses are written down, those whose time is over are deleted. The work of a tick is bounded;
//! a failure is logged and retried at the next tick.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::{chain, now};
use tokio_util::sync::CancellationToken;

use crate::{Error, Sandboxes};

const REAP_INTERVAL: Duration = Duration::from_secs(2);
/// The ticks between two looks for leftovers.
const LEFTOVERS_TICKS: u32 = 30;
/// The most sessions that one tick deletes.
const MAX_REAPED: i64 = 200;
/// The most uses that one tick writes down.
const MAX_USES: usize = 10_000;

impl Sandboxes {
    /// Runs until `stop`, and writes the last uses then.
    pub async fn keep_reaped(self: Arc<Self>, stop: CancellationToken) {
        let (mut ticks, mut after) = (0_u32, String::new());
        loop {
            let last = tokio::select! {
                () = tokio::time::sleep(REAP_INTERVAL) => false,
                () = stop.cancelled() => true,
            };
            log("writing sessions' uses", self.write_uses().await);
            if last {
                return;
            }
            log("ending sessions", self.reap().await);
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(LEFTOVERS_TICKS) {
                match self.remove_leftovers(&after).await {
                    Ok(next) => after = next,
                    Err(error) => log("removing leftovers", Err(error)),
                }
            }
        }
    }

    async fn write_uses(&self) -> Result<(), Error> {
        let uses = self.sessions.take_uses(MAX_USES);
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.store.touch_sessions(&uses).await;
        if written.is_err() {
            self.sessions.give_back(&uses);
        }
        Ok(written?)
    }

    /// Deletes sessions whose time is over: at the worker first, so that a crash in between leaves no state behind.
    async fn reap(&self) -> Result<(), Error> {
        let rows = self.store.expired_sessions(now(), MAX_REAPED).await?;
        let mut gone = Vec::with_capacity(rows.len());
        for row in rows {
            // A use that is not written yet, or a call under way, keeps it.
            if self.sessions.get(&row.id).is_some_and(|session| !session.is_over()) {
                continue;
            }
            match self.delete_at_worker(&row).await {
                Ok(()) => gone.push(row.id),
                Err(error) => tracing::debug!(session = %row.id, %error, "an ended session's worker cannot be asked"),
            }
        }
        if !gone.is_empty() {
            self.store.delete_sessions(&gone).await?;
            gone.iter().for_each(|id| self.sessions.remove(id));
            tracing::info!(count = gone.len(), "sessions ended");
        }
        Ok(())
    }
}

fn log(what: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::warn!(error = chain(&error), "{what} failed; retrying");
    }
}
