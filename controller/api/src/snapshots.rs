//! `/v1/snapshots`: named states that new sessions start from.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use cofferdam_contract::{Snapshot, SnapshotRequest};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::session_id;
use crate::refusals::{NotFound, SessionBusy, SessionLost, StorageFull, TooMany, WorkerLost};
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_sandbox::Sandboxes;

/// Save a session's current state under a name.
#[utoipa::path(post, path = "/v1/sessions/{id}/snapshots", tag = "snapshots", params(("id" = String, Path)),
    request_body = SnapshotRequest,
    responses((status = 201, body = Snapshot), NotFound, SessionBusy, SessionLost, TooMany, StorageFull, WorkerLost))]
pub(crate) async fn create_snapshot(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Json(request): Json<SnapshotRequest>,
) -> Result<(StatusCode, Json<Snapshot>), ApiError> {
    let snapshot = sandboxes.create_snapshot(&caller, &session_id(&id)?, &request.name).await?;
    Ok((StatusCode::CREATED, Json(snapshot)))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotList {
    snapshots: Vec<Snapshot>,
}

/// List the key's snapshots.
#[utoipa::path(get, path = "/v1/snapshots", tag = "snapshots", responses((status = 200, body = SnapshotList)))]
pub(crate) async fn list_snapshots(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<SnapshotList>, ApiError> {
    Ok(Json(SnapshotList { snapshots: sandboxes.list_snapshots(&caller).await? }))
}

/// Delete a snapshot. Sessions that were created from it stay.
#[utoipa::path(delete, path = "/v1/snapshots/{name}", tag = "snapshots", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"), NotFound, WorkerLost))]
pub(crate) async fn delete_snapshot(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    sandboxes.delete_snapshot(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
