//! `/v1/secrets`: put, list, show and delete secrets. Values are write-only.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::audited::Details;
use crate::refusals::{InUse, NotFound, TooMany};
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_identity::Secrets;
use cofferdam_models::Settings;
use cofferdam_store::SecretRow;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRequest {
    /// 4 bytes to 16 KiB of text.
    #[serde(deserialize_with = "quietly")]
    #[schema(value_type = String, write_only)]
    value: Zeroizing<String>,
    /// The hosts that it may be sent to: `api.example.com`, `*.example.com`, each with or without `:port`. Without a
    /// port, every port of the host.
    hosts: Vec<String>,
}

/// A string. Errors never echo it.
fn quietly<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    match serde_json::Value::deserialize(deserializer) {
        Ok(serde_json::Value::String(text)) => Ok(Zeroizing::new(text)),
        _ => Err(D::Error::custom("invalid type: `value` must be a string")),
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretInfo {
    name: String,
    hosts: Vec<String>,
    /// Unix time in seconds.
    created_at: i64,
    /// Unix time in seconds of the last change of the value.
    updated_at: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretList {
    secrets: Vec<SecretInfo>,
}

impl TryFrom<SecretRow> for SecretInfo {
    type Error = cofferdam_identity::Error;

    fn try_from(row: SecretRow) -> Result<Self, cofferdam_identity::Error> {
        let hosts = cofferdam_identity::secret_hosts(&row)?.iter().map(ToString::to_string).collect();
        Ok(Self { name: row.name, hosts, created_at: row.created_at, updated_at: row.updated_at })
    }
}

/// Create a secret, or replace its value and hosts.
///
/// Sandboxes never see the value: they hold a placeholder, which the gateway replaces in requests to these hosts.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    request_body = SecretRequest, responses((status = 201, description = "Made", body = SecretInfo),
    (status = 200, description = "Changed", body = SecretInfo), NotFound, TooMany))]
pub(crate) async fn put_secret(
    State(secrets): State<Arc<Secrets>>,
    State(models): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Path(name): Path<String>,
    Json(request): Json<SecretRequest>,
) -> Result<(StatusCode, Json<SecretInfo>), ApiError> {
    details.add(serde_json::json!({"hosts": request.hosts}));
    let (row, new) = secrets.put(&caller, &name, &request.value, &request.hosts).await?;
    models.secret_changed(&caller.organization).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(row.try_into()?)))
}

/// List the organization's secrets, without their values.
#[utoipa::path(get, path = "/v1/secrets", tag = "secrets", responses((status = 200, body = SecretList)))]
pub(crate) async fn list_secrets(
    State(secrets): State<Arc<Secrets>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<SecretList>, ApiError> {
    let rows = secrets.list(&caller).await?;
    let secrets = rows.into_iter().map(SecretInfo::try_from).collect::<Result<_, _>>()?;
    Ok(Json(SecretList { secrets }))
}

/// Show a secret, without its value.
#[utoipa::path(get, path = "/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 200, body = SecretInfo), NotFound))]
pub(crate) async fn get_secret(
    State(secrets): State<Arc<Secrets>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<SecretInfo>, ApiError> {
    Ok(Json(secrets.find(&caller, &name).await?.try_into()?))
}

/// Delete a secret. Runs that use it continue without it; one that an upstream of models names is kept.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"), NotFound, InUse))]
pub(crate) async fn delete_secret(
    State(secrets): State<Arc<Secrets>>,
    State(models): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    models.check_secret_unused(&caller.organization, &name).await?;
    secrets.delete(&caller, &name).await?;
    models.secret_changed(&caller.organization).await?;
    Ok(StatusCode::NO_CONTENT)
}
