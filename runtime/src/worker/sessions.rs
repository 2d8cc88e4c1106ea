//! The session calls of the worker's wire.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cofferdam_contract::session::MAX_FORK;
use cofferdam_contract::worker::{
    MAX_INFOS, SnapshotInfo, WorkerFork, WorkerSession, WorkerSessionIds, WorkerSessionInfo,
};
use cofferdam_contract::{FileEntry, OrganizationId, Problem, SessionId, normalize_path};
use cofferdam_host_api::{FsError, Vfs};
use serde::de::DeserializeOwned;

use super::Worker;
use super::file_answer::file_answer;
use super::lanes::blocking;
use super::routes::{ProblemResponse, organization};
use crate::session::NewSession;

type Answer<T> = Result<T, ProblemResponse>;
type Shared = State<Arc<Worker>>;

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| Problem::malformed(e.to_string()))
}

/// The path's id and the caller's organization. A malformed id is a session that does not exist.
fn target(headers: &HeaderMap, id: &str) -> Result<(SessionId, OrganizationId), Problem> {
    let id = SessionId::parse(id).map_err(|_| Problem::not_found("no such session"))?;
    Ok((id, organization(headers)?))
}

pub(super) async fn create(
    State(worker): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(StatusCode, Json<WorkerSessionInfo>)> {
    let mut request: WorkerSession = read(&body)?;
    let organization = organization(&headers)?;
    let from = match request.snapshot.take() {
        None => NewSession::Fresh,
        Some(key) => NewSession::Snapshot(SessionId::parse(&key).map_err(|e| Problem::malformed(e.to_string()))?),
    };
    let made = blocking(move || worker.sessions.create(&organization, request, from));
    let info = made.await.map_err(|_| Problem::internal("the session could not be made"))??;
    Ok((StatusCode::CREATED, Json(info)))
}

pub(super) async fn show(
    State(worker): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer<Json<WorkerSessionInfo>> {
    let (id, organization) = target(&headers, &id)?;
    Ok(Json(worker.sessions.info(&id, &organization)?))
}

pub(super) async fn infos(
    State(worker): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Vec<WorkerSessionInfo>>> {
    let request: WorkerSessionIds = read(&body)?;
    if request.ids.len() > MAX_INFOS {
        return Err(Problem::invalid(format!("ids: {MAX_INFOS} at most")).into());
    }
    Ok(Json(worker.sessions.infos(&request.ids, &organization(&headers)?)))
}

pub(super) async fn remove(State(worker): Shared, headers: HeaderMap, Path(id): Path<String>) -> Answer<StatusCode> {
    let (id, organization) = target(&headers, &id)?;
    worker.sessions.remove(&id, &organization)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn suspend(
    State(worker): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer<Json<WorkerSessionInfo>> {
    let (id, organization) = target(&headers, &id)?;
    Ok(Json(worker.sessions.suspend(&id, &organization).await?))
}

pub(super) async fn resume(
    State(worker): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer<Json<WorkerSessionInfo>> {
    let (id, organization) = target(&headers, &id)?;
    Ok(Json(worker.sessions.resume(&id, &organization).await?))
}

pub(super) async fn fork(
    State(worker): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer<Json<Vec<WorkerSessionInfo>>> {
    let (id, organization) = target(&headers, &id)?;
    let request: WorkerFork = read(&body)?;
    if request.ids.is_empty() || request.ids.len() > MAX_FORK as usize {
        return Err(Problem::invalid(format!("count: 1 to {MAX_FORK}")).into());
    }
    Ok(Json(worker.sessions.fork(&id, &organization, request.ids).await?))
}

pub(super) async fn snapshot(
    State(worker): Shared,
    headers: HeaderMap,
    Path((id, key)): Path<(String, String)>,
) -> Answer<Json<SnapshotInfo>> {
    let (id, organization) = target(&headers, &id)?;
    let key = SessionId::parse(&key).map_err(|e| Problem::invalid(e.to_string()))?;
    Ok(Json(SnapshotInfo { size_bytes: worker.sessions.snapshot(&id, &organization, key).await? }))
}

pub(super) async fn remove_snapshot(State(worker): Shared, Path(key): Path<String>) -> Answer<StatusCode> {
    let key = SessionId::parse(&key).map_err(|e| Problem::invalid(e.to_string()))?;
    let removed = blocking(move || worker.sessions.remove_snapshot(&key));
    removed.await.map_err(|_| Problem::internal("the snapshot could not be deleted"))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn files(
    State(worker): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer<Json<Vec<FileEntry>>> {
    let (id, organization) = target(&headers, &id)?;
    let list = worker.sessions.with_files(&id, &organization, false, Vfs::list).await?;
    let entry =
        |file: cofferdam_host_api::vfs::FileInfo| FileEntry { path: file.path, size: file.size, content_base64: None };
    Ok(Json(list.into_iter().map(entry).collect()))
}

pub(super) async fn file(
    State(worker): Shared,
    headers: HeaderMap,
    Path((id, path)): Path<(String, String)>,
) -> Answer<Response> {
    let (id, organization) = target(&headers, &id)?;
    let path = normalize_path(&path).map_err(|e| Problem::invalid(e.to_string()))?;
    worker.unsent.admit(&organization)?;
    let read = worker.sessions.with_files(&id, &organization, false, move |vfs| vfs.view_file(&path)).await?;
    let file = read.map_err(|_| Problem::not_found("the session has no such file"))?;
    Ok(file_answer(file, &worker.unsent, organization))
}

pub(super) async fn put_file(
    State(worker): Shared,
    headers: HeaderMap,
    Path((id, path)): Path<(String, String)>,
    body: Bytes,
) -> Answer<StatusCode> {
    let (id, organization) = target(&headers, &id)?;
    let path = normalize_path(&path).map_err(|e| Problem::invalid(e.to_string()))?;
    let written = worker.sessions.with_files(&id, &organization, true, move |vfs| vfs.write_file(&path, &body)).await?;
    match written {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(FsError::NoSpace | FsError::Quota | FsError::FileTooLarge) => {
            Err(Problem::too_large("the file does not fit into the session's limits (disk_bytes, files)").into())
        }
        Err(error) => Err(Problem::invalid(format!("the file cannot be written: {error}")).into()),
    }
}
