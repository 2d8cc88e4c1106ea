//! The OpenAPI document's frame, and what all calls have in common: the need for a key, and the refusals.
//!
//! Handlers describe their successes; which problems a call can be answered with stands here, once.

use std::collections::BTreeMap;

use cofferdam_contract::Problem;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, Info, OpenApi, OpenApiBuilder, Ref, RefOr, Response, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};

use super::problem::PROBLEM_JSON;

/// The frame of the document: what it is and how a caller proves itself.
pub fn document() -> OpenApi {
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    let components = ComponentsBuilder::new().schemas_from_iter(schemas);
    let components = components.security_scheme("key", key).security_scheme("bearer", bearer).build();
    let mut info = Info::new("Cofferdam", env!("CARGO_PKG_VERSION"));
    info.description =
        Some("Runs untrusted code in WebAssembly sandboxes. Every refusal is a problem document.".into());
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// Routes that take no key.
const OPEN: [&str; 5] = ["/health", "/ready", "/metrics", "/openapi.json", "/uploads/{token}"];

/// Adds to every call but those the need for a key and its refusals.
pub fn finish(mut document: OpenApi) -> OpenApi {
    // A tail of several segments is the router's word; OpenAPI knows only one kind of parameter.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for (path, item) in &mut document.paths.paths {
        if OPEN.contains(&path.as_str()) {
            continue;
        }
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                complete(method, path, operation);
            }
        }
    }
    document
}

fn complete(method: &str, path: &str, operation: &mut Operation) {
    operation.security = Some(["key", "bearer"].map(|s| SecurityRequirement::new(s, Vec::<String>::new())).into());
    for (status, text) in refusals(method, path, operation.request_body.is_some()) {
        let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
        let mut response = Response::new(text);
        response.content.insert(PROBLEM_JSON.to_owned(), content);
        operation.responses.responses.entry(status.to_string()).or_insert(RefOr::T(response));
    }
}

/// The problems that a call can be answered with. `body`: it takes one.
fn refusals(method: &str, path: &str, body: bool) -> BTreeMap<u16, &'static str> {
    let mut refusals = BTreeMap::from([
        (400, "Not readable"),
        (401, "No known key"),
        (403, "Scope or policy"),
        (500, "Ours; the log has it under the request's id"),
    ]);
    let run = path == "/v1/runs";
    let of_session = path.starts_with("/v1/sessions/{id}");
    let secrets = path.starts_with("/v1/secrets");
    let asks_worker = !path.starts_with("/v1/keys") && path != "/v1/snapshots" && !secrets;
    let deploys = method == "put" && path == "/v1/tools/{name}";
    let calls = path.starts_with("/v1/tools/{name}/functions/");
    if body {
        refusals.insert(408, "The body did not arrive in time");
        refusals.insert(413, "The body, or a part of it, is too large");
        refusals.insert(415, "Not JSON where JSON is needed, or an encoded body");
    }
    if body || path == "/v1/sessions" || path.contains("{path}") {
        refusals.insert(422, "A value that cannot be");
    }
    if run || path.contains('{') || (path == "/v1/sessions" && method == "post") {
        refusals.insert(404, "There is no such thing, or it is another key's");
    }
    let uses_session = of_session && path != "/v1/sessions/{id}";
    if run || uses_session {
        refusals.insert(409, "Busy, or not in a state for this");
    }
    if deploys || path == "/v1/tools/{name}/rollback" {
        refusals.insert(409, "A function's name is taken by another tool");
    }
    if deploys || path == "/v1/tools/{name}/push" {
        refusals.insert(502, "The registry did not do its part");
    }
    if path == "/v1/keys/{id}" {
        refusals.insert(409, "The key is the operator's to change");
    }
    if run || (of_session && method != "delete") {
        refusals.insert(410, "The session's state is lost");
    }
    if run
        || uses_session
        || (path == "/v1/sessions" && method == "post")
        || deploys
        || calls
        || (secrets && method == "put")
    {
        refusals.insert(429, "Too much at once, or too many; see Retry-After");
    }
    if asks_worker {
        refusals.insert(503, "The worker was lost, or none is ready; see Retry-After");
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::refusals;

    #[test]
    fn a_call_lists_what_it_can_be_refused_with() {
        for (method, path, body, expected) in [
            ("post", "/v1/runs", true, &[400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 429, 500, 503][..]),
            ("get", "/v1/runs/{id}/files/{path}", false, &[400, 401, 403, 404, 422, 500, 503]),
            ("get", "/v1/sessions/{id}", false, &[400, 401, 403, 404, 410, 500, 503]),
            ("delete", "/v1/sessions/{id}", false, &[400, 401, 403, 404, 500, 503]),
            ("post", "/v1/sessions/{id}/suspend", false, &[400, 401, 403, 404, 409, 410, 429, 500, 503]),
            ("get", "/v1/sessions", false, &[400, 401, 403, 422, 500, 503]),
            ("get", "/v1/snapshots", false, &[400, 401, 403, 500]),
            ("put", "/v1/tools/{name}", true, &[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503]),
            ("get", "/v1/tools/{name}", false, &[400, 401, 403, 404, 500, 503]),
            ("post", "/v1/tools/{name}/push", true, &[400, 401, 403, 404, 408, 413, 415, 422, 500, 502, 503]),
            (
                "post",
                "/v1/tools/{name}/functions/{function}",
                true,
                &[400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503],
            ),
            ("put", "/v1/secrets/{name}", true, &[400, 401, 403, 404, 408, 413, 415, 422, 429, 500]),
            ("get", "/v1/secrets", false, &[400, 401, 403, 500]),
            ("post", "/v1/keys", true, &[400, 401, 403, 408, 413, 415, 422, 500]),
            ("delete", "/v1/keys/{id}", false, &[400, 401, 403, 404, 409, 500]),
        ] {
            assert_eq!(refusals(method, path, body).into_keys().collect::<Vec<_>>(), expected, "{method} {path}");
        }
    }
}
