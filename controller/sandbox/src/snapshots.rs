//! Named snapshots of sessions, visible only to the key that made them.

use std::sync::Arc;

use cofferdam_contract::worker::SnapshotInfo;
use cofferdam_contract::{Problem, SessionId, Snapshot};
use cofferdam_core::{Caller, now, random_bits};
use cofferdam_store::{Added, SnapshotRow};
use cofferdam_workers::{Worker, WorkerRequest};
use http::Method;

use crate::error::is;
use crate::sessions::{CachedSession, lost_if_unknown};
use crate::whole::to_the_end;
use crate::{Error, Sandboxes};

/// The most snapshots of one key: as many as a list shows.
const MAX_SNAPSHOTS: u64 = 1_000;

fn check_name(name: &str) -> Result<(), Problem> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(Problem::invalid("A snapshot's name is 1 to 64 letters, digits, '-' and '_'."))
}

fn view(row: SnapshotRow) -> Snapshot {
    Snapshot {
        name: row.name,
        language: row.language,
        created_at: u64::try_from(row.created_at).unwrap_or(0),
        size_bytes: row.size_bytes,
    }
}

impl Sandboxes {
    /// The caller's snapshot of this name.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store's failure.
    pub(crate) async fn find_snapshot(&self, caller: &Caller, name: &str) -> Result<SnapshotRow, Error> {
        let row = self.store.snapshot(&caller.organization, &caller.key, name).await?;
        row.ok_or_else(|| Problem::not_found("There is no such snapshot.").into())
    }

    /// Keeps the session's present state under a free name.
    ///
    /// # Errors
    /// An invalid or taken name, no such session, or the worker's refusal.
    pub async fn create_snapshot(
        self: &Arc<Self>,
        caller: &Caller,
        session: &SessionId,
        name: &str,
    ) -> Result<Snapshot, Error> {
        check_name(name)?;
        let session = self.find_session(caller, session).await?;
        let worker = self.workers.named(&session.row.worker)?;
        let row = SnapshotRow {
            organization: caller.organization.clone(),
            api_key: caller.key.clone(),
            name: name.to_owned(),
            worker_key: format!("snap_{:032x}", random_bits()?),
            language: session.row.language,
            worker: worker.home().to_owned(),
            kernel: worker.kernel(session.row.language.kernel()),
            size_bytes: 0,
            created_at: now(),
        };
        let this = Arc::clone(self);
        // A caller who goes away finds the snapshot under its name.
        to_the_end(async move { this.make_snapshot(&session, &worker, row).await }, async {}).await
    }

    async fn make_snapshot(
        &self,
        session: &Arc<CachedSession>,
        worker: &Arc<Worker>,
        mut row: SnapshotRow,
    ) -> Result<Snapshot, Error> {
        match self.store.insert_snapshot(&row, MAX_SNAPSHOTS).await? {
            Added::Done => {}
            Added::Taken => {
                let name = &row.name;
                let detail = format!("There is a snapshot {name:?} already; delete it or choose another name.");
                return Err(Problem::conflict(detail).into());
            }
            Added::Full => {
                let detail = format!("The key has {MAX_SNAPSHOTS} snapshots; delete some.");
                return Err(Problem::overloaded(detail).into());
            }
        }
        let _in_use = session.enter();
        let path = format!("/sessions/{}/snapshots/{}", session.row.id, row.worker_key);
        match worker.ask::<SnapshotInfo>(WorkerRequest::new(Method::POST, path, &row.organization)).await {
            Ok(info) => {
                if !self.store.set_snapshot_size(&row.worker_key, info.size_bytes).await? {
                    self.remove_snapshot(&row).await?;
                    return Err(Problem::conflict("The snapshot was deleted before it was complete.").into());
                }
                row.size_bytes = info.size_bytes;
                Ok(view(row))
            }
            Err(error) => {
                // The worker may have written it all the same.
                if let Err(error) = self.remove_snapshot(&row).await {
                    tracing::debug!(snapshot = row.worker_key, %error, "a failed snapshot could not be removed");
                    self.store.delete_snapshot(&row.worker_key).await?;
                }
                Err(lost_if_unknown(error))
            }
        }
    }

    /// The caller's snapshots.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list_snapshots(&self, caller: &Caller) -> Result<Vec<Snapshot>, Error> {
        let rows = self.store.snapshots(&caller.organization, &caller.key).await?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// Deletes a snapshot; sessions that were made from it stay.
    ///
    /// # Errors
    /// [`Problem::not_found`], or a worker that cannot be asked now.
    pub async fn delete_snapshot(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        let row = self.find_snapshot(caller, name).await?;
        self.remove_snapshot(&row).await
    }

    /// Deletes a snapshot: at the worker first, so that its place is taken until its state is gone.
    pub(crate) async fn remove_snapshot(&self, row: &SnapshotRow) -> Result<(), Error> {
        if let Ok(worker) = self.workers.named(&row.worker) {
            let path = format!("/snapshots/{}", row.worker_key);
            match worker.ask_bytes(WorkerRequest::new(Method::DELETE, path, &row.organization)).await {
                Err(error) if is(&error, "not-found") => {}
                other => drop(other?),
            }
        }
        Ok(self.store.delete_snapshot(&row.worker_key).await?)
    }
}
