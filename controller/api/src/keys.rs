//! `/v1/keys`: create, list, show, change, rotate and revoke API keys.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::audited::Details;
use crate::refusals::{NotFound, OperatorsKey, TooMany};
use cofferdam_core::{Caller, Scope, Scopes};
use cofferdam_http::{ApiError, Json, OptionalJson};
use cofferdam_identity::{KeyPatch, KeyRequest, Keys};
use cofferdam_store::KeyRow;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeySpec {
    name: String,
    scopes: Vec<Scope>,
    /// Seconds until it ends; without it, it ends with the key that makes it, if that ends.
    ttl_s: Option<u64>,
    /// The most requests a minute; without it, as many as the key that makes it.
    requests_per_minute: Option<u32>,
    /// A key that may manage organizations; only such a key makes one.
    #[serde(default)]
    operator: bool,
}

/// Absent fields stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyChange {
    name: Option<String>,
    scopes: Option<Vec<Scope>>,
    /// Seconds from now; null: it does not end.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    ttl_s: Option<Option<u64>>,
    /// Null: no limit of its own.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    requests_per_minute: Option<Option<u32>>,
}

/// Tells a field that is null from one that is absent.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// Seconds for which the old text is still accepted: 86,400 by default, 0 for none.
    grace_s: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    /// Unix time in seconds.
    created_at: i64,
    /// The id of the key that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    /// Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// Unix time in seconds, up to a minute late.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    /// The time until which the text before the last rotation is accepted, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_text_until: Option<i64>,
    /// True for a key that may manage organizations.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    operator: bool,
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

impl NewKey {
    pub(crate) fn new(row: KeyRow, text: &cofferdam_core::Secret) -> Self {
        Self { about: row.into(), key: text.expose().to_owned() }
    }
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        let scopes = Scopes::from_text(&row.scopes).list().to_vec();
        let terms = row.terms;
        Self {
            id: row.id,
            name: row.name,
            scopes,
            created_at: row.created_at,
            created_by: Some(terms.created_by).filter(|id| !id.is_empty()),
            expires_at: terms.expires_at,
            last_used_at: terms.last_used_at,
            requests_per_minute: terms.requests_per_minute,
            old_text_until: terms.old.map(|old| old.expires_at).filter(|end| *end > cofferdam_core::now()),
            operator: terms.operator,
        }
    }
}

/// The fields of a key that the audit log keeps.
fn facts(row: &KeyRow) -> serde_json::Value {
    json!({
        "name": row.name, "scopes": row.scopes, "expires_at": row.terms.expires_at,
        "requests_per_minute": row.terms.requests_per_minute, "operator": row.terms.operator,
    })
}

/// Create a key.
///
/// A key gives no more than it has: neither scopes, nor time, nor requests a minute.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeySpec, responses((status = 201, body = NewKey), TooMany))]
pub(crate) async fn create_key(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Json(request): Json<KeySpec>,
) -> Result<(StatusCode, Json<NewKey>), ApiError> {
    let KeySpec { name, scopes, ttl_s, requests_per_minute, operator } = request;
    let (row, key) = keys.create(&caller, KeyRequest { name, scopes, ttl_s, requests_per_minute, operator }).await?;
    details.target(&row.id);
    details.add(facts(&row));
    Ok((StatusCode::CREATED, Json(NewKey::new(row, &key))))
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

/// Show a key, without the key itself.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 200, body = Key), NotFound))]
pub(crate) async fn get_key(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Key>, ApiError> {
    Ok(Json(keys.find(&caller, &id).await?.into()))
}

/// Change a key's name, scopes, end or rate.
///
/// If it may do less afterwards, its requests under way end.
#[utoipa::path(patch, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)), request_body = KeyChange,
    responses((status = 200, body = Key), NotFound, OperatorsKey))]
pub(crate) async fn patch_key(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Path(id): Path<String>,
    Json(request): Json<KeyChange>,
) -> Result<Json<Key>, ApiError> {
    let KeyChange { name, scopes, ttl_s, requests_per_minute } = request;
    let row = keys.patch(&caller, &id, &KeyPatch { name, scopes, ttl_s, requests_per_minute }).await?;
    details.add(facts(&row));
    Ok(Json(row.into()))
}

/// Give a key a new text; the old one is accepted for some time more.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "keys", params(("id" = String, Path)),
    request_body = Option<RotateRequest>, responses((status = 200, body = NewKey), NotFound, OperatorsKey))]
pub(crate) async fn rotate_key(
    State(keys): State<Arc<Keys>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<RotateRequest>,
) -> Result<Json<NewKey>, ApiError> {
    let (row, key) = keys.rotate(&caller, &id, request.grace_s).await?;
    details.add(json!({"old_text_until": row.terms.old.as_ref().map(|old| old.expires_at)}));
    Ok(Json(NewKey::new(row, &key)))
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
