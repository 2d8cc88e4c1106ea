//! Connectors by the API: our own `/mcp` as a server, scopes, and the page that a browser comes back to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use cofferdam_controller::server::accept;
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{ADMIN, TestApp};

/// An app whose policy opens loopback.
async fn app() -> (TestApp, tempfile::NamedTempFile) {
    let mut policy = tempfile::NamedTempFile::new().unwrap();
    writeln!(policy, "version: \"1\"\nnetwork:\n  private: [\"127.0.0.0/8\"]").unwrap();
    let app = TestApp::with(0, &[("COFFERDAM_POLICY", policy.path().to_str().unwrap())]).await;
    (app, policy)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_endpoint_is_a_server_like_any_other() {
    let (app, _policy) = app().await;
    let deploy = app.key(&["deploy"]).await;
    let spec =
        json!({ "url": format!("{}/mcp", app.base), "auth": { "type": "bearer", "token": ADMIN }, "prefix": "own_" });
    let put = app.call(&deploy, "PUT", "/v1/connectors/own", Some(spec)).await;
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    assert!(!String::from_utf8_lossy(&put.body).contains(ADMIN));
    let report = app.call(&deploy, "POST", "/v1/connectors/own/test", None).await.json();
    assert_eq!((&report["ok"], &report["tools"][0]["name"]), (&json!(true), &json!("own_run_code")), "{report}");
    let shown = app.call(&deploy, "GET", "/v1/connectors/own", None).await.json();
    assert_eq!(shown["spec"]["auth"]["token"], "[sealed]");
    let again = app.call(&deploy, "PUT", "/v1/connectors/own", Some(shown["spec"].clone())).await;
    assert_eq!(again.status, 200, "{}", String::from_utf8_lossy(&again.body));
    assert_eq!(app.call(&deploy, "POST", "/v1/connectors/own/test", None).await.json()["ok"], true);
    let list = app.call(&deploy, "GET", "/v1/connectors?limit=1", None).await.json();
    assert_eq!((&list["connectors"][0]["name"], &list["next"]), (&json!("own"), &json!("own")));
    assert_eq!(app.call(&deploy, "GET", "/v1/connectors?after=own", None).await.json()["connectors"], json!([]));
    // Scopes.
    let (read, invoke) = (app.key(&["read"]).await, app.key(&["invoke"]).await);
    app.call(&read, "POST", "/v1/connectors/own/test", None).await.problem(403, "forbidden");
    app.call(&invoke, "GET", "/v1/connectors/own/login", None).await.problem(403, "forbidden");
    assert_eq!(app.call(&deploy, "DELETE", "/v1/connectors/own", None).await.status, 204);
    app.call(&deploy, "GET", "/v1/connectors/own", None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_that_runs_nothing() {
    let (app, _policy) = app().await;
    for query in
        ["", "?state=x", "?state=%3Cscript%3E&code=1", "?error=%3Cimg%20src%3Dx%3E&state=y", "?state=a&state=b"]
    {
        let page = app.call("", "GET", &format!("/oauth/callback{query}"), None).await;
        assert_eq!(page.status, 400, "{query}");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        let text = String::from_utf8_lossy(&page.body);
        assert!(text.contains("Not logged in") && !text.contains("<script") && !text.contains("<img"), "{text}");
    }
    app.call("", "GET", "/oauth/client.json", None).await.problem(404, "not-found");
}

/// An MCP server that wants a login, and its authorization server, at one address.
async fn server_with_login(stop: &CancellationToken) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let document = |value: serde_json::Value| get(move || async move { axum::Json(value) });
    let answer =
        |status: StatusCode, value: serde_json::Value| post(move || async move { (status, axum::Json(value)) });
    let resource = json!({ "resource": format!("{base}/mcp"), "authorization_servers": [base] });
    let server = json!({ "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"), "registration_endpoint": format!("{base}/register"),
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true });
    let token = json!({ "access_token": "canary-0123456789", "token_type": "Bearer" });
    let router = Router::new()
        .route("/.well-known/oauth-protected-resource/mcp", document(resource))
        .route("/.well-known/oauth-authorization-server", document(server))
        .route("/mcp", answer(StatusCode::UNAUTHORIZED, json!({})))
        .route("/register", answer(StatusCode::CREATED, json!({ "client_id": "c" })))
        .route("/token", answer(StatusCode::OK, token));
    tokio::spawn(accept(listener, router, stop.clone(), Duration::from_secs(1)));
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_names_who_wants_it_and_ends_in_the_same_browser() {
    let ((app, _policy), stop) = (app().await, CancellationToken::new());
    let base = server_with_login(&stop).await;
    let (deploy, invoke) = (app.key(&["deploy"]).await, app.key(&["invoke"]).await);
    let spec = json!({ "url": format!("{base}/mcp"), "auth": { "type": "oauth2", "per_person": true } });
    assert_eq!(app.call(&deploy, "PUT", "/v1/connectors/mail", Some(spec)).await.status, 201);
    let login = app.call(&invoke, "GET", "/v1/connectors/mail/login?person=ann", None).await.json();
    let (_, query) = login["url"].as_str().unwrap().split_once("/oauth/login?").expect("a page of ours");
    let browse = async |method: &str, path: &str, cookie: &str| {
        let request = app.request("", method, path);
        let request = if cookie.is_empty() { request } else { request.header("cookie", cookie) };
        app.send(request.body(axum::body::Body::empty()).unwrap()).await
    };
    let page = browse("GET", &format!("/oauth/login?{query}"), "").await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert_eq!(page.status, 200, "{text}");
    for named in ["<b>default</b>", "<b>mail</b>", "ann", base.as_str()] {
        assert!(text.contains(named), "{named}: {text}");
    }
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let action = text.split_once("action=\"").unwrap().1.split('"').next().unwrap().replace("&amp;", "&");
    // Another browser, made to send the form by a page of somebody else's.
    let other = browse("GET", &format!("/oauth/login?{query}"), "").await;
    let other = other.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for (action, cookie) in [(action.as_str(), ""), (&action, &*other), (&format!("?{query}&proof=x"), cookie)] {
        let refused = browse("POST", &format!("/oauth/login{action}"), cookie).await;
        assert!(refused.status == 400 && !refused.headers.contains_key("location"), "{action} {cookie}");
    }
    let on = browse("POST", &format!("/oauth/login{action}"), cookie).await;
    assert_eq!(on.status, 303);
    let place = on.headers["location"].to_str().unwrap();
    assert!(place.starts_with(&format!("{base}/authorize?response_type=code&client_id=c&")), "{place}");
    let state = place.rsplit_once("state=").unwrap().1;
    let back = format!("/oauth/callback?code=1&state={state}&iss={base}");
    for cookie in ["", &other, "cofferdam-login=x"] {
        let refused = browse("GET", &back, cookie).await;
        assert_eq!(refused.status, 400, "{cookie}");
        assert!(String::from_utf8_lossy(&refused.body).contains("browser"));
    }
    let done = browse("GET", &back, &format!("a=b; {cookie}")).await;
    assert!(done.status == 200 && String::from_utf8_lossy(&done.body).contains("Logged in"));
    assert_eq!(browse("GET", &back, cookie).await.status, 400, "once");
    let noted = app.call(ADMIN, "GET", "/v1/audit?action=connector.login", None).await.json();
    assert_eq!(noted["entries"][0]["target"], "mail", "{noted}");
    assert_eq!(noted["entries"][0]["detail"], json!({ "person": "ann" }));
    stop.cancel();
}
