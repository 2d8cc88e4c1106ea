//! `/v1/keys`: create, list and revoke API keys.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusals::{NotFound, OperatorsKey, TooMany};
use cofferdam_core::{Caller, Scope, Scopes};
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_identity::Keys;
use cofferdam_store::KeyRow;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    name: String,
    scopes: Vec<Scope>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    /// Unix time in seconds.
    created_at: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewKey {
    #[serde(flatten)]
    about: Key,
    /// The key itself. It is never shown again.
    key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<Key>,
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        let scopes = Scopes::from_text(&row.scopes).list().to_vec();
        Self { id: row.id, name: row.name, scopes, created_at: row.created_at }
    }
}

/// Create a key.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeyRequest, responses((status = 201, body = NewKey), TooMany))]
pub(crate) async fn create_key(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(request): Json<KeyRequest>,
) -> Result<(StatusCode, Json<NewKey>), ApiError> {
    let (row, key) = keys.create(&caller, &request.name, request.scopes).await?;
    Ok((StatusCode::CREATED, Json(NewKey { about: row.into(), key: key.expose().to_owned() })))
}

/// List the organization's keys, without the keys themselves.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = KeyList)))]
pub(crate) async fn list_keys(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<KeyList>, ApiError> {
    let keys = keys.list(&caller).await?.into_iter().map(Key::from).collect();
    Ok(Json(KeyList { keys }))
}

/// Revoke a key.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked"), NotFound, OperatorsKey))]
pub(crate) async fn delete_key(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    keys.revoke(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
