//! Texts that a database cannot keep or that are far too long, in every parameter and JSON field of every route of the
//! document, on both databases: never a failure of ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use axum::body::Body;
use cofferdam_testkit::database::On;
use cofferdam_testkit::tools::{FakeTools, component};
use serde_json::{Map, Value, json};

use crate::support::{ADMIN, TestApp};

const NUL: &str = "a\0b";
/// JSON is nested no deeper than this in a sample.
const MAX_DEPTH: usize = 6;

/// Answers that may have a status of 5xx here: there is no worker, no registry and no cluster.
const ELSEWHERE: [u16; 2] = [502, 503];

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Fills the path's parameters: the one numbered `odd` with `text`, the others with plausible names.
fn path(route: &str, odd: Option<usize>, text: &str) -> String {
    let mut number = 0;
    let part = |part: &str| {
        let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else { return part.to_owned() };
        number += 1;
        match (odd == Some(number - 1), name) {
            (true, _) => escaped(text),
            (false, "number") => "1".to_owned(),
            (false, "org") => "default".to_owned(),
            (false, _) => "some-name".to_owned(),
        }
    };
    route.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolved(document, document.pointer(reference.trim_start_matches('#')).unwrap()),
        None => schema,
    }
}

/// A value of the schema, and the paths of its texts. Optional fields are there too.
fn sample(document: &Value, schema: &Value, at: &str, depth: usize, texts: &mut Vec<String>) -> Value {
    let schema = resolved(document, schema);
    if let Some(options) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()).or(schema["allOf"].as_array()) {
        let kept = options.iter().find(|option| option["type"] != "null").unwrap_or(&Value::Null);
        return sample(document, kept, at, depth, texts);
    }
    if let Some(name) = schema["enum"].as_array().and_then(|names| names.first()) {
        texts.push(at.to_owned());
        return name.clone();
    }
    let kind = schema["type"].as_array().and_then(|kinds| kinds.first()).unwrap_or(&schema["type"]);
    match kind.as_str() {
        _ if depth == MAX_DEPTH => Value::Null,
        Some("object") => {
            let mut object = Map::new();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                object.insert(name.clone(), sample(document, field, &format!("{at}/{name}"), depth + 1, texts));
            }
            if schema["additionalProperties"].is_object() {
                let value =
                    sample(document, &schema["additionalProperties"], &format!("{at}/some-key"), depth + 1, texts);
                object.insert("some-key".to_owned(), value);
            }
            Value::Object(object)
        }
        Some("array") => json!([sample(document, &schema["items"], &format!("{at}/0"), depth + 1, texts)]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        _ => {
            texts.push(at.to_owned());
            json!("some-text")
        }
    }
}

/// A text that does not compress: 6,000 bytes, longer than an entry of an index.
fn long() -> String {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..6_000).map(next).collect()
}

struct Walk<'a> {
    app: &'a TestApp,
    name: String,
    sent: usize,
}

impl Walk<'_> {
    async fn send(&mut self, method: &str, path: &str, body: Option<Value>, what: &str) -> u16 {
        let answer = self.app.call(ADMIN, &method.to_uppercase(), path, body).await;
        self.sent += 1;
        let status = answer.status.as_u16();
        let text = String::from_utf8_lossy(&answer.body);
        assert!(status < 500 || ELSEWHERE.contains(&status), "{}: {what}: {status} {text}", self.name);
        status
    }

    /// Sends a route's requests with `text` in one place after the other.
    async fn route(&mut self, route: &str, method: &str, operation: &Value, text: &str) {
        let refused = |status: u16, what: &str| {
            assert!(text != NUL || (400..500).contains(&status), "{what} was taken: {status}");
        };
        for number in 0..route.matches('{').count() {
            let status =
                self.send(method, &path(route, Some(number), text), body_of(self.app, operation).0, route).await;
            refused(status, &format!("{}: {route}, parameter {number}", self.name));
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let value = escaped(text);
            let address = format!("{}?{name}={value}", path(route, None, ""));
            let what = format!("{}: {route}?{name}", self.name);
            let answer = self.app.call(ADMIN, &method.to_uppercase(), &address, None).await;
            self.sent += 1;
            assert!(answer.status.as_u16() < 500, "{what}: {}", answer.status);
            // A browser's page.
            if text == NUL && ["/oauth/callback", "/oauth/login"].contains(&route) {
                assert_eq!(answer.status, 400, "{what}");
            } else if text == NUL {
                let detail = answer.problem(400, "malformed-request")["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(&format!("`{name}`")), "{what}: {detail}");
            }
        }
        let (Some(whole), texts) = body_of(self.app, operation) else { return };
        for place in texts {
            let mut body = whole.clone();
            *body.pointer_mut(&place).unwrap() = json!(text);
            let what = format!("{route} with {body}");
            self.send(method, &path(route, None, ""), Some(body), &what).await;
            // The other fields are left out, so that nothing else is refused before.
            let mut alone = json!({});
            let top = place.split('/').nth(1).unwrap();
            alone[top] = whole[top].clone();
            *alone.pointer_mut(&place).unwrap() = json!(text);
            let what = format!("{route} with {alone}");
            self.send(method, &path(route, None, ""), Some(alone), &what).await;
        }
    }
}

/// A sample of the operation's JSON body, and the paths of its texts.
fn body_of(app: &TestApp, operation: &Value) -> (Option<Value>, Vec<String>) {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if schema.is_null() {
        return (None, Vec::new());
    }
    let mut texts = Vec::new();
    let body = sample(&app.document, schema, "", 0, &mut texts);
    (Some(body), texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_in_any_place_is_a_failure_of_ours() {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let database = on.database(&folder).await;
        let tools = FakeTools::start().await;
        let app = TestApp::with_tools(&tools, &[("DATABASE_URL", database.url.expose())]).await;
        let mut walk = Walk { app: &app, name: format!("{on:?}"), sent: 0 };
        let long = long();
        for (route, item) in app.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for text in [NUL, long.as_str(), "\u{fffe}\u{10ffff}'\"\\;--"] {
                    walk.route(route, method, operation, text).await;
                }
            }
        }
        assert!(walk.sent > 300, "{} requests: the document was not walked", walk.sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_refused_with_the_fields_name() {
    let app = TestApp::new().await;
    for (method, path, body, field) in [
        ("POST", "/v1/keys", json!({"name": NUL, "scopes": ["run"]}), "`name`"),
        ("PUT", "/v1/secrets/x", json!({"value": "12345678", "hosts": ["a.example", NUL]}), "`hosts.1`"),
        ("POST", "/v1/agents", json!({"id": "a", "name": NUL}), "`name`"),
        (
            "POST",
            "/v1/runs",
            json!({"language": "python", "code": "1", "grants": {"http": [{"host": NUL}]}}),
            "`grants.http.0.host`",
        ),
    ] {
        let problem = app.call(ADMIN, method, path, Some(body)).await.problem(400, "malformed-request");
        assert!(problem["detail"].as_str().unwrap().starts_with(field), "{problem}");
    }
    assert_eq!(app.run(ADMIN, "echo \0").await.status, 200, "code may have one");
}

/// Texts that come another way than as JSON: over MCP, in a form, in YAML.
#[tokio::test(flavor = "multi_thread")]
async fn a_nul_that_comes_another_way_is_no_failure_of_ours() {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let database = on.database(&folder).await;
        let tools = FakeTools::start().await;
        let app = TestApp::with_tools(&tools, &[("DATABASE_URL", database.url.expose())]).await;
        for (method, params) in [
            ("tools/call", json!({"name": NUL, "arguments": {}})),
            (
                "tools/call",
                json!({"name": "run_code", "arguments": {"code": "1", "language": "python", "session": NUL}}),
            ),
            ("tools/list", json!({"cursor": NUL})),
            (NUL, json!({})),
        ] {
            let request = app.request(ADMIN, "POST", "/mcp").header("content-type", "application/json");
            let request = request.header("accept", "application/json, text/event-stream");
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            let answer = app.send(request.body(Body::from(message.to_string())).unwrap()).await;
            assert!(answer.status.as_u16() < 500, "{on:?}, {message}: {}", answer.status);
        }
        let component = component(&["f"], 1);
        for (name, text) in [
            ("grants", r#"{"secrets":[{"name":"a\u0000b"}]}"#),
            ("grants", r#"{"tools":["a\u0000b"]}"#),
            ("policy", "version: \"1.0\"\ngrants:\n  secrets: [{name: \"a\\0b\"}]\n"),
            ("policy", "a\0b"),
        ] {
            let mut body = format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n--x\r\n");
            body.push_str("content-disposition: form-data; name=\"component\"; filename=\"c\"\r\n\r\n");
            let body = [body.as_bytes(), &component, b"\r\n--x--\r\n"].concat();
            let request =
                app.request(ADMIN, "PUT", "/v1/tools/t").header("content-type", "multipart/form-data; boundary=x");
            let answer = app.send(request.body(Body::from(body)).unwrap()).await;
            let said = String::from_utf8_lossy(&answer.body);
            assert!(answer.status.is_client_error(), "{on:?}, {name} {text:?}: {} {said}", answer.status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_what_does_not_exist_is_warned_about() {
    let tools = FakeTools::start().await;
    let app = TestApp::with_tools(&tools, &[]).await;
    let grants = escaped(r#"{"secrets":[{"name":"none"}],"tools":["nobody","*","t"]}"#);
    let request = app.request(ADMIN, "PUT", &format!("/v1/tools/t?grants={grants}"));
    let request = request.header("content-type", "application/wasm").body(Body::from(component(&["f"], 1)));
    let answer = app.send(request.unwrap()).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let warnings = answer.json()["warnings"].to_string();
    assert!(warnings.contains("no secret") && warnings.contains("none") && warnings.contains("nobody"), "{warnings}");
    assert!(!warnings.contains("no tool \\\"t\\\""), "{warnings}");
}
