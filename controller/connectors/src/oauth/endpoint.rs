//! Requests to the token endpoint of an authorization server. What it says is never repeated, but for the word of its error.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_core::now_ms;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;
use tokio::time::Instant;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{EARLY_MS, OauthClient, Token};
use crate::clean::said;
use crate::hidden::Hidden;
use crate::http::{Ask, Bounds, Client, SendError};
use crate::place::Place;

/// The longest answer.
const MAX_TOKEN_BYTES: usize = 128 << 10;
/// The longest token.
const MAX_ACCESS_BYTES: usize = 32 << 10;
pub(super) const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest life of a token that is believed: a year.
const MAX_LIFE_S: i64 = 366 * 86_400;

/// Why there is no token.
#[derive(Debug)]
pub(super) enum NoToken {
    /// The grant is of no use any more: somebody has to log in.
    Over(String),
    /// It may work later.
    Later(String),
}

#[derive(Deserialize)]
struct Answered {
    access_token: Hidden,
    token_type: Option<String>,
    expires_in: Option<f64>,
    refresh_token: Option<Hidden>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// The thing that is exchanged for a token.
pub(super) enum Grant<'a> {
    Code { code: &'a str, verifier: &'a str, redirect_uri: &'a str },
    Refresh { token: &'a str },
}

/// Asks for a token.
pub(super) async fn ask(
    http: &Client,
    endpoint: &Place,
    client: &OauthClient,
    resource: &str,
    grant: &Grant<'_>,
) -> Result<Token, NoToken> {
    let (headers, body) = request(client, resource, grant)?;
    let deadline = Instant::now() + TOKEN_TIMEOUT;
    let bounds = Bounds { max_bytes: MAX_TOKEN_BYTES, idle: TOKEN_TIMEOUT, deadline };
    let ask = Ask { method: Method::POST, place: endpoint, headers, body: body.into() };
    let answer = http.send(ask, bounds).await.map_err(|error| match error {
        SendError::Forbidden(why) => NoToken::Over(format!("the token endpoint: {why}")),
        SendError::NotSent(why) | SendError::Lost(why) => NoToken::Later(format!("the token endpoint: {why}")),
    })?;
    let status = answer.status;
    let bytes = Zeroizing::new(answer.body.whole(MAX_TOKEN_BYTES).await.map_err(NoToken::Later)?);
    if !status.is_success() {
        let word = serde_json::from_slice::<Refused>(&bytes).map(|refused| said(&refused.error)).unwrap_or_default();
        let word: String = word.chars().take(64).filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let why = format!("the token endpoint answers {} {word}", status.as_u16());
        return Err(match status.as_u16() {
            400 | 401 if !matches!(word.as_str(), "temporarily_unavailable" | "server_error" | "slow_down") => {
                NoToken::Over(why)
            }
            _ => NoToken::Later(why),
        });
    }
    let unreadable = || NoToken::Over("the token endpoint's answer cannot be read".to_owned());
    let answered: Answered = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let bearer = answered.token_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let long = answered.access_token.len() > MAX_ACCESS_BYTES || answered.access_token.is_empty();
    let plain = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if !bearer || long || !plain(&answered.access_token) {
        return Err(unreadable());
    }
    #[allow(clippy::cast_possible_truncation)]
    let life = answered.expires_in.filter(|life| life.is_finite()).map(|life| (life as i64).clamp(0, MAX_LIFE_S));
    let now = now_ms();
    Ok(Token {
        access: answered.access_token,
        refresh: answered.refresh_token.filter(|token| !token.is_empty() && token.len() <= MAX_ACCESS_BYTES),
        expires_at: life.map(|life| now + life * 1_000),
        // A short one is used for three quarters of its life.
        renew_at: life.map(|life| now + life * 1_000 - EARLY_MS.min(life * 250)),
        endpoint: endpoint.url.to_string(),
        client: client.clone(),
        resource: resource.to_owned(),
        scope: answered.scope.map(|scope| scope.chars().take(4_096).collect()),
    })
}

/// The request, as form.
fn request(client: &OauthClient, resource: &str, grant: &Grant<'_>) -> Result<(HeaderMap, String), NoToken> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match grant {
        Grant::Code { code, verifier, redirect_uri } => {
            form.append_pair("grant_type", "authorization_code").append_pair("code", code);
            form.append_pair("code_verifier", verifier).append_pair("redirect_uri", redirect_uri);
        }
        Grant::Refresh { token } => {
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
        }
    }
    form.append_pair("resource", resource);
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    match &client.secret {
        Some(secret) if !client.post => {
            let coded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = Zeroizing::new(format!("{}:{}", coded(&client.id), coded(secret)));
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
                .map_err(|_| NoToken::Over("the client's id or secret cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        secret => {
            form.append_pair("client_id", &client.id);
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret);
            }
        }
    }
    Ok((headers, form.finish()))
}
