//! `/v1/model-aliases`, `/v1/model-rules` and `/v1/model-prices`: documents that are put, listed, shown and deleted by name.

/// The four calls of a kind of document.
macro_rules! documents {
    (
        $(#[$about:meta])* $module:ident: $spec:ident, $all:tt, $one:tt,
        $put:ident, $list:ident, $get:ident, $delete:ident, $info:ident, $infos:ident, $field:ident
    ) => {
        $(#[$about])*
        pub(super) mod $module {
            use std::sync::Arc;

            use axum::Extension;
            use axum::extract::{Path, State};
            use cofferdam_core::Caller;
            use cofferdam_http::{ApiError, Json};
            use cofferdam_models::Settings;
            use cofferdam_models::settings::{$spec, Document, DocumentOwner, Spec};
            use http::StatusCode;
            use serde::Serialize;
            use utoipa::ToSchema;

            use crate::refusals::{NotFound, OperatorsDocument, TooMany};

            #[derive(Serialize, ToSchema)]
            pub(in crate::models) struct $info {
                name: String,
                /// The operator's documents cannot be changed here; one of the organization's with the same name hides them.
                owner: DocumentOwner,
                /// Unix time in seconds; none for the operator's.
                #[serde(skip_serializing_if = "Option::is_none")]
                created_at: Option<i64>,
                /// Unix time in seconds of the last change.
                #[serde(skip_serializing_if = "Option::is_none")]
                updated_at: Option<i64>,
                #[serde(flatten)]
                spec: $spec,
            }

            #[derive(Serialize, ToSchema)]
            pub(in crate::models) struct $infos {
                $field: Vec<$info>,
            }

            impl From<Document<$spec>> for $info {
                fn from(document: Document<$spec>) -> Self {
                    let Document { name, owner, spec, created_at, updated_at } = document;
                    Self { name, owner, created_at, updated_at, spec }
                }
            }

            /// Create a document, or replace the one with this name.
            #[utoipa::path(put, path = $one, tag = "models", params(("name" = String, Path)), request_body = $spec,
                responses((status = 201, description = "Made", body = $info),
                (status = 200, description = "Changed", body = $info), TooMany))]
            pub(in crate::models) async fn $put(
                State(settings): State<Arc<Settings>>,
                Extension(caller): Extension<Arc<Caller>>,
                Path(name): Path<String>,
                Json(spec): Json<$spec>,
            ) -> Result<(StatusCode, Json<$info>), ApiError> {
                let (document, new) = settings.put(&caller.organization, &name, spec).await?;
                Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(document.into())))
            }

            /// List the documents, with the operator's.
            #[utoipa::path(get, path = $all, tag = "models", responses((status = 200, body = $infos)))]
            pub(in crate::models) async fn $list(
                State(settings): State<Arc<Settings>>,
                Extension(caller): Extension<Arc<Caller>>,
            ) -> Result<Json<$infos>, ApiError> {
                let documents = settings.list::<$spec>(&caller.organization).await?;
                Ok(Json($infos { $field: documents.into_iter().map($info::from).collect() }))
            }

            /// Show a document.
            #[utoipa::path(get, path = $one, tag = "models", params(("name" = String, Path)),
                responses((status = 200, body = $info), NotFound))]
            pub(in crate::models) async fn $get(
                State(settings): State<Arc<Settings>>,
                Extension(caller): Extension<Arc<Caller>>,
                Path(name): Path<String>,
            ) -> Result<Json<$info>, ApiError> {
                Ok(Json(settings.get::<$spec>(&caller.organization, &name).await?.into()))
            }

            /// Delete a document. The operator's of the same name, if there is one, is valid again.
            #[utoipa::path(delete, path = $one, tag = "models", params(("name" = String, Path)),
                responses((status = 204, description = "Deleted"), NotFound, OperatorsDocument))]
            pub(in crate::models) async fn $delete(
                State(settings): State<Arc<Settings>>,
                Extension(caller): Extension<Arc<Caller>>,
                Path(name): Path<String>,
            ) -> Result<StatusCode, ApiError> {
                settings.delete(&caller.organization, <$spec as Spec>::KIND, &name).await?;
                Ok(StatusCode::NO_CONTENT)
            }
        }
    };
}

documents! {
    /// Names for chains of upstream models.
    aliases: AliasSpec, "/v1/model-aliases", "/v1/model-aliases/{name}",
    put_model_alias, list_model_aliases, get_model_alias, delete_model_alias, ModelAlias, ModelAliases, aliases
}

documents! {
    /// Rules of who may use which models.
    rules: RuleSpec, "/v1/model-rules", "/v1/model-rules/{name}",
    put_model_rule, list_model_rules, get_model_rule, delete_model_rule, ModelRule, ModelRules, rules
}

documents! {
    /// Prices of models. Their names may have slashes and `*`.
    prices: PriceSpec, "/v1/model-prices", "/v1/model-prices/{*name}",
    put_model_price, list_model_prices, get_model_price, delete_model_price, ModelPrice, ModelPrices, prices
}
