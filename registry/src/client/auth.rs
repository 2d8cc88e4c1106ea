//! How we prove ourselves to a registry: not at all, by basic authentication, or by a token of the service that its
//! challenge names. Tokens are kept until shortly before they expire. Credentials go to the registry itself and to its
//! token service, to no other host.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use super::backoff::Backoff;
use super::challenge::{Challenge, best};
use super::credentials::{Credentials, Hidden};
use super::error::{ClientError, Kind};
use super::wire::{Ask, Wire};

const MAX_TOKEN_ANSWER: usize = 64 << 10;
const MAX_TOKENS: usize = 64;
/// Where the service does not say how long a token lives, the specification's own figure.
const LIFE: Duration = Duration::from_secs(60);
const EARLY: Duration = Duration::from_secs(10);
const LONGEST_LIFE: Duration = Duration::from_secs(12 * 3600);

pub(super) struct Auth {
    credentials: Credentials,
    /// A host beside the registry's own domain that is its token service.
    token_host: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the registry wants; `None` until it was asked.
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
    expires_in: Option<u64>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What a token is for, as token services write it: `repository:team/agent:pull,push`, several separated by spaces.
pub(super) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

impl Auth {
    pub fn new(credentials: Credentials, token_host: Option<String>) -> Self {
        Self { credentials, token_host, state: Mutex::default() }
    }

    /// Everything that must not show, now.
    pub async fn secrets(&self) -> Vec<Zeroizing<String>> {
        let state = self.state.lock().await;
        self.credentials.secrets().into_iter().chain(state.tokens.values().map(|token| token.text.clone())).collect()
    }

    /// The header for a request of this scope. Asks the registry first what it wants, once.
    pub async fn header(&self, wire: &Wire, scope: &str) -> Result<Option<HeaderValue>, ClientError> {
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

    /// After a 401: what its challenge asks for. `None` where that is what we sent already.
    pub async fn again(
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
        // Another request may have fetched a new one in the meantime.
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
        let mut backoff = Backoff::new(&wire.patience);
        let ask = Ask::new(Method::GET, wire.base.clone(), wire.patience.answer, "the first question (/v2/)");
        loop {
            let error = match wire.send(&ask, None).await {
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {
                    let wanted = best(&answer.headers);
                    answer.done().await;
                    return Ok(wanted);
                }
                Ok(answer) if answer.status.is_success() => {
                    answer.done().await;
                    return Ok(None);
                }
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    return Err(wire.error(Kind::Protocol, "it answered 404 to the first question (/v2/)"));
                }
                Ok(answer) => wire.refusal(answer, &self.credentials.secrets()).await,
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
        let (realm, service) = match wanted {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                return Ok(self.credentials.basic_header().and_then(|text| HeaderValue::from_str(&text).ok()));
            }
            Some(Challenge::Bearer { realm, service, .. }) => (realm, service),
        };
        let now = Instant::now();
        state.tokens.retain(|_, token| token.until > now);
        if let Some(token) = state.tokens.get(scope) {
            return Ok(bearer(&token.text));
        }
        let token = self.fetch(wire, &realm, service.as_deref(), scope).await?;
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
            .map_err(|_| wire.error(Kind::Protocol, "its challenge names a token service that is no address"))?;
        wire.check(&url)?;
        if !self.credentials.is_anonymous() && !self.may_ask(wire, &url) {
            let host: String = url.host_str().unwrap_or_default().chars().take(255).collect();
            return Err(wire.error(
                Kind::Elsewhere,
                format!("its challenge sends us to a token service on {host}, which gets no credentials of ours"),
            ));
        }
        let about = "the question for a token";
        let mut ask = Ask::new(Method::GET, url.clone(), wire.patience.answer, about);
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
        let mut backoff = Backoff::new(&wire.patience);
        loop {
            let error = match wire.send(&ask, authorization.clone()).await {
                Ok(answer) if answer.status.is_success() => {
                    let body = wire.body(answer, MAX_TOKEN_ANSWER, "an answer of its token service").await?;
                    return read(&body).ok_or_else(|| {
                        wire.error(Kind::Protocol, "its token service's answer holds no token that can be used")
                    });
                }
                Ok(answer) => wire.refusal(answer, &self.credentials.secrets()).await,
                Err(error) => error,
            };
            backoff.wait(error).await?;
        }
    }

    /// The registry's own host, one of the same domain, or the one that was named for it. A registry could have our
    /// credentials for itself anyway; this is against one that is made to send them to somebody else.
    fn may_ask(&self, wire: &Wire, realm: &Url) -> bool {
        let (Some(own), Some(theirs)) = (wire.base.host_str(), realm.host_str()) else { return false };
        let domain = |host: &str| {
            let mut labels = host.rsplit('.');
            match (labels.next(), labels.next()) {
                (Some(last), Some(before)) if host.parse::<std::net::IpAddr>().is_err() => {
                    Some(format!("{before}.{last}"))
                }
                _ => None,
            }
        };
        own == theirs
            || domain(own).is_some_and(|domain_of| Some(domain_of) == domain(theirs))
            || self.token_host.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(theirs))
    }
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
    let life = answered.expires_in.map_or(LIFE, Duration::from_secs).min(LONGEST_LIFE);
    // A token that lives for seconds is used all the same, and asked for again after a 401.
    let until = Instant::now() + life.saturating_sub(EARLY).max(Duration::from_secs(1));
    Some(Token { text, until })
}
