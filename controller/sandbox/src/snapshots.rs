//! Named snapshots of sessions, visible only to the key that made them.

use cofferdam_contract::worker::SnapshotInfo;
use cofferdam_contract::{Problem, SessionId, Snapshot};
use cofferdam_core::{Caller, now, random_bits};
use cofferdam_store::SnapshotRow;
use cofferdam_workers::WorkerRequest;
use http::Method;

use crate::error::is;
use crate::sessions::lost_if_unknown;
use crate::{Error, Sandboxes};

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
    pub async fn create_snapshot(&self, caller: &Caller, session: &SessionId, name: &str) -> Result<Snapshot, Error> {
        check_name(name)?;
        let session = self.find_session(caller, session).await?;
        let worker = self.workers.named(&session.row.worker)?;
        let mut row = SnapshotRow {
            organization: caller.organization.clone(),
            api_key: caller.key.clone(),
            name: name.to_owned(),
            worker_key: format!("snap_{:032x}", random_bits()?),
            language: session.row.language,
            worker: worker.name().to_owned(),
            kernel: worker.kernel(session.row.language.kernel()),
            size_bytes: 0,
            created_at: now(),
        };
        if !self.store.insert_snapshot(&row).await? {
            let detail = format!("There is a snapshot {name:?} already; delete it or choose another name.");
            return Err(Problem::conflict(detail).into());
        }
        let _in_use = session.enter();
        let path = format!("/sessions/{}/snapshots/{}", session.row.id, row.worker_key);
        match worker.ask::<SnapshotInfo>(WorkerRequest::new(Method::POST, path, &caller.organization)).await {
            Ok(info) => {
                self.store.set_snapshot_size(&row.worker_key, info.size_bytes).await?;
                row.size_bytes = info.size_bytes;
                Ok(view(row))
            }
            Err(error) => {
                self.store.delete_snapshot(&row.worker_key).await?;
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
        if let Ok(worker) = self.workers.named(&row.worker) {
            let path = format!("/snapshots/{}", row.worker_key);
            match worker.ask_bytes(WorkerRequest::new(Method::DELETE, path, &caller.organization)).await {
                Err(error) if is(&error, "not-found") => {}
                other => drop(other?),
            }
        }
        Ok(self.store.delete_snapshot(&row.worker_key).await?)
    }
}
