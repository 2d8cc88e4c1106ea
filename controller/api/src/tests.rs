//! The document lists each call's refusals.

use super::*;

#[test]
fn a_call_lists_its_refusals() {
    let paths = groups().map(|(_, routes)| openapi::plain_paths(routes.into_openapi()).paths.paths);
    let refusals = |method: &str, path: &str| -> Vec<u16> {
        let item = paths.iter().find_map(|paths| {
            let item = paths.get(path)?;
            match method {
                "get" => item.get.as_ref(),
                "put" => item.put.as_ref(),
                "post" => item.post.as_ref(),
                "delete" => item.delete.as_ref(),
                _ => None,
            }
        });
        let statuses = item.unwrap().responses.responses.keys().map(|status| status.parse().unwrap());
        statuses.filter(|status| *status >= 400).collect()
    };
    for (method, path, expected) in [
        ("post", "/v1/runs", &[400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 429, 500, 503, 507][..]),
        ("get", "/v1/runs/{id}/files/{path}", &[400, 401, 403, 404, 422, 500, 503]),
        ("get", "/v1/sessions/{id}", &[400, 401, 403, 404, 410, 500, 503]),
        ("delete", "/v1/sessions/{id}", &[400, 401, 403, 404, 500, 503, 507]),
        ("post", "/v1/sessions/{id}/suspend", &[400, 401, 403, 404, 409, 410, 429, 500, 503, 507]),
        ("get", "/v1/sessions", &[400, 401, 403, 422, 500, 503]),
        ("get", "/v1/snapshots", &[400, 401, 403, 500]),
        ("put", "/v1/tools/{name}", &[400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 507]),
        ("get", "/v1/tools/{name}", &[400, 401, 403, 404, 500, 503]),
        ("post", "/v1/tools/{name}/push", &[400, 401, 403, 404, 408, 413, 415, 422, 500, 502, 503, 507]),
        (
            "post",
            "/v1/tools/{name}/functions/{function}",
            &[400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 507],
        ),
        ("put", "/v1/secrets/{name}", &[400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 507]),
        ("get", "/v1/secrets", &[400, 401, 403, 500]),
        ("put", "/v1/upstreams/{name}", &[400, 401, 403, 408, 413, 415, 422, 429, 500, 507]),
        ("delete", "/v1/upstreams/{name}", &[400, 401, 403, 404, 409, 500, 507]),
        ("get", "/v1/model-prices/{name}", &[400, 401, 403, 404, 500]),
        ("get", "/v1/usage", &[400, 401, 403, 422, 500]),
        ("post", "/v1/keys", &[400, 401, 403, 408, 413, 415, 422, 429, 500, 507]),
        ("delete", "/v1/keys/{id}", &[400, 401, 403, 404, 409, 500, 507]),
    ] {
        assert_eq!(refusals(method, path), expected, "{method} {path}");
    }
}
