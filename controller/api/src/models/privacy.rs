//! `/v1/model-privacy`: contents of calls are stored only where the organization asks for it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_models::Settings;
use cofferdam_models::settings::Privacy;

/// Show which parts of the organization's calls are stored.
#[utoipa::path(get, path = "/v1/model-privacy", tag = "models", responses((status = 200, body = Privacy)))]
pub(super) async fn get_model_privacy(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<Privacy>, ApiError> {
    Ok(Json(settings.privacy(&caller.organization).await?))
}

/// Choose which parts of the organization's calls are stored.
#[utoipa::path(put, path = "/v1/model-privacy", tag = "models", request_body = Privacy,
    responses((status = 200, body = Privacy)))]
pub(super) async fn put_model_privacy(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(privacy): Json<Privacy>,
) -> Result<Json<Privacy>, ApiError> {
    settings.put_privacy(&caller.organization, privacy).await?;
    Ok(Json(privacy))
}
