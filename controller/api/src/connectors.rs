//! `/v1/connectors`: MCP servers whose tools agents may use, and logins at them. The pages of logins are in `login_pages.rs`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_connectors::Connectors;
use cofferdam_contract::Problem;
use cofferdam_contract::work::{ConnectorInfo, ConnectorLogin, ConnectorReport, ConnectorSpec};
use cofferdam_core::{Caller, Scope};
use cofferdam_http::{ApiError, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::login_pages;
use crate::refusals::{InvalidValue, NotFound, TooMany};
use crate::services::Services;

/// Connectors of one page by default.
const DEFAULT_PAGE: i64 = 100;

pub(crate) fn deploy() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(put_connector))
        .routes(routes!(delete_connector))
        .routes(routes!(test_connector))
        .routes(routes!(logout_connector))
}

pub(crate) fn read() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list_connectors)).routes(routes!(get_connector))
}

pub(crate) fn invoke() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(login_connector))
}

pub(crate) fn open() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(oauth_client)).merge(login_pages::open())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Connectors after the one with this name.
    after: Option<String>,
    /// At most 200; 100 by default.
    limit: Option<i64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonQuery {
    /// The person who logs in, where each does for himself.
    person: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ConnectorList {
    connectors: Vec<ConnectorInfo>,
    /// The `after` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Create a connector, or replace the one with this name.
///
/// Values that are secret are not shown again: `[sealed]` stands in their place, and sent back it keeps the stored value, as long
/// as the server (scheme, host, port and `ca`) stays the same.
#[utoipa::path(put, path = "/v1/connectors/{name}", tag = "connectors", params(("name" = String, Path)),
    request_body = ConnectorSpec, responses((status = 201, description = "Made", body = ConnectorInfo),
    (status = 200, description = "Changed", body = ConnectorInfo), InvalidValue, TooMany))]
pub(crate) async fn put_connector(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(spec): Json<ConnectorSpec>,
) -> Result<(StatusCode, Json<ConnectorInfo>), ApiError> {
    let (info, new) = connectors.put(&caller, &name, spec).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(info)))
}

/// List the organization's connectors, by name.
#[utoipa::path(get, path = "/v1/connectors", tag = "connectors", params(ListQuery),
    responses((status = 200, body = ConnectorList)))]
pub(crate) async fn list_connectors(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ConnectorList>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, cofferdam_connectors::MAX_PAGE);
    let found = connectors.list(&caller, query.after.as_deref().unwrap_or_default(), limit).await?;
    let full = i64::try_from(found.len()).is_ok_and(|count| count == limit);
    let next = found.last().filter(|_| full).map(|last| last.name.clone());
    Ok(Json(ConnectorList { connectors: found, next }))
}

/// Show a connector, without its secrets.
#[utoipa::path(get, path = "/v1/connectors/{name}", tag = "connectors", params(("name" = String, Path)),
    responses((status = 200, body = ConnectorInfo), NotFound))]
pub(crate) async fn get_connector(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<ConnectorInfo>, ApiError> {
    Ok(Json(connectors.get(&caller, &name).await?))
}

/// Delete a connector, with all logins at it.
#[utoipa::path(delete, path = "/v1/connectors/{name}", tag = "connectors", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"), NotFound))]
pub(crate) async fn delete_connector(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    connectors.delete(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test a connector: reach its server, and list its tools as models are offered them.
#[utoipa::path(post, path = "/v1/connectors/{name}/test", tag = "connectors", params(("name" = String, Path), PersonQuery),
    responses((status = 200, body = ConnectorReport), NotFound))]
pub(crate) async fn test_connector(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Query(query): Query<PersonQuery>,
) -> Result<Json<ConnectorReport>, ApiError> {
    Ok(Json(connectors.test(&caller, &name, query.person.as_deref()).await?))
}

/// Begin a login at a connector's server. Open the address in a browser within 10 minutes.
///
/// A login for the whole organization needs a key with the scope `deploy`.
#[utoipa::path(get, path = "/v1/connectors/{name}/login", tag = "connectors", params(("name" = String, Path), PersonQuery),
    responses((status = 200, body = ConnectorLogin), NotFound, InvalidValue, TooMany))]
pub(crate) async fn login_connector(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Query(query): Query<PersonQuery>,
) -> Result<Json<ConnectorLogin>, ApiError> {
    if !connectors.is_per_person(&caller, &name).await? && !caller.scopes.cover(Scope::Deploy) {
        let why = "This login is the whole organization's: it needs a key with the scope `deploy`.";
        return Err(Problem::forbidden(why).into());
    }
    Ok(Json(connectors.login(&caller, &name, query.person.as_deref()).await?))
}

/// Forget a login.
#[utoipa::path(delete, path = "/v1/connectors/{name}/login", tag = "connectors", params(("name" = String, Path), PersonQuery),
    responses((status = 204, description = "Forgotten"), NotFound))]
pub(crate) async fn logout_connector(
    State(connectors): State<Arc<Connectors>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Query(query): Query<PersonQuery>,
) -> Result<StatusCode, ApiError> {
    connectors.logout(&caller, &name, query.person.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show how this server describes itself as a client, to authorization servers that fetch it.
#[utoipa::path(get, path = "/oauth/client.json", tag = "connectors",
    responses((status = 200, description = "A client's metadata document"), NotFound))]
pub(crate) async fn oauth_client(State(connectors): State<Arc<Connectors>>) -> Result<Response, ApiError> {
    match connectors.client_document() {
        Some(document) => Ok(axum::Json(document).into_response()),
        None => Err(Problem::not_found("This server has no public address with TLS (COFFERDAM_PUBLIC_URL).").into()),
    }
}
