//! OAuth as MCP wants it: the token of a person or of the organization, fetched, renewed, and asked for anew when somebody has
//! to log in. Tokens are sealed, and in no error and no log.

mod browser;
mod discover;
mod endpoint;
mod login;
mod refresh;
mod register;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_contract::work::ConnectorSpec;
use cofferdam_core::{Vault, now_ms};
use cofferdam_store::{ConnectorTokenRow, Store};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::challenge::Challenge;
use crate::clean::Scrub;
use crate::credentials::{Held, with_token};
use crate::error::{CallError, ConnectorError};
use crate::hidden::Hidden;
use crate::link::Link;
use crate::spec::Secrets;

pub use browser::Browser;
pub use login::{Finished, LoginAnswer, LoginError, LoginShown};
pub(crate) use login::{LOGIN_TIME, look, take};
pub(crate) use register::document;

/// A token is renewed so long before its end, but for a short one.
const EARLY_MS: i64 = 60_000;
/// A token in memory is compared with the stored one after this time: somebody may have logged out, or in as somebody else, in
/// another process.
const CHECKED_FOR: Duration = Duration::from_secs(2);
/// The same address to log in at is shown again for this time.
const SAME_LOGIN: Duration = Duration::from_secs(60);

/// The parts that all connectors share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) vault: Arc<Vault>,
    /// The start of this server's addresses, as browsers reach them.
    pub(crate) base: String,
    /// This process, for refreshes that only one may do.
    pub(crate) process: String,
    pub(crate) logins: tokio::sync::broadcast::Sender<Finished>,
}

impl Shared {
    /// The address that a browser comes back to.
    pub(crate) fn redirect_uri(&self) -> String {
        format!("{}/oauth/callback", self.base)
    }

    /// The address at which somebody is shown a login.
    fn login_address(&self, ticket: &str) -> String {
        format!("{}/oauth/login?login={ticket}", self.base)
    }

    /// The address of this server's description of itself as a client, if others can reach it.
    pub(crate) fn client_document(&self) -> Option<String> {
        self.base.starts_with("https://").then(|| format!("{}/oauth/client.json", self.base))
    }
}

/// The one for whom somebody logs in.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) organization: OrganizationId,
    pub(crate) connector: String,
    /// Empty: the whole organization.
    pub(crate) person: String,
    /// The version of the connector's row.
    pub(crate) row: String,
}

impl Owner {
    fn key(&self) -> (&OrganizationId, &str, &str) {
        (&self.organization, &self.connector, &self.person)
    }

    /// The words that a sealed value is bound to.
    fn context(&self, kind: &str, spec: &ConnectorSpec) -> String {
        let (organization, ca) = (self.organization.as_str(), spec.ca.as_deref().unwrap_or_default());
        format!("connector-{kind}\0{organization}\0{}\0{}\0{}\0{ca}", self.connector, self.person, spec.url)
    }
}

/// The client that this server is for an authorization server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OauthClient {
    id: String,
    secret: Option<Hidden>,
    /// The secret goes into the body, not into a header.
    post: bool,
}

/// A token, as it is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    access: Hidden,
    refresh: Option<Hidden>,
    /// Unix time in milliseconds.
    expires_at: Option<i64>,
    /// It is renewed from then on.
    renew_at: Option<i64>,
    endpoint: String,
    client: OauthClient,
    resource: String,
    scope: Option<String>,
}

impl Token {
    fn ends_soon(&self) -> bool {
        self.renew_at.is_some_and(|end| end < now_ms())
    }

    fn seal(&self, shared: &Shared, owner: &Owner, spec: &ConnectorSpec) -> Result<ConnectorTokenRow, ConnectorError> {
        let json = Zeroizing::new(serde_json::to_vec(self)?);
        let version = format!("{:032x}", cofferdam_core::random_bits()?);
        Ok(ConnectorTokenRow { sealed: shared.vault.seal(&owner.context("token", spec), &json)?, version })
    }

    /// `None`: it was sealed for another place, or with another key.
    fn unseal(shared: &Shared, owner: &Owner, spec: &ConnectorSpec, row: &ConnectorTokenRow) -> Option<Self> {
        let json = shared.vault.unseal(&owner.context("token", spec), &row.sealed).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// A token in memory.
struct Current {
    held: Arc<Held>,
    /// It is renewed from then on.
    renew_at: Option<i64>,
    /// It was the stored one then.
    checked: Instant,
}

/// The logins of one connector and person.
pub(crate) struct Oauth {
    pub(crate) shared: Arc<Shared>,
    pub(crate) owner: Owner,
    /// The connector's own headers, and the client's secret.
    pub(crate) secrets: Secrets,
    current: Mutex<Option<Current>>,
    /// The last address to log in at.
    asked: Mutex<Option<(String, Instant)>>,
}

impl Oauth {
    pub(crate) fn new(shared: Arc<Shared>, owner: Owner, secrets: Secrets) -> Self {
        Self { shared, owner, secrets, current: Mutex::default(), asked: Mutex::default() }
    }

    pub(crate) fn scrub(&self) -> Scrub {
        self.current.lock().as_ref().map(|current| current.held.head.scrub.clone()).unwrap_or_default()
    }

    /// The token to send.
    pub(crate) async fn get(&self, link: &Arc<Link>, deadline: Instant) -> Result<Arc<Held>, CallError> {
        if let Some(held) = self.remembered().await {
            return Ok(held);
        }
        match self.stored(link).await? {
            Some((token, version)) if !token.ends_soon() => Ok(self.hold(&token, &version)),
            Some((token, version)) if token.refresh.is_some() => self.renew(link, &version, deadline).await,
            // A token that cannot be renewed is used until the server refuses it.
            Some((token, version)) if token.expires_at.is_some_and(|end| end > now_ms()) => {
                Ok(self.hold(&token, &version))
            }
            _ => Err(self.login_required(link, None, deadline).await),
        }
    }

    /// The token in memory, if it is still the stored one.
    async fn remembered(&self) -> Option<Arc<Held>> {
        let (held, checked) = {
            let current = self.current.lock();
            let current = current.as_ref().filter(|one| one.renew_at.is_none_or(|end| end > now_ms()))?;
            (Arc::clone(&current.held), current.checked)
        };
        if checked.elapsed() < CHECKED_FOR {
            return Some(held);
        }
        let (organization, connector, person) = self.owner.key();
        match self.shared.store.connector_token_version(organization, connector, person).await {
            Ok(version) if version.is_some() && version == held.token => {
                if let Some(current) = self.current.lock().as_mut().filter(|one| Arc::ptr_eq(&one.held, &held)) {
                    current.checked = Instant::now();
                }
                Some(held)
            }
            Ok(_) => {
                self.current.lock().take_if(|one| Arc::ptr_eq(&one.held, &held));
                None
            }
            // Known tokens stay while the database is away.
            Err(_) => Some(held),
        }
    }

    /// The server has refused this token.
    pub(crate) async fn refused(
        &self,
        link: &Arc<Link>,
        held: &Held,
        challenge: Challenge,
        again: bool,
        deadline: Instant,
    ) -> Result<(), CallError> {
        *self.current.lock() = None;
        let more = challenge.error.as_deref() == Some("insufficient_scope");
        let Some(version) = held.token.as_deref().filter(|_| !again && !more) else {
            return Err(self.login_required(link, Some(challenge), deadline).await);
        };
        match self.stored(link).await? {
            Some((_, newer)) if newer != version => Ok(()),
            Some((token, _)) if token.refresh.is_some() => self.renew(link, version, deadline).await.map(drop),
            _ => Err(self.login_required(link, Some(challenge), deadline).await),
        }
    }

    async fn stored(&self, link: &Link) -> Result<Option<(Token, String)>, CallError> {
        let (organization, connector, person) = self.owner.key();
        let row = self.shared.store.connector_token(organization, connector, person).await;
        let row = row.map_err(|error| CallError::internal(&error))?;
        Ok(row.and_then(|row| Some((Token::unseal(&self.shared, &self.owner, &link.spec, &row)?, row.version))))
    }

    fn hold(&self, token: &Token, version: &str) -> Arc<Held> {
        let held = Arc::new(with_token(&self.secrets, &token.access, version));
        *self.current.lock() =
            Some(Current { held: Arc::clone(&held), renew_at: token.renew_at, checked: Instant::now() });
        held
    }

    /// Renews the token of this version, or takes the one that somebody else has renewed meanwhile.
    async fn renew(&self, link: &Arc<Link>, version: &str, deadline: Instant) -> Result<Arc<Held>, CallError> {
        let work = refresh::renew(Arc::clone(&self.shared), self.owner.clone(), Arc::clone(link), version.to_owned());
        // It goes on when nobody waits any more: a token that was renewed must not be lost.
        let renewed = timeout_at(deadline, tokio::spawn(work)).await;
        match renewed {
            Ok(Ok(Ok(Some((token, version))))) => Ok(self.hold(&token, &version)),
            Ok(Ok(Ok(None))) => Err(self.login_required(link, None, deadline).await),
            Ok(Ok(Err(why))) => Err(CallError::not_sent(why)),
            Ok(Err(_)) | Err(_) => Err(CallError::not_sent("the login was not renewed in time")),
        }
    }

    async fn login_required(&self, link: &Arc<Link>, challenge: Option<Challenge>, deadline: Instant) -> CallError {
        if let Some((url, _)) = self.asked.lock().as_ref().filter(|(_, at)| at.elapsed() < SAME_LOGIN) {
            return CallError::LoginRequired { url: url.clone() };
        }
        let begun = timeout_at(deadline, login::begin(self, link, challenge)).await;
        match begun {
            Ok(Ok(url)) => {
                *self.asked.lock() = Some((url.clone(), Instant::now()));
                CallError::LoginRequired { url }
            }
            Ok(Err(error)) => error.into(),
            Err(_) => CallError::not_sent("the server's login could not be found in time"),
        }
    }

    /// Begins a login that was asked for.
    pub(crate) async fn login(&self, link: &Arc<Link>) -> Result<String, ConnectorError> {
        login::begin(self, link, None).await
    }
}
