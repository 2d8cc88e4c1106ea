//! `/v1/snapshots`: named states that new sessions start from.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use cofferdam_contract::{Snapshot, SnapshotRequest};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Json;
use super::sessions::session_id;
use crate::Error;
use crate::auth::Caller;
use crate::services::{App, snapshots};

/// Keep a session's present state under a name.
#[utoipa::path(post, path = "/v1/sessions/{id}/snapshots", tag = "snapshots", params(("id" = String, Path)),
    request_body = SnapshotRequest,
    responses((status = 201, body = Snapshot)))]
pub async fn create_snapshot(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Json(request): Json<SnapshotRequest>,
) -> Result<(StatusCode, Json<Snapshot>), Error> {
    let snapshot = snapshots::create(&app, &caller, &session_id(&id)?, &request.name).await?;
    Ok((StatusCode::CREATED, Json(snapshot)))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotList {
    snapshots: Vec<Snapshot>,
}

/// List the key's snapshots.
#[utoipa::path(get, path = "/v1/snapshots", tag = "snapshots", responses((status = 200, body = SnapshotList)))]
pub async fn list_snapshots(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<SnapshotList>, Error> {
    Ok(Json(SnapshotList { snapshots: snapshots::list(&app, &caller).await? }))
}

/// Delete a snapshot; sessions that were made from it stay.
#[utoipa::path(delete, path = "/v1/snapshots/{name}", tag = "snapshots", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub async fn delete_snapshot(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    snapshots::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
