//! What happens by itself: uses of sessions are written down, ended sessions are deleted, keys are read again,
//! components that no version needs are removed. Bounded work a tick; a failure is logged and tried again at the next.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, sessions, tools};
use crate::Error;
use crate::clock::now;

const EVERY: Duration = Duration::from_secs(2);
/// Sessions a tick.
const BATCH: i64 = 200;

/// Runs until `stop`, and writes the last uses then.
pub async fn keep_up(app: App, stop: CancellationToken) {
    let mut tick = 0_u64;
    loop {
        let last = tokio::select! {
            () = tokio::time::sleep(EVERY) => false,
            () = stop.cancelled() => true,
        };
        tick = tick.wrapping_add(1);
        log("writing sessions' uses", write_uses(&app).await);
        if last {
            return;
        }
        log("ending sessions", reap(&app).await);
        if tick.is_multiple_of(crate::auth::REFRESH.as_secs() / EVERY.as_secs()) {
            log("reading keys", app.keys.refresh().await);
        }
        if tick.is_multiple_of(tools::SWEEP.as_secs() / EVERY.as_secs()) {
            log("removing components", tools::sweep(&app).await);
        }
    }
}

fn log(what: &str, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::warn!(error = %error.chain(), "{what} failed; it is tried again");
    }
}

async fn write_uses(app: &App) -> Result<(), Error> {
    let uses = app.sessions.take_uses(10_000);
    if uses.is_empty() {
        return Ok(());
    }
    let written = app.store.touch_sessions(&uses).await;
    if written.is_err() {
        app.sessions.give_back(&uses);
    }
    written
}

/// Deletes sessions whose time is over: at the worker first, so that nothing is left behind by a crash in between.
async fn reap(app: &App) -> Result<(), Error> {
    let rows = app.store.expired_sessions(now(), BATCH).await?;
    let mut gone = Vec::with_capacity(rows.len());
    for row in rows {
        // A use that is not written yet, or a call under way, keeps it.
        if app.sessions.get(&row.id).is_some_and(|session| !session.is_over()) {
            continue;
        }
        match sessions::delete_at_worker(app, &row).await {
            Ok(()) => gone.push(row.id),
            Err(error) => tracing::debug!(session = %row.id, %error, "an ended session's worker cannot be asked"),
        }
    }
    if !gone.is_empty() {
        app.store.delete_sessions(&gone).await?;
        gone.iter().for_each(|id| app.sessions.remove(id));
        tracing::info!(count = gone.len(), "sessions ended");
    }
    Ok(())
}
