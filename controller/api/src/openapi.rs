//! The frame of the OpenAPI document, and the parts that calls share: the API key and the common refusals.
//!
//! Handlers describe their answers and their own refusals (`refusals.rs`).

use cofferdam_contract::Problem;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa::{PartialSchema, ToSchema};

use crate::refusals::problem;

/// Refusals of every call that needs a key.
const ALWAYS: [(u16, &str); 4] = [
    (400, "The request is malformed"),
    (401, "The API key is missing or unknown"),
    (403, "The key lacks the scope, or a policy denies the call"),
    (500, "An internal failure; the server's log has it under the request id"),
];
/// The refusal of every call that changes something.
const OF_A_CHANGE: (u16, &str) = (507, "A disk of the server is full");
/// Refusals of every call with a body.
const OF_A_BODY: [(u16, &str); 4] = [
    (408, "The body did not arrive in time"),
    (413, "The body, or a part of it, is too large"),
    (415, "The body is not JSON, or has a content encoding"),
    (422, "An invalid value"),
];

/// The frame of the document: title, version, authentication.
pub(crate) fn frame() -> OpenApi {
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    let components = ComponentsBuilder::new().schemas_from_iter(schemas);
    let components = components.security_scheme("key", key).security_scheme("bearer", bearer).build();
    let mut info = Info::new("Cofferdam", env!("CARGO_PKG_VERSION"));
    info.description =
        Some("Runs untrusted code in WebAssembly sandboxes. Every refusal is a problem document. Calls of models are in the protocols \
              of OpenAI (/v1/chat/completions, /v1/responses, /v1/embeddings) and Anthropic (/v1/messages), and are not \
              described here.".into());
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// Adds the API key and the common refusals to all calls of a group.
pub(crate) fn need_key(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(|(changes, operation)| {
            let schemes = ["key", "bearer"].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
            operation.security = Some(schemes.into());
            let body: &[_] = if operation.request_body.is_some() { &OF_A_BODY } else { &[] };
            let change = changes.then_some(&OF_A_CHANGE);
            for (status, text) in ALWAYS.iter().chain(body).chain(change) {
                operation.responses.responses.entry(status.to_string()).or_insert_with(|| problem(text));
            }
        });
    }
}

/// The operations of a path, each with true if it changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let PathItem { get, put, post, patch, delete, .. } = item;
    let all = [(false, get), (true, put), (true, post), (true, patch), (true, delete)];
    all.into_iter().filter_map(|(changes, operation)| Some((changes, operation.as_mut()?)))
}

/// Converts the router's paths to OpenAPI's, which have no parameters of several segments (`{*path}`), and documents in
/// documents to one object each.
pub(crate) fn plain_paths(mut document: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    crate::flatten::flatten(&mut document);
    document
}
