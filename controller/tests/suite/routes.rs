//! Every route of the description and the addresses beside it, by the table of `cofferdam_api::ROUTES`: nothing without a key, with
//! a wrong or an expired one, with too small a scope; nothing of another organization. A route that is not in the table fails.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_api::{ROUTES, Route, Stranger};
use cofferdam_core::{Scope, Scopes};
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp};

/// Addresses that the description leaves to others' protocols.
const BESIDE: [Route; 6] = [
    // Agents are tools: code and other tools ask for `run` themselves.
    Route { needs: &[Scope::Run, Scope::Invoke], ..beside("post", "/mcp") },
    beside("get", "/v1/models"),
    beside("post", "/v1/chat/completions"),
    beside("post", "/v1/responses"),
    beside("post", "/v1/embeddings"),
    beside("post", "/v1/messages"),
];

const fn beside(method: &'static str, path: &'static str) -> Route {
    Route { method, path, needs: &[Scope::Run], stranger: Stranger::Own, action: "" }
}

/// Things of the organization `default`, and what stands for the parameters of the routes' paths.
struct Things {
    names: BTreeMap<&'static str, String>,
}

impl Things {
    async fn make(app: &TestApp) -> Self {
        let id = |answer: Answer| answer.json()["id"].as_str().unwrap().to_owned();
        let put = async |path: &str, body: Value| {
            let answer = app.call(ADMIN, "PUT", path, Some(body)).await;
            assert!(answer.status.is_success(), "{path}: {}", String::from_utf8_lossy(&answer.body));
        };
        put("/v1/secrets/thing", json!({"value": "a thing of ours", "hosts": ["a.example"]})).await;
        put("/v1/upstreams/thing", json!({"kind": "openai", "keys": ["sk-thing-of-ours"]})).await;
        put("/v1/model-aliases/thing", json!({"chain": ["thing/x"]})).await;
        put("/v1/model-rules/thing", json!({"for": "organization", "models": ["*"]})).await;
        put("/v1/model-prices/thing", json!({"input": 1, "output": 2})).await;
        put("/v1/budgets/thing", json!({"per": "organization", "unit": "tokens", "limit": 5, "window": "day"})).await;
        let key = json!({"name": "thing", "scopes": ["read"]});
        let token = json!({"agent": "thing", "task": "thing"});
        let session = app.session(ADMIN).await;
        let names = BTreeMap::from([
            ("/v1/keys/{id}", id(app.call(ADMIN, "POST", "/v1/keys", Some(key)).await)),
            ("/v1/run-tokens/{id}", id(app.call(ADMIN, "POST", "/v1/run-tokens", Some(token)).await)),
            ("/v1/sessions/{id}", session),
            ("/v1/organizations/{id}", "default".to_owned()),
        ]);
        Self { names }
    }

    /// The route's path with a thing in it.
    fn path(&self, route: &str) -> String {
        let id = self.names.iter().find(|(prefix, _)| route.starts_with(**prefix)).map(|(_, id)| id.as_str());
        let stands = |part: &str| match part {
            "{id}" => id.unwrap_or("thing").to_owned(),
            "{number}" | "{version}" => "1".to_owned(),
            "{org}" => "default".to_owned(),
            part if part.starts_with('{') => "thing".to_owned(),
            part => part.to_owned(),
        };
        let path: String = route.split('/').map(stands).collect::<Vec<_>>().join("/");
        path
    }
}

/// A body that the route takes, so that a stranger's call is refused for what it names and not for how.
fn body(route: &Route) -> Option<Value> {
    match (route.method, route.path) {
        ("patch", _) | ("post", "/v1/organizations") => Some(json!({})),
        ("post", "/v1/sessions/{id}/fork") => Some(json!({"count": 1})),
        ("post", "/v1/sessions/{id}/snapshots") => Some(json!({"name": "x"})),
        ("post", "/v1/tasks/{id}/approvals/{call}") => Some(json!({"verdict": "approve"})),
        ("post", path) if path.contains("/invoke") => Some(json!({"input": "x"})),
        ("post", "/v1/tools/{name}/functions/{function}") => Some(json!({"arguments": {}})),
        ("post", "/v1/tools/{name}/rollback") => Some(json!({"version": 1})),
        ("post", "/v1/tools/{name}/push") => Some(json!({"oci": "registry.example/a/b:c"})),
        _ => None,
    }
}

async fn call(app: &TestApp, key: &str, route: &Route, path: &str) -> Answer {
    app.call(key, &route.method.to_uppercase(), path, body(route)).await
}

fn lacks_scope(answer: &Answer) -> bool {
    answer.status == 403 && String::from_utf8_lossy(&answer.body).contains("the scope")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_table_and_the_table_is_true() {
    let app = TestApp::new().await;
    let described: Vec<(String, String)> = (app.document["paths"].as_object().unwrap().iter())
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())))
        .collect();
    for (method, path) in &described {
        let known = ROUTES.iter().any(|route| route.method == method && route.path == path);
        assert!(known, "{method} {path} is not in controller/api/src/route_table.rs");
    }
    assert_eq!(ROUTES.len(), described.len(), "the table has routes that do not exist");
    let things = Things::make(&app).await;
    let short = app.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "x", "scopes": ["admin"], "ttl_s": 1}))).await;
    let expired = short.json()["key"].as_str().unwrap().to_owned();
    let mut keys = Vec::new();
    for scope in [Scope::Read, Scope::Invoke, Scope::Run, Scope::Deploy] {
        keys.push((scope, app.key(&[scope.as_str()]).await));
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    for route in ROUTES.iter().chain(&BESIDE) {
        let (path, named) = (things.path(route.path), format!("{} {}", route.method, route.path));
        if route.stranger == Stranger::Open {
            let answer = call(&app, "", route, &path).await;
            assert!(!matches!(answer.status.as_u16(), 401 | 403 | 500..), "{named}: {}", answer.status);
            continue;
        }
        for key in ["", "no-such-key", &expired] {
            let answer = call(&app, key, route, &path).await;
            assert_eq!(answer.status, 401, "{named} with {key:?}");
            let described = ROUTES.iter().any(|known| known.path == route.path);
            assert!(!described || answer.headers.contains_key("www-authenticate"), "{named}");
        }
        for (scope, key) in &keys {
            if route.method == "delete" && Scopes::new(vec![*scope]).cover_any(route.needs) {
                continue;
            }
            let answer = call(&app, key, route, &path).await;
            assert_ne!(answer.status, 401, "{named}");
            let covered = Scopes::new(vec![*scope]).cover_any(route.needs);
            // A call whose body decides asks for more itself.
            if route.path != "/api/deploy-agent" {
                assert_eq!(!lacks_scope(&answer), covered, "{named} with {scope:?}: {}", answer.status);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sees_nothing_and_changes_nothing() {
    let app = TestApp::new().await;
    let things = Things::make(&app).await;
    let made = app.call(ADMIN, "POST", "/v1/organizations", Some(json!({"id": "rival"}))).await.json();
    let stranger = made["key"]["key"].as_str().unwrap();
    let mut wrong = Vec::new();
    for route in ROUTES {
        let (path, named) = (things.path(route.path), format!("{} {}", route.method, route.path));
        if route.path == "/api/deploy-agent" || route.path == "/{org}/registry/secrets_sync" {
            continue;
        }
        let answer = call(&app, stranger, route, &path).await;
        let text = String::from_utf8_lossy(&answer.body);
        match route.stranger {
            Stranger::Missing if answer.status != 404 => wrong.push(format!("{named}: {text}")),
            Stranger::Operator if answer.status != 403 => wrong.push(format!("{named}: {text}")),
            Stranger::Own if route.method == "get" => {
                let theirs = things.names.values().filter(|id| *id != "default").find(|id| text.contains(id.as_str()));
                assert_eq!((theirs, text.contains("\"thing\"")), (None, false), "{named}: {text}");
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for route in ROUTES.iter().filter(|route| route.method == "get" && route.stranger == Stranger::Missing) {
        let made = things.names.keys().any(|prefix| *prefix == route.path)
            || ["/v1/secrets/", "/v1/upstreams/", "/v1/model-", "/v1/budgets/"]
                .iter()
                .any(|prefix| route.path.starts_with(prefix));
        if made {
            let answer = call(&app, ADMIN, route, &things.path(route.path)).await;
            assert_eq!(answer.status, 200, "{} is there for its own: {}", route.path, answer.status);
        }
    }
}
