//! The pages of logins at connectors' servers: `/oauth/login` says who wants what before a browser goes on, `/oauth/callback` is where
//! it comes back to.
//!
//! Nothing in a page is run, loaded or kept. A cookie with a random word tells the browser that was shown a login from others: see
//! `cofferdam_connectors::Browser`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_connectors::{Browser, Connectors, LoginAnswer, LoginError, LoginShown};
use cofferdam_core::{Caller, Scopes, chain};
use cofferdam_http::Peer;
use cofferdam_identity::{Audit, Outcome};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::services::Services;

/// The time for which a browser is known, in seconds: longer than a login lives.
const KNOWN_FOR_S: u32 = 3_600;
/// The action of a login's end in the audit log.
const LOGGED_IN: &str = "connector.login";
const FAILED: &str = "The server failed. Begin again.";

pub(crate) fn open() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(oauth_login, oauth_go_on)).routes(routes!(oauth_callback))
}

#[derive(Deserialize)]
pub(crate) struct LoginQuery {
    login: String,
    #[serde(default)]
    proof: String,
}

/// Show who wants a login, before the browser goes on.
#[utoipa::path(get, path = "/oauth/login", tag = "connectors", params(("login" = Option<String>, Query)),
    responses((status = 200, description = "A page that names organization, connector and servers", content_type = "text/html"),
    (status = 400, description = "A page that says why not", content_type = "text/html")))]
pub(crate) async fn oauth_login(
    State(connectors): State<Arc<Connectors>>,
    headers: HeaderMap,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(LoginQuery { login, .. })) = query else { return refused(&LoginError::Unknown) };
    let browser = match known(&connectors, &headers).map_or_else(Browser::new, Ok) {
        Ok(browser) => browser,
        Err(error) => return refused(&error.into()),
    };
    match connectors.show_login(&login, &browser).await {
        Ok(shown) => {
            let mut response = page(StatusCode::OK, "Log in?", &question(&login, &shown));
            if let Ok(cookie) = HeaderValue::from_str(&cookie(&connectors, &browser)) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => refused(&error),
    }
}

/// Go on to the authorization server, from the page that names who wants the login.
#[utoipa::path(post, path = "/oauth/login", tag = "connectors",
    params(("login" = Option<String>, Query), ("proof" = Option<String>, Query)),
    responses((status = 303, description = "To the authorization server"),
    (status = 400, description = "A page that says why not", content_type = "text/html")))]
pub(crate) async fn oauth_go_on(
    State(connectors): State<Arc<Connectors>>,
    headers: HeaderMap,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(LoginQuery { login, proof })) = query else { return refused(&LoginError::Unknown) };
    let Some(browser) = known(&connectors, &headers) else { return refused(&LoginError::OtherBrowser) };
    match connectors.go_on(&login, &browser, &proof).await {
        Ok(place) => {
            let mut response = page(StatusCode::SEE_OTHER, "Log in", "<p>Going on.</p>");
            if let Ok(place) = HeaderValue::from_str(&place) {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        Err(error) => refused(&error),
    }
}

/// Come back from a login. Browsers are sent here by authorization servers.
#[utoipa::path(get, path = "/oauth/callback", tag = "connectors",
    params(("state" = Option<String>, Query), ("code" = Option<String>, Query), ("error" = Option<String>, Query),
    ("iss" = Option<String>, Query)),
    responses((status = 200, description = "A page that says so", content_type = "text/html"),
    (status = 400, description = "A page that says why not", content_type = "text/html")))]
pub(crate) async fn oauth_callback(
    State(connectors): State<Arc<Connectors>>,
    State(audit): State<Arc<Audit>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    answer: Result<Query<LoginAnswer>, QueryRejection>,
) -> Response {
    let Ok(Query(answer)) = answer else { return refused(&LoginError::Unknown) };
    match connectors.finish_login(&answer, known(&connectors, &headers).as_ref()).await {
        Ok(finished) => {
            // The login's address has authorized it, so no key is known.
            let sender = Caller::new("", finished.organization.clone(), Scopes::new(Vec::new()));
            let address = peer.map(|Extension(Peer(address))| address.ip());
            let detail = json!({ "person": finished.person });
            let ticket = audit.note(&sender, address, LOGGED_IN, &finished.connector, Outcome::Done, &detail);
            audit.written(ticket).await;
            let whom = match &finished.person {
                Some(person) => format!("for {person}"),
                None => "for the whole organization".to_owned(),
            };
            let organization = finished.organization.as_str();
            let text = format!(
                "The connector {} of the organization {organization} may now be used {whom}. You can close this page.",
                finished.connector
            );
            page(StatusCode::OK, "Logged in", &format!("<p>{}</p>", escaped(&text)))
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &LoginError) -> Response {
    let (status, text) = match error {
        LoginError::Internal(error) => {
            tracing::error!(error = chain(error), "a login failed");
            (StatusCode::INTERNAL_SERVER_ERROR, FAILED.to_owned())
        }
        error => (StatusCode::BAD_REQUEST, error.to_string()),
    };
    page(status, "Not logged in", &format!("<p>{}</p>", escaped(&text)))
}

/// The question before a login, as HTML.
fn question(login: &str, shown: &LoginShown) -> String {
    let LoginShown { organization, connector, person, server, issuer, place, proof } = shown;
    let whom = match person {
        Some(person) => format!("{} in this organization", escaped(person)),
        None => "everybody in this organization".to_owned(),
    };
    let rows: String = [
        ("Organization", escaped(organization.as_str())),
        ("Connector", escaped(connector)),
        ("Used for", whom),
        ("Server that gets the rights", escaped(server)),
        ("You log in at", escaped(issuer)),
        ("The next page is of", escaped(place)),
    ]
    .map(|(name, value)| format!("<dt>{name}</dt><dd><b>{value}</b></dd>"))
    .concat();
    format!(
        "<p>If you go on and log in, agents of this organization can use your account, as far as you allow it there.</p>\
         <dl>{rows}</dl><p>Go on only if you have asked for this yourself.</p>\
         <form method=\"post\" action=\"?login={}&amp;proof={}\"><button>Go on</button></form>",
        escaped(login),
        escaped(proof)
    )
}

/// The name of the cookie. Over TLS no other host can set it.
fn cookie_name(connectors: &Connectors) -> &'static str {
    if connectors.over_tls() { "__Host-cofferdam-login" } else { "cofferdam-login" }
}

fn cookie(connectors: &Connectors, browser: &Browser) -> String {
    let secure = if connectors.over_tls() { "; Secure" } else { "" };
    let name = cookie_name(connectors);
    format!("{name}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={KNOWN_FOR_S}{secure}", browser.word())
}

/// The browser that a request comes from, if it was shown a login before.
fn known(connectors: &Connectors, headers: &HeaderMap) -> Option<Browser> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let name = cookie_name(connectors);
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, word)| Browser::parse(word))
}

/// A small page around HTML of ours.
fn page(status: StatusCode, title: &str, html: &str) -> Response {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>{html}</html>"
    );
    let mut response = (status, body).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // Without `form-action`: some browsers hold it against where a form's answer sends them, and that is another server.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || cofferdam_contract::text::is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use cofferdam_contract::OrganizationId;

    use super::*;

    #[test]
    fn a_page_runs_nothing() {
        assert_eq!(escaped("<script>&\"'\u{1b}\u{202e}"), "&lt;script&gt;&amp;&quot;&#39;");
        let page = page(StatusCode::OK, "Logged in", "x");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; frame-ancestors 'none'"), "{policy}");
    }

    #[test]
    fn a_question_names_everybody_and_runs_nothing() {
        let evil = "\"><script>x</script>".to_owned();
        let shown = LoginShown {
            organization: OrganizationId::default_organization(),
            connector: "mail".to_owned(),
            person: Some(evil.clone()),
            server: "https://mcp.example".to_owned(),
            issuer: format!("https://as.example/{evil}"),
            place: "https://login.example".to_owned(),
            proof: evil.clone(),
        };
        let html = question(&evil, &shown);
        for named in ["default", "mail", "https://mcp.example", "https://as.example/", "https://login.example"] {
            assert!(html.contains(named), "{named}: {html}");
        }
        assert!(!html.contains("<script") && !html.contains("=\"?login=\""), "{html}");
    }
}
