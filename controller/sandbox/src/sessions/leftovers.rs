//! Rows and states that a crash or a revoked key leaves behind: sessions that were written down and never made, and
//! snapshots that no key sees. Never touches a session that was used, whatever its worker says.

use std::collections::BTreeMap;

use cofferdam_contract::SessionId;
use cofferdam_core::now;
use cofferdam_store::SessionRow;
use cofferdam_workers::WorkerRequest;
use http::Method;

use crate::error::is;
use crate::{Error, Sandboxes};

/// The age at which a session must have been made, in seconds: more than any request takes.
const MAX_MAKING_S: i64 = 600;
/// The most sessions and snapshots that one round looks at.
const MAX_LOOKED_AT: i64 = 200;

impl Sandboxes {
    /// Removes leftovers. Looks at sessions after the id `after`, and returns the id to continue after.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn remove_leftovers(&self, after: &str) -> Result<String, Error> {
        for row in self.store.orphaned_snapshots(MAX_LOOKED_AT).await? {
            if let Err(error) = self.remove_snapshot(&row).await {
                tracing::debug!(snapshot = row.worker_key, %error, "a snapshot of a revoked key could not be removed");
            }
        }
        let rows = self.store.unused_sessions(now() - MAX_MAKING_S, after, MAX_LOOKED_AT).await?;
        let next = rows.last().map(|row| row.id.to_string()).unwrap_or_default();
        let mut by_owner: BTreeMap<_, Vec<SessionRow>> = BTreeMap::new();
        for row in rows {
            by_owner.entry((row.worker.clone(), row.organization.clone())).or_default().push(row);
        }
        for ((worker, organization), rows) in by_owner {
            let ids = rows.iter().map(|row| row.id.clone()).collect();
            let Ok(infos) = self.ask_infos(&organization, worker, ids).await else { continue };
            let made = |row: &SessionRow| infos.iter().any(|info| info.id == row.id);
            for row in rows.iter().filter(|row| !made(row)) {
                if self.was_never_made(row).await {
                    self.store.delete_sessions(std::slice::from_ref(&row.id)).await?;
                    self.sessions.remove(&row.id);
                    tracing::info!(session = %row.id, "a session that was never made is forgotten");
                }
            }
        }
        Ok(next)
    }

    /// Its worker does not know it, and does not say that it is lost or cannot be read.
    async fn was_never_made(&self, row: &SessionRow) -> bool {
        let used =
            |id: &SessionId| self.sessions.get(id).is_some_and(|session| session.last_used_at() > row.created_at);
        let Ok(worker) = self.workers.named(&row.worker) else { return false };
        let request = WorkerRequest::new(Method::GET, format!("/sessions/{}", row.id), &row.organization);
        let answer = worker.ask_bytes(request).await;
        answer.is_err_and(|error| is(&error, "not-found")) && !used(&row.id)
    }
}
