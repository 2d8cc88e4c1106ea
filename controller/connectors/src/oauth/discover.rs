//! Finds out where people log in: the metadata of the protected resource (RFC 9728) and of its authorization server (RFC 8414,
//! OpenID Connect Discovery).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::work::ConnectorAuth;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use crate::challenge::Challenge;
use crate::http::{Ask, Bounds};
use crate::link::Link;
use crate::place::Place;
use crate::wire::{Fault, Head};

/// The longest document.
const MAX_DOCUMENT_BYTES: usize = 256 << 10;
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// The most scopes that are taken over.
const MAX_SCOPES: usize = 64;
const MAX_REDIRECTS: usize = 2;

/// An authorization server, and what it is asked for.
pub(super) struct Found {
    pub(super) issuer: String,
    pub(super) authorize: Place,
    pub(super) token: Place,
    pub(super) register: Option<Place>,
    /// It takes the address of a client's document as the client's id.
    pub(super) documents: bool,
    /// It names itself when it sends a browser back.
    pub(super) says_issuer: bool,
    pub(super) methods: Vec<String>,
    /// The resource that tokens are for (RFC 8707).
    pub(super) resource: String,
    /// The scopes that the resource names.
    pub(super) scopes: Vec<String>,
    pub(super) offline: bool,
}

#[derive(Deserialize)]
struct ResourceDocument {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

#[derive(Deserialize)]
struct ServerDocument {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    registration_endpoint: Option<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
}

/// Asks the server without credentials, for what it then says about logging in.
pub(super) async fn probe(link: &Arc<Link>, head: &Head) -> Challenge {
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "cofferdam", "version": env!("CARGO_PKG_VERSION") },
    }});
    let deadline = Instant::now() + DOCUMENT_TIMEOUT;
    let bounds = Bounds { max_bytes: MAX_DOCUMENT_BYTES, idle: DOCUMENT_TIMEOUT, deadline };
    match link.wire.post(head, Bytes::from(hello.to_string()), bounds).await {
        Err(Fault::Unauthorized(challenge)) => challenge,
        _ => Challenge::default(),
    }
}

/// Finds the authorization server of a connector.
pub(super) async fn discover(link: &Arc<Link>, challenge: &Challenge) -> Result<Found, String> {
    let resource = resource_document(link, challenge).await?;
    let (named_issuers, named, scopes) = match resource {
        Some(found) => (found.authorization_servers, found.resource, found.scopes_supported),
        // Servers of 2025-03-26 are their own authorization server.
        None => (vec![link.wire.place.origin()], link.wire.place.url.to_string(), Vec::new()),
    };
    let own = match &link.spec.auth {
        ConnectorAuth::Oauth2 { issuer, .. } => issuer.as_deref(),
        _ => None,
    };
    let issuer = match own {
        Some(own) => named_issuers
            .into_iter()
            .find(|issuer| plain(issuer) == plain(own))
            .ok_or("the server does not name the authorization server in `auth.issuer`")?,
        None => named_issuers.into_iter().next().ok_or("the server names no authorization server")?,
    };
    let document = server_document(link, &issuer).await?;
    if !document.code_challenge_methods_supported.iter().any(|method| method == "S256") {
        return Err("the authorization server does not offer PKCE with S256".to_owned());
    }
    let place = |text: &str, what: &str| Place::parse(text).map_err(|why| format!("the {what}: {why}"));
    let authorize = place(&document.authorization_endpoint, "authorization endpoint")?;
    let token = place(&document.token_endpoint, "token endpoint")?;
    if authorize.https != token.https {
        return Err("the authorization endpoint has no TLS, unlike the token endpoint".to_owned());
    }
    let register = document.registration_endpoint.as_deref().map(|text| place(text, "registration endpoint"));
    Ok(Found {
        issuer: document.issuer,
        authorize,
        token,
        register: register.transpose()?,
        documents: document.client_id_metadata_document_supported,
        says_issuer: document.authorization_response_iss_parameter_supported,
        methods: document.token_endpoint_auth_methods_supported,
        resource: named,
        scopes: scopes.into_iter().take(MAX_SCOPES).collect(),
        offline: document.scopes_supported.iter().any(|scope| scope == "offline_access"),
    })
}

async fn resource_document(link: &Arc<Link>, challenge: &Challenge) -> Result<Option<ResourceDocument>, String> {
    let server = &link.wire.place;
    let mut places = Vec::new();
    match &challenge.resource_metadata {
        Some(named) => places.push(Place::parse(named).map_err(|why| format!("the server's metadata: {why}"))?),
        None => {
            let path = server.url.path().trim_end_matches('/');
            let root = format!("{}/.well-known/oauth-protected-resource", server.origin());
            places.extend(Place::parse(&format!("{root}{path}")));
            places.extend((!path.is_empty()).then(|| Place::parse(&root).ok()).flatten());
        }
    }
    for place in places {
        let Some(document) = fetch::<ResourceDocument>(link, place).await? else { continue };
        // A server must not have tokens made for somebody else.
        if !covers(&document.resource, server) {
            return Err("the metadata of the server are for another resource".to_owned());
        }
        return Ok(Some(document));
    }
    match challenge.resource_metadata {
        Some(_) => Err("the metadata that the server names cannot be read".to_owned()),
        None => Ok(None),
    }
}

/// Two spellings of the same origin are one: many servers add a slash.
fn plain(issuer: &str) -> &str {
    issuer.trim_end_matches('/')
}

/// True if the resource is the server's address, or above it.
fn covers(resource: &str, server: &Place) -> bool {
    let Ok(resource) = Place::parse(resource) else { return false };
    let (above, path) = (resource.url.path().trim_end_matches('/'), server.url.path());
    let below = path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    resource.same_origin(server)
        && below
        && resource.url.query().is_none_or(|_| resource.url.query() == server.url.query())
}

async fn server_document(link: &Arc<Link>, issuer: &str) -> Result<ServerDocument, String> {
    let place = Place::parse(issuer).map_err(|why| format!("the authorization server: {why}"))?;
    let (origin, path) = (place.origin(), place.url.path().trim_end_matches('/'));
    let mut addresses = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        addresses.push(format!("{origin}{path}/.well-known/openid-configuration"));
    }
    for address in addresses {
        let place = Place::parse(&address).map_err(|why| format!("the authorization server: {why}"))?;
        let Some(document) = fetch::<ServerDocument>(link, place).await? else { continue };
        if plain(&document.issuer) != plain(issuer) {
            return Err("the authorization server's metadata are of another issuer".to_owned());
        }
        return Ok(document);
    }
    Err("the authorization server has no metadata".to_owned())
}

/// A JSON document; `None`: there is none at this address.
async fn fetch<T: DeserializeOwned>(link: &Arc<Link>, mut place: Place) -> Result<Option<T>, String> {
    let deadline = Instant::now() + DOCUMENT_TIMEOUT;
    let bounds = Bounds { max_bytes: MAX_DOCUMENT_BYTES, idle: DOCUMENT_TIMEOUT, deadline };
    for _ in 0..=MAX_REDIRECTS {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
        let ask = Ask { method: Method::GET, place: &place, headers, body: Bytes::new() };
        let answer = match link.wire.http.send(ask, bounds).await {
            Ok(answer) => answer,
            Err(error) => {
                let why = Fault::from(error);
                return Err(match why {
                    Fault::Forbidden(why) | Fault::NotSent(why, _) | Fault::Unknown(why) => {
                        format!("the metadata of the login cannot be fetched: {why}")
                    }
                    _ => "the metadata of the login cannot be fetched".to_owned(),
                });
            }
        };
        if answer.status.is_redirection() {
            let next = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
            match next.and_then(|to| place.join(to).ok()).filter(|next| next.same_origin(&place)) {
                Some(next) => place = next,
                None => return Ok(None),
            }
            continue;
        }
        if answer.status != StatusCode::OK {
            return Ok(None);
        }
        let bytes = answer.body.whole(MAX_DOCUMENT_BYTES).await?;
        return Ok(serde_json::from_slice(&bytes).ok());
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_covers_what_is_below_it() {
        let server = Place::parse("https://a.example/mcp/x").unwrap();
        for (resource, expected) in [
            ("https://a.example/mcp/x", true),
            ("https://A.example/mcp/", true),
            ("https://a.example", true),
            ("https://a.example/mc", false),
            ("https://a.example/mcp/x/y", false),
            ("https://b.example/mcp/x", false),
            ("http://a.example/mcp/x", false),
            ("https://a.example:8443/mcp/x", false),
        ] {
            assert_eq!(covers(resource, &server), expected, "{resource}");
        }
    }
}
