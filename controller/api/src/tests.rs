//! The document lists each call's refusals.

use super::*;

#[test]
fn the_groups_are_those_of_the_table() {
    for (needs, routes) in groups() {
        for (path, item) in openapi::plain_paths(routes.into_openapi()).paths.paths {
            let methods = serde_json::to_value(item).unwrap();
            for method in methods.as_object().unwrap().keys() {
                let known = ROUTES.iter().find(|route| route.method == method && route.path == path);
                let known = known.unwrap_or_else(|| panic!("{method} {path} is not in route_table.rs"));
                assert_eq!(known.needs, needs, "{method} {path}");
            }
        }
    }
}

#[test]
fn a_change_has_an_action() {
    // Work that changes nothing which the audit log keeps, and tests of settings.
    const NONE: [&str; 8] = [
        "/v1/runs",
        "/v1/sessions",
        "/v1/snapshots",
        "/functions/",
        "/oauth/login",
        "/test",
        "/v1/upstreams/test",
        "/invoke",
    ];
    for route in ROUTES.iter().filter(|route| !matches!(route.method, "get" | "head")) {
        let unnoted = NONE.iter().any(|part| route.path.contains(part));
        assert_eq!(route.action.is_empty(), unnoted, "{} {}", route.method, route.path);
    }
}

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
        ("delete", "/v1/secrets/{name}", &[400, 401, 403, 404, 409, 500, 507]),
        ("delete", "/v1/model-aliases/{name}", &[400, 401, 403, 404, 409, 500, 507]),
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

/// The document as JSON.
fn document() -> serde_json::Value {
    let all =
        groups().into_iter().fold(OpenApiRouter::with_openapi(openapi::frame()), |all, (_, routes)| all.merge(routes));
    serde_json::to_value(openapi::plain_paths(all.into_openapi())).unwrap()
}

/// True if the value is one of the schema's: the parts of JSON Schema that the document is made of.
fn fits(document: &serde_json::Value, schema: &serde_json::Value, value: &serde_json::Value) -> bool {
    use serde_json::Value;
    if let Some(place) = schema.get("$ref").and_then(Value::as_str) {
        return fits(document, document.pointer(place.strip_prefix('#').unwrap()).expect(place), value);
    }
    let list = |name: &str| schema.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let any = |parts: &[Value]| parts.iter().filter(|part| fits(document, part, value)).count();
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |name: &Value| name == kind || (name == "number" && kind == "integer");
    let typed = match schema.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().any(is),
        Some(one) => is(one),
    };
    let empty = serde_json::Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let further = schema.get("additionalProperties");
    let fields =
        value.as_object().unwrap_or(&empty).iter().all(|(name, value)| match (properties.get(name), further) {
            (Some(schema), _) => fits(document, schema, value),
            (None, Some(Value::Bool(open))) => *open,
            (None, Some(schema)) => fits(document, schema, value),
            (None, None) => true,
        });
    let required = |name: &Value| value.get(name.as_str().unwrap()).is_some();
    typed
        && fields
        && (kind != "object" || list("required").is_none_or(|names| names.iter().all(required)))
        && list("enum").is_none_or(|values| values.contains(value))
        && list("oneOf").is_none_or(|parts| any(parts) == 1)
        && list("anyOf").is_none_or(|parts| any(parts) > 0)
        && list("allOf").is_none_or(|parts| any(parts) == parts.len())
        && (schema.get("items").zip(value.as_array()))
            .is_none_or(|(schema, items)| items.iter().all(|item| fits(document, schema, item)))
}

#[test]
fn documents_that_the_api_takes_and_gives_are_those_of_its_description() {
    use serde_json::json;
    let document = document();
    let text = document.to_string();
    let schema = |name: &str| document.pointer(&format!("/components/schemas/{name}")).expect(name);
    let upstream = json!({
        "name": "eu", "owner": "organization", "key_count": 1, "secrets": ["s"], "created_at": 1, "updated_at": 1,
        "kind": "openai", "base_url": "https://a.example/v1", "models": ["a", {"name": "b", "target": "c"}],
        "connect_timeout_s": 10, "first_byte_timeout_s": 1, "idle_timeout_s": 1, "timeout_s": 1, "max_concurrent": 1
    });
    let budget = json!({
        "name": "daily", "owner": "organization", "created_at": 1, "updated_at": 1, "per": "key", "unit": "money",
        "limit": "5.00", "window": "day", "accounts": [{"subject": "k", "used": "0", "held": "0", "limit": "5"}]
    });
    for (name, value) in [
        ("UpstreamRequest", json!({"kind": "openai", "keys": ["sk-...", {"secret": "orgkey"}]})),
        ("UpstreamRequest", json!({"kind": "compatible", "base_url": "http://a/v1", "models": ["a"], "timeout_s": 5})),
        ("UpstreamRequest", upstream.clone()),
        ("UpstreamInfo", upstream),
        ("BudgetInfo", budget),
        ("BudgetSpec", json!({"per": "key", "unit": "money", "limit": "5.00", "window": "day"})),
        (
            "BudgetSpec",
            json!({"per": "task", "only": "t", "unit": "tokens", "limit": 5, "window": "task", "models": ["a"]}),
        ),
        ("AliasSpec", json!({"chain": ["a/b"]})),
        ("AliasSpec", json!({"chain": ["a/b", [{"model": "c/d", "weight": 3}, "e/f"], {"model": "g/h"}]})),
        ("ModelAlias", json!({"name": "fast", "owner": "operator", "chain": ["a/b"]})),
        ("RuleSpec", json!({"for": {"key": "k"}, "models": ["a*"], "max_tokens": 5, "regions": ["eu-*"]})),
        ("ModelRule", json!({"name": "r", "owner": "organization", "for": "organization", "models": []})),
        ("PriceSpec", json!({"input": 1, "output": "2.50"})),
        ("PriceSpec", json!({"input": 0.25, "output": 2})),
        ("ModelPrice", json!({"name": "gpt-5", "owner": "operator", "input": "1.25", "output": "10"})),
        ("NewKey", json!({"id": "key_a", "name": "n", "scopes": ["run"], "created_at": 1, "key": "cf_"})),
    ] {
        assert!(fits(&document, schema(name), &value), "{name}: {value}\n{:#}", schema(name));
    }
    for (name, value) in [
        ("UpstreamRequest", json!({"kind": "openai", "key": "sk-"})),
        ("UpstreamRequest", json!({"keys": []})),
        ("AliasSpec", json!({"chain": ["a/b"], "other": 1})),
        ("AliasSpec", json!({"chain": [7]})),
        ("BudgetSpec", json!({"per": "nobody", "unit": "money", "limit": 1, "window": "day"})),
    ] {
        assert!(!fits(&document, schema(name), &value), "{name}: {value}");
    }
    assert!(!text.contains("\"allOf\""), "an allOf of closed objects has no value");
}
