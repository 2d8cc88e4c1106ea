//! Named snapshots of sessions, seen only by the key that made them.

use cofferdam_contract::worker::SnapshotInfo;
use cofferdam_contract::{Problem, SessionId, Snapshot};
use http::Method;

use super::{App, sessions};
use crate::Error;
use crate::auth::Caller;
use crate::clock::{now, random_bits};
use crate::store::SnapshotRow;
use crate::workers::WorkerRequest;

fn check_name(name: &str) -> Result<(), Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=64).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(Problem::invalid("A snapshot's name is 1 to 64 letters, digits, '-' and '_'.").into())
}

/// # Errors
/// [`Problem::not_found`], or the store's failure.
pub async fn find(app: &App, caller: &Caller, name: &str) -> Result<SnapshotRow, Error> {
    let row = app.store.snapshot(&caller.organization, &caller.key, name).await?;
    row.ok_or_else(|| Problem::not_found("There is no such snapshot.").into())
}

fn view(row: SnapshotRow) -> Snapshot {
    Snapshot {
        name: row.name,
        language: row.language,
        created_at: u64::try_from(row.created_at).unwrap_or(0),
        size_bytes: row.size_bytes,
    }
}

/// Keeps the session's present state under a name that is free.
///
/// # Errors
/// A bad or taken name, no such session, or the worker's refusal.
pub async fn create(app: &App, caller: &Caller, session: &SessionId, name: &str) -> Result<Snapshot, Error> {
    check_name(name)?;
    let session = sessions::find(app, caller, session).await?;
    let worker = app.workers.named(&session.row.worker)?;
    let mut row = SnapshotRow {
        organization: caller.organization.clone(),
        api_key: caller.key.clone(),
        name: name.to_owned(),
        worker_key: format!("snap_{:032x}", random_bits()?),
        language: session.row.language,
        worker: worker.name.clone(),
        kernel: worker.kernel(session.row.language.kernel()),
        size_bytes: 0,
        created_at: now(),
    };
    if !app.store.insert_snapshot(&row).await? {
        return Err(Problem::conflict(format!(
            "There is a snapshot {name:?} already; delete it or choose another name."
        ))
        .into());
    }
    let _in_use = session.enter();
    let path = format!("/sessions/{}/snapshots/{}", session.row.id, row.worker_key);
    match worker.ask::<SnapshotInfo>(WorkerRequest::new(Method::POST, path, &caller.organization)).await {
        Ok(info) => {
            app.store.set_snapshot_size(&row.worker_key, info.size_bytes).await?;
            row.size_bytes = info.size_bytes;
            Ok(view(row))
        }
        Err(error) => {
            app.store.delete_snapshot(&row.worker_key).await?;
            Err(match error {
                Error::Refused(problem) if problem.status == 404 => sessions::lost(),
                other => other,
            })
        }
    }
}

/// # Errors
/// The store's failure.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Snapshot>, Error> {
    let rows = app.store.snapshots(&caller.organization, &caller.key).await?;
    Ok(rows.into_iter().map(view).collect())
}

/// # Errors
/// [`Problem::not_found`], or that its worker cannot be asked now.
pub async fn delete(app: &App, caller: &Caller, name: &str) -> Result<(), Error> {
    let row = find(app, caller, name).await?;
    if let Ok(worker) = app.workers.named(&row.worker) {
        let path = format!("/snapshots/{}", row.worker_key);
        match worker.ask_bytes(WorkerRequest::new(Method::DELETE, path, &caller.organization)).await {
            Err(Error::Refused(problem)) if problem.status == 404 => {}
            other => drop(other?),
        }
    }
    app.store.delete_snapshot(&row.worker_key).await
}
