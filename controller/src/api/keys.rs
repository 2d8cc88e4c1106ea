//! `/v1/keys`: make, list and revoke API keys.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json::Json;
use crate::Error;
use crate::auth::{Caller, Scope, Scopes};
use crate::services::{App, keys};
use crate::store::KeyRow;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    name: String,
    scopes: Vec<Scope>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    /// Unix time in seconds.
    created_at: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NewKey {
    #[serde(flatten)]
    about: Key,
    /// The key itself. It is not shown again.
    key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    keys: Vec<Key>,
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        let scopes = Scopes::from_text(&row.scopes).list().to_vec();
        Self { id: row.id, name: row.name, scopes, created_at: row.created_at }
    }
}

/// Make a key.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeyRequest, responses((status = 201, body = NewKey)))]
pub async fn create_key(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(request): Json<KeyRequest>,
) -> Result<(StatusCode, Json<NewKey>), Error> {
    let (row, key) = keys::create(&app, &caller, &request.name, request.scopes).await?;
    Ok((StatusCode::CREATED, Json(NewKey { about: row.into(), key: key.expose().to_owned() })))
}

/// List the organization's keys, without their texts.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = KeyList)))]
pub async fn list_keys(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<KeyList>, Error> {
    let keys = keys::list(&app, &caller).await?.into_iter().map(Key::from).collect();
    Ok(Json(KeyList { keys }))
}

/// Revoke a key.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked")))]
pub async fn delete_key(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    keys::revoke(&app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
