//! Authentication to a registry: none, basic, or a token from the service that its challenge names. Tokens are kept
//! until shortly before they expire. Credentials go only to the registry and its token service.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::challenge::{Challenge, best};
use super::credentials::{Credentials, Hidden};
use super::error::{ClientError, Kind};
use super::location::place;
use super::manifests::NO_REGISTRY;
use super::trust::may_have_credentials;
use super::wire::{Answer, Ask, Wire};
use super::{MAX_HOPS, is_redirect};

const MAX_TOKEN_ANSWER: usize = 64 << 10;
const MAX_TOKENS: usize = 64;
/// The lifetime from the specification, for services that do not state one.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
const RENEWED_BEFORE_END: Duration = Duration::from_secs(10);
const LONGEST_LIFE: Duration = Duration::from_secs(12 * 3600);

pub(super) struct Auth {
    credentials: Credentials,
    /// A token service that the registry may name although it is not evidently its own: `HOST` or `HOST:PORT`.
    token_host: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The registry's challenge; `None` until it was asked.
    wanted: Option<Option<Challenge>>,
    tokens: HashMap<String, Token>,
}

struct Token {
    text: Zeroizing<String>,
    until: Instant,
}

#[derive(Deserialize)]
struct Answered {
    token: Option<Hidden>,
    access_token: Option<Hidden>,
    /// Seconds. Some services send it as a text or with a fraction.
    expires_in: Option<serde_json::Value>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// A token's scope, as token services expect it: `repository:team/agent:pull,push`. Several are separated by spaces.
pub(super) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

impl Auth {
    pub(super) fn new(credentials: Credentials, token_host: Option<String>) -> Self {
        Self { credentials, token_host, state: Mutex::default() }
    }

    /// All secrets that must not be shown, at this moment.
    pub(super) async fn secrets(&self) -> Vec<Zeroizing<String>> {
        let state = self.state.lock().await;
        self.credentials.secrets().into_iter().chain(state.tokens.values().map(|token| token.text.clone())).collect()
    }

    /// The header for a request in this scope. The first call asks the registry for its challenge.
    pub(super) async fn header(&self, wire: &Wire, scope: &str) -> Result<Option<HeaderValue>, ClientError> {
        if let Credentials::Bearer(token) = &self.credentials {
            return Ok(bearer(token));
        }
        let mut state = self.state.lock().await;
        if state.wanted.is_none() {
            state.wanted = Some(self.ping(wire).await?);
        }
        let wanted = state.wanted.clone().flatten();
        self.answer(wire, &mut state, wanted, scope).await
    }

    /// Answers the challenge of a 401. `None` if we already sent what it asks for.
    pub(super) async fn again(
        &self,
        wire: &Wire,
        scope: &str,
        headers: &HeaderMap,
        sent: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, ClientError> {
        if matches!(self.credentials, Credentials::Bearer(_)) {
            return Ok(None);
        }
        let Some(challenge) = best(headers) else { return Ok(None) };
        let mut state = self.state.lock().await;
        // Another request may have fetched a new one meanwhile.
        if let Some(token) = state.tokens.get(scope)
            && bearer(&token.text).as_ref() == sent
        {
            state.tokens.remove(scope);
        }
        state.wanted = Some(Some(challenge.clone()));
        let next = self.answer(wire, &mut state, Some(challenge), scope).await?;
        Ok(next.filter(|next| Some(next) != sent))
    }

    async fn ping(&self, wire: &Wire) -> Result<Option<Challenge>, ClientError> {
        let mut backoff = wire.backoff();
        let mut ask = Ask::new(Method::GET, wire.base.clone(), wire.patience.answer, "the API check (/v2/)");
        // A registry may redirect a read. No credentials are sent here, and those of a host that it names are not believed
        // any more than its own challenge.
        let mut hops = 0;
        // TLS is tried at most once.
        let mut tried = false;
        loop {
            let error = match wire.send(&ask, None).await {
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {
                    let wanted = best(&answer.headers);
                    answer.done().await;
                    return Ok(wanted);
                }
                Ok(answer) if answer.status.is_success() && is_page(&answer) => {
                    answer.done().await;
                    let error =
                        wire.error(Kind::Protocol, "there is no registry: a web page answers the API check (/v2/)");
                    return Err(error.advise(NO_REGISTRY));
                }
                Ok(answer) if answer.status.is_success() => {
                    answer.done().await;
                    return Ok(None);
                }
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    return Err(wire.error(Kind::Protocol, "it answered 404 to the API check (/v2/)"));
                }
                // Servers for TLS answer plain HTTP with 400, a redirect, or by closing the connection.
                Ok(answer) if is_redirect(answer.status) || matches!(answer.status.as_u16(), 400 | 426) => {
                    let next = is_redirect(answer.status)
                        .then(|| wire.location(&ask.url, &answer.headers, ask.about))
                        .filter(|_| hops < MAX_HOPS);
                    let error = wire.refusal(answer, &self.credentials.secrets()).await;
                    if !std::mem::replace(&mut tried, true) && wire.speaks_tls().await {
                        wire.wants_tls()
                    } else {
                        match next {
                            // The same host, and only by TLS: credentials do not go there without.
                            Some(Ok(url)) if wire.plain_http && url.scheme() == "https" && wire.is_own_host(&url) => {
                                wire.wants_tls()
                            }
                            Some(Ok(url)) => {
                                (ask.url, hops) = (url, hops + 1);
                                continue;
                            }
                            Some(Err(error)) => error,
                            None => error,
                        }
                    }
                }
                Ok(answer) => wire.refusal(answer, &self.credentials.secrets()).await,
                Err(error) if error.kind == Kind::Dropped && !std::mem::replace(&mut tried, true) => {
                    if wire.speaks_tls().await { wire.wants_tls() } else { error }
                }
                Err(error) => error,
            };
            backoff.wait(error).await?;
        }
    }

    async fn answer(
        &self,
        wire: &Wire,
        state: &mut State,
        wanted: Option<Challenge>,
        scope: &str,
    ) -> Result<Option<HeaderValue>, ClientError> {
        let (realm, service, or_basic) = match wanted {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                return Ok(self.credentials.basic_header().and_then(|text| HeaderValue::from_str(&text).ok()));
            }
            Some(Challenge::Bearer { realm, service, or_basic, .. }) => (realm, service, or_basic),
        };
        let now = Instant::now();
        state.tokens.retain(|_, token| token.until > now);
        if let Some(token) = state.tokens.get(scope) {
            return Ok(bearer(&token.text));
        }
        let token = match self.fetch(wire, &realm, service.as_deref(), scope).await {
            Ok(token) => token,
            // The token service is not there, and the registry takes the password as well.
            Err(error) if or_basic && matches!(error.kind, Kind::NotFound | Kind::Refused | Kind::Protocol) => {
                let basic = self.credentials.basic_header().and_then(|text| HeaderValue::from_str(&text).ok());
                state.wanted = Some(Some(Challenge::Basic));
                return basic.map(Some).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let header = bearer(&token.text);
        if state.tokens.len() < MAX_TOKENS {
            state.tokens.insert(scope.to_owned(), token);
        }
        Ok(header)
    }

    async fn fetch(&self, wire: &Wire, realm: &str, service: Option<&str>, scope: &str) -> Result<Token, ClientError> {
        let mut url = wire
            .base
            .join(realm)
            .map_err(|_| wire.error(Kind::Protocol, "its challenge names a token service with an invalid URL"))?;
        // A name and a password in the address would go instead of ours.
        let stripped = url.set_username("").and_then(|()| url.set_password(None));
        stripped.map_err(|()| wire.error(Kind::Protocol, "its challenge names a token service without a host"))?;
        wire.check(&url)?;
        let may_ask = || may_have_credentials(&wire.base, &url, self.token_host.as_deref());
        if !self.credentials.is_anonymous() && !may_ask() {
            let place = place(&url);
            return Err(wire.error(
                Kind::Elsewhere,
                format!(
                    "its challenge names a token service on {place}, which is not its owner's and gets no credentials"
                ),
            ));
        }
        let mut ask = Ask::new(Method::GET, url.clone(), wire.patience.answer, "the token request");
        let mut authorization = None;
        if let Credentials::Identity(token) = &self.credentials {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", "cofferdam");
            form.append_pair("scope", scope).append_pair("refresh_token", token);
            form.extend_pairs(service.map(|service| ("service", service)));
            ask.method = Method::POST;
            ask.body = form.finish().into();
            ask = ask.header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        } else {
            {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(service.map(|service| ("service", service)));
                query.extend_pairs(scope.split(' ').map(|scope| ("scope", scope)));
            }
            ask.url = url;
            authorization = self.credentials.basic_header().and_then(|text| HeaderValue::from_str(&text).ok());
        }
        let mut backoff = wire.backoff();
        loop {
            let error = match wire.send(&ask, authorization.clone()).await {
                Ok(answer) if answer.status.is_success() => {
                    let body = wire.body(answer, MAX_TOKEN_ANSWER, "its token service's answer").await?;
                    return read(&body).ok_or_else(|| {
                        wire.error(Kind::Protocol, "its token service's answer contains no token that can be used")
                    });
                }
                Ok(answer) => wire.refusal(answer, &self.credentials.secrets()).await,
                Err(error) => error,
            };
            backoff.wait(error).await?;
        }
    }
}

/// True for a web page that does not say that it is a registry's.
fn is_page(answer: &Answer) -> bool {
    let html = answer
        .header("content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    html && answer.header("docker-distribution-api-version").is_none()
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("Bearer {token}"));
    HeaderValue::from_str(&text).ok()
}

fn read(body: &[u8]) -> Option<Token> {
    let answered: Answered = serde_json::from_slice(body).ok()?;
    let some = |text: Option<Hidden>| text.map(|text| text.0).filter(|text| !text.is_empty());
    let text = some(answered.token).or_else(|| some(answered.access_token))?;
    bearer(&text)?;
    let life = answered.expires_in.as_ref().and_then(seconds).map_or(DEFAULT_LIFETIME, Duration::from_secs);
    let life = life.min(LONGEST_LIFE);
    // A token that lives for seconds is used anyway and replaced after a 401.
    let until = Instant::now() + life.saturating_sub(RENEWED_BEFORE_END).max(Duration::from_secs(1));
    Some(Token { text, until })
}

fn seconds(value: &serde_json::Value) -> Option<u64> {
    let fraction = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().map(|life| life.as_secs());
    value.as_u64().or_else(|| value.as_f64().and_then(fraction)).or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_token_services() {
        let life = |text: &str| {
            let token = read(text.as_bytes())?;
            assert_eq!(token.text.as_str(), "t");
            Some(token.until.saturating_duration_since(Instant::now()).as_secs())
        };
        for text in [
            r#"{"token": "t", "expires_in": 300}"#,
            r#"{"token": null, "access_token": "t", "expires_in": 300.5}"#,
            r#"{"token": "t", "access_token": "other", "expires_in": "300"}"#,
            r#"{"token": "", "access_token": "t", "refresh_token": null, "expires_in": 300, "issued_at": null}"#,
        ] {
            assert!(life(text).is_some_and(|left| (280..=290).contains(&left)), "{text}");
        }
        for text in
            [r#"{"token": "t"}"#, r#"{"token": "t", "expires_in": null}"#, r#"{"token": "t", "expires_in": -1}"#]
        {
            assert!(life(text).is_some_and(|left| (40..=50).contains(&left)), "{text}");
        }
        assert!(life(r#"{"token": "t", "expires_in": 1e300}"#).is_some());
        for text in ["{}", "null", "[]", r#"{"token": null}"#, r#"{"token": "a\nb"}"#] {
            assert_eq!(life(text), None, "{text}");
        }
    }
}
