//! The credentials of a connector: fixed ones, or the token of somebody who has logged in.

use std::sync::Arc;

use cofferdam_contract::work::ConnectorAuth;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::Instant;

use crate::challenge::Challenge;
use crate::clean::Scrub;
use crate::error::CallError;
use crate::link::Link;
use crate::oauth::Oauth;
use crate::spec::Secrets;
use crate::wire::Head;

/// Credentials as they are sent.
pub(crate) struct Held {
    pub(crate) head: Head,
    /// The version of the token.
    pub(crate) token: Option<String>,
}

/// The credentials of a connector.
pub(crate) enum Credentials {
    Fixed(Arc<Held>),
    Oauth(Box<Oauth>),
}

/// A value that no log shows.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The headers of a connector, with its fixed credentials.
pub(crate) fn fixed(auth: &ConnectorAuth, secrets: &Secrets) -> Held {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, text: &str| {
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name), sensitive(text)) {
            headers.insert(name, value);
        }
    };
    for (name, value) in &secrets.headers {
        add(name, value);
    }
    let secret = secrets.auth.as_deref().unwrap_or_default();
    match auth {
        ConnectorAuth::ApiKey { header, .. } => add(header.as_deref().unwrap_or("x-api-key"), secret),
        ConnectorAuth::Bearer { .. } => add(header::AUTHORIZATION.as_str(), &format!("Bearer {secret}")),
        ConnectorAuth::None | ConnectorAuth::Oauth2 { .. } => {}
    }
    let all = secrets.headers.values().map(|value| &**value).chain([secret]);
    Held { head: Head { headers, session: None, version: None, scrub: Scrub::new(all) }, token: None }
}

/// The headers of a connector, with the token of somebody who has logged in.
pub(crate) fn with_token(secrets: &Secrets, access: &str, version: &str) -> Held {
    let mut held = fixed(&ConnectorAuth::None, secrets);
    if let Some(value) = sensitive(&format!("Bearer {access}")) {
        held.head.headers.insert(header::AUTHORIZATION, value);
    }
    let all = secrets.headers.values().map(|value| &**value).chain([access]);
    held.head.scrub = Scrub::new(all);
    held.token = Some(version.to_owned());
    held
}

impl Credentials {
    /// The credentials to send.
    ///
    /// # Errors
    /// [`CallError::LoginRequired`], or they cannot be had now.
    pub(crate) async fn get(&self, link: &Arc<Link>, deadline: Instant) -> Result<Arc<Held>, CallError> {
        match self {
            Self::Fixed(held) => Ok(Arc::clone(held)),
            Self::Oauth(oauth) => oauth.get(link, deadline).await,
        }
    }

    /// The server has refused these credentials. Returns if there are others by now.
    ///
    /// # Errors
    /// There are no others.
    pub(crate) async fn refused(
        &self,
        link: &Arc<Link>,
        held: &Held,
        challenge: Challenge,
        again: bool,
        deadline: Instant,
    ) -> Result<(), CallError> {
        match self {
            Self::Fixed(_) => {
                Err(CallError::Answered("the server refuses the connector's credentials (401)".to_owned()))
            }
            Self::Oauth(oauth) => oauth.refused(link, held, challenge, again, deadline).await,
        }
    }

    /// Takes the credentials out of texts.
    pub(crate) fn scrub(&self) -> Scrub {
        match self {
            Self::Fixed(held) => held.head.scrub.clone(),
            Self::Oauth(oauth) => oauth.scrub(),
        }
    }
}
