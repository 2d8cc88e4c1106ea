//! `/v1/secrets`: put, list, show and delete secrets. A value goes in and does not come out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::json::Json;
use crate::Error;
use crate::auth::Caller;
use crate::services::{App, secrets};
use crate::store::SecretRow;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// 4 bytes to 16 KiB of text.
    #[serde(deserialize_with = "quietly")]
    #[schema(value_type = String, write_only)]
    value: Zeroizing<String>,
    /// Where it may be sent: `api.example.com`, `*.example.com`, each with or without `:port`. Without one, to every port of it.
    hosts: Vec<String>,
}

/// A text; what else it is, no error says.
fn quietly<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    match serde_json::Value::deserialize(deserializer) {
        Ok(serde_json::Value::String(text)) => Ok(Zeroizing::new(text)),
        _ => Err(D::Error::custom("invalid type: `value` has to be a string")),
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SecretInfo {
    name: String,
    hosts: Vec<String>,
    /// Unix time in seconds.
    created_at: i64,
    /// When it got the value that it has.
    updated_at: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SecretList {
    secrets: Vec<SecretInfo>,
}

impl TryFrom<SecretRow> for SecretInfo {
    type Error = Error;

    fn try_from(row: SecretRow) -> Result<Self, Error> {
        let hosts = secrets::hosts(&row)?.iter().map(ToString::to_string).collect();
        Ok(Self { name: row.name, hosts, created_at: row.created_at, updated_at: row.updated_at })
    }
}

/// Make a secret, or change its value and hosts.
///
/// Sandboxes never see the value: they hold a placeholder, which the gateway replaces in requests to these hosts.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    request_body = SecretRequest, responses((status = 201, description = "Made", body = SecretInfo),
    (status = 200, description = "Changed", body = SecretInfo)))]
pub async fn put_secret(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<SecretRequest>,
) -> Result<(StatusCode, Json<SecretInfo>), Error> {
    let (row, new) = secrets::put(&app, &caller, &name, &request.value, &request.hosts).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(row.try_into()?)))
}

/// List the organization's secrets, without their values.
#[utoipa::path(get, path = "/v1/secrets", tag = "secrets", responses((status = 200, body = SecretList)))]
pub async fn list_secrets(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<SecretList>, Error> {
    let rows = secrets::list(&app, &caller).await?;
    let secrets = rows.into_iter().map(SecretInfo::try_from).collect::<Result<_, _>>()?;
    Ok(Json(SecretList { secrets }))
}

/// Show a secret, without its value.
#[utoipa::path(get, path = "/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 200, body = SecretInfo)))]
pub async fn get_secret(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<SecretInfo>, Error> {
    Ok(Json(secrets::find(&app, &caller, &name).await?.try_into()?))
}

/// Delete a secret. Runs that use it now go on without it.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub async fn delete_secret(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    secrets::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
