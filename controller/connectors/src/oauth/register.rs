//! The client that this server is for an authorization server: the given one, its own document's address, or one that it
//! registers (RFC 7591).

use std::sync::Arc;

use cofferdam_contract::work::ConnectorAuth;
use cofferdam_core::now;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::discover::Found;
use super::endpoint::TOKEN_TIMEOUT;
use super::{Oauth, OauthClient, Owner};
use crate::error::ConnectorError;
use crate::hidden::Hidden;
use crate::http::{Ask, Bounds, SendError};
use crate::link::Link;
use cofferdam_contract::Problem;

const MAX_CLIENT_BYTES: usize = 64 << 10;
const MAX_ID_BYTES: usize = 2_048;

#[derive(Deserialize)]
struct Registered {
    client_id: String,
    client_secret: Option<Hidden>,
    token_endpoint_auth_method: Option<String>,
}

/// This server's description of itself as a client.
pub(crate) fn document(redirect_uri: &str) -> Value {
    json!({
        "client_name": "Cofferdam",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

/// The client for this authorization server.
pub(super) async fn client(oauth: &Oauth, link: &Arc<Link>, found: &Found) -> Result<OauthClient, ConnectorError> {
    if let ConnectorAuth::Oauth2 { client_id: Some(id), .. } = &link.spec.auth {
        let methods = &found.methods;
        let knows = |method: &str| methods.iter().any(|known| known == method);
        let post = knows("client_secret_post") && !knows("client_secret_basic");
        return Ok(OauthClient { id: id.clone(), secret: oauth.secrets.auth.clone(), post });
    }
    if let Some(document) = oauth.shared.client_document().filter(|_| found.documents) {
        return Ok(OauthClient { id: document, secret: None, post: true });
    }
    let Owner { organization, connector, row, .. } = &oauth.owner;
    let redirect_uri = oauth.shared.redirect_uri();
    // Bound to the issuer: a client that one server knows is none of another's.
    let context = format!(
        "connector-client\0{}\0{connector}\0{}\0{}\0{redirect_uri}",
        organization.as_str(),
        link.spec.url,
        found.issuer
    );
    let stored = oauth.shared.store.connector_client(organization, connector, &found.issuer).await?;
    let opened = stored.and_then(|sealed| oauth.shared.vault.unseal(&context, &sealed).ok());
    if let Some(client) = opened.and_then(|json| serde_json::from_slice(&json).ok()) {
        return Ok(client);
    }
    let client = register(link, found, &redirect_uri)
        .await
        .map_err(|why| Problem::invalid(format!("The login cannot begin: {why}.")))?;
    let json = Zeroizing::new(serde_json::to_vec(&client)?);
    let sealed = oauth.shared.vault.seal(&context, &json)?;
    let key = (organization, connector.as_str(), row.as_str());
    match oauth.shared.store.put_connector_client(key, &found.issuer, &sealed, now()).await? {
        true => Ok(client),
        false => Err(Problem::conflict("The connector was changed meanwhile; begin again.").into()),
    }
}

async fn register(link: &Arc<Link>, found: &Found, redirect_uri: &str) -> Result<OauthClient, String> {
    let Some(place) = &found.register else {
        return Err("the authorization server registers no clients; set `auth.client_id`".to_owned());
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let bounds = Bounds { max_bytes: MAX_CLIENT_BYTES, idle: TOKEN_TIMEOUT, deadline: Instant::now() + TOKEN_TIMEOUT };
    let ask = Ask { method: Method::POST, place, headers, body: document(redirect_uri).to_string().into() };
    let answer = link.wire.http.send(ask, bounds).await.map_err(|error| match error {
        SendError::Forbidden(why) | SendError::NotSent(why) | SendError::Lost(why) => {
            format!("the registration endpoint: {why}")
        }
    })?;
    let status = answer.status;
    let bytes = Zeroizing::new(answer.body.whole(MAX_CLIENT_BYTES).await?);
    if !status.is_success() {
        return Err(format!("the authorization server does not register this client ({})", status.as_u16()));
    }
    let wrong = "the authorization server's answer to the registration cannot be read";
    let registered: Registered = serde_json::from_slice(&bytes).map_err(|_| wrong.to_owned())?;
    let plain =
        |text: &str| (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| (0x21..0x7f).contains(&b));
    if !plain(&registered.client_id) || registered.client_secret.as_ref().is_some_and(|secret| !plain(secret)) {
        return Err(wrong.to_owned());
    }
    let method = registered.token_endpoint_auth_method.as_deref();
    let secret = registered.client_secret.filter(|_| method != Some("none"));
    Ok(OauthClient { id: registered.client_id, secret, post: method != Some("client_secret_basic") })
}
