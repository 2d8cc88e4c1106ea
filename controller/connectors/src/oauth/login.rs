//! A login: its address, the page that says for whom it is, and its end when the browser comes back. It is random, bound to
//! organization, connector, person and browser, used once, and dead after 10 minutes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cofferdam_contract::work::{ConnectorAuth, ConnectorSpec};
use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{now_ms, random};
use cofferdam_store::ConnectorLoginRow;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::discover::{discover, probe};
use super::endpoint::{self, Grant, NoToken};
use super::{Browser, Oauth, OauthClient, Owner, Shared, register};
use crate::challenge::Challenge;
use crate::credentials::fixed;
use crate::error::ConnectorError;
use crate::hidden::Hidden;
use crate::link::Link;
use crate::place::Place;

/// The time for which a login's address is of use.
pub(crate) const LOGIN_TIME: Duration = Duration::from_secs(600);
/// Logins of one organization that are under way.
const MAX_LOGINS: u64 = 1_000;
/// The longest parameter of an answer.
const MAX_PARAMETER_BYTES: usize = 8 << 10;

/// A browser's way back, as its parameters say.
#[derive(Default, Deserialize)]
pub struct LoginAnswer {
    pub state: Option<String>,
    pub code: Option<String>,
    pub error: Option<String>,
    pub iss: Option<String>,
}

/// A login that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub organization: OrganizationId,
    pub connector: String,
    /// `None`: it is the whole organization's.
    pub person: Option<String>,
}

/// A login, as somebody is shown it before he goes on. Everything in it comes from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginShown {
    pub organization: OrganizationId,
    pub connector: String,
    /// `None`: it is the whole organization's.
    pub person: Option<String>,
    /// The MCP server that will have the account's rights.
    pub server: String,
    /// The authorization server.
    pub issuer: String,
    /// The place that the browser goes to.
    pub place: String,
    /// The proof that this browser was shown it.
    pub proof: String,
}

/// Why a login has failed. Safe to show.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("This login does not exist, was used already, or is older than 10 minutes. Begin again.")]
    Unknown,
    #[error("This login goes on in the browser only in which its address was opened. Begin again.")]
    OtherBrowser,
    #[error("The connector was changed or deleted since this login began. Begin again.")]
    Changed,
    #[error("The login was refused{0}.")]
    Refused(String),
    #[error("The answer does not come from the server that was asked. Nothing was stored.")]
    Mixed,
    #[error("The login cannot be finished: {0}.")]
    NoToken(String),
    #[error(transparent)]
    Internal(#[from] ConnectorError),
}

/// A login that has begun, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Begun {
    row: String,
    verifier: Hidden,
    /// The address that the browser goes to, without the state.
    authorize: String,
    issuer: String,
    says_issuer: bool,
    endpoint: String,
    client: OauthClient,
    redirect_uri: String,
    resource: String,
}

fn hash(state: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(state.as_bytes()))
}

fn word() -> Result<Hidden, ConnectorError> {
    Ok(Hidden::new(BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

/// Begins a login. Gives the address for the browser: a page of ours.
pub(super) async fn begin(
    oauth: &Oauth,
    link: &Arc<Link>,
    challenge: Option<Challenge>,
) -> Result<String, ConnectorError> {
    let refused = |why: String| Problem::invalid(format!("The login cannot begin: {why}."));
    let challenge = match challenge {
        Some(challenge) => challenge,
        None => probe(link, &fixed(&ConnectorAuth::None, &oauth.secrets).head).await,
    };
    let found = discover(link, &challenge).await.map_err(refused)?;
    let client = register::client(oauth, link, &found).await?;
    let (ticket, verifier) = (word()?, word()?);
    let redirect_uri = oauth.shared.redirect_uri();
    let mut url = found.authorize.url.clone();
    let scope = scope(&link.spec, &challenge, &found.scopes, found.offline);
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &client.id)
        .append_pair("redirect_uri", &redirect_uri)
        .append_pair("code_challenge", &hash(&verifier))
        .append_pair("code_challenge_method", "S256")
        .append_pair("resource", &found.resource);
    if !scope.is_empty() {
        url.query_pairs_mut().append_pair("scope", &scope);
    }
    let begun = Begun {
        row: oauth.owner.row.clone(),
        verifier,
        authorize: url.into(),
        issuer: found.issuer,
        says_issuer: found.says_issuer,
        endpoint: found.token.url.to_string(),
        client,
        redirect_uri,
        resource: found.resource,
    };
    let json = Zeroizing::new(serde_json::to_vec(&begun)?);
    let now = now_ms();
    let row = ConnectorLoginRow {
        hash: hash(&ticket),
        organization: oauth.owner.organization.clone(),
        connector: oauth.owner.connector.clone(),
        person: oauth.owner.person.clone(),
        sealed: oauth.shared.vault.seal(&oauth.owner.context("login", &link.spec), &json)?,
        expires_at: now + cofferdam_core::millis(LOGIN_TIME),
    };
    match oauth.shared.store.begin_connector_login(&row, now, MAX_LOGINS).await? {
        true => Ok(oauth.shared.login_address(&ticket)),
        false => {
            Err(Problem::overloaded(format!("{MAX_LOGINS} logins are under way; wait until some are over.")).into())
        }
    }
}

/// The scopes to ask for: the connector's own, else those that the server wants now, else all that it names.
fn scope(spec: &ConnectorSpec, challenge: &Challenge, named: &[String], offline: bool) -> String {
    let own = match &spec.auth {
        ConnectorAuth::Oauth2 { scopes, .. } => scopes.clone(),
        _ => Vec::new(),
    };
    let wanted = challenge.scope.iter().flat_map(|scope| scope.split_ascii_whitespace().map(str::to_owned)).take(64);
    let mut scopes = own;
    let more = challenge.error.as_deref() == Some("insufficient_scope");
    if scopes.is_empty() || more {
        scopes.extend(wanted);
    }
    if scopes.is_empty() {
        scopes = named.to_vec();
    }
    if offline && !scopes.is_empty() && !scopes.iter().any(|scope| scope == "offline_access") {
        scopes.push("offline_access".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
    scopes.join(" ")
}

/// The login of an address, which it stays.
pub(crate) async fn look(shared: &Shared, ticket: &str) -> Result<ConnectorLoginRow, LoginError> {
    if ticket.len() > MAX_PARAMETER_BYTES {
        return Err(LoginError::Unknown);
    }
    let row = shared.store.connector_login(&hash(ticket), now_ms()).await.map_err(ConnectorError::from)?;
    row.ok_or(LoginError::Unknown)
}

/// Takes the login that an answer belongs to: it cannot be taken again, however the rest goes. An answer in another browser takes
/// nothing.
pub(crate) async fn take(
    shared: &Shared,
    answer: &LoginAnswer,
    browser: Option<&Browser>,
) -> Result<ConnectorLoginRow, LoginError> {
    let parameters = [&answer.state, &answer.code, &answer.error, &answer.iss];
    if parameters.into_iter().flatten().any(|text| text.len() > MAX_PARAMETER_BYTES) {
        return Err(LoginError::Unknown);
    }
    let state = answer.state.as_deref().ok_or(LoginError::Unknown)?;
    let ticket = browser.ok_or(LoginError::OtherBrowser)?.ticket(state).ok_or(LoginError::OtherBrowser)?;
    let row = shared.store.take_connector_login(&hash(ticket), now_ms()).await.map_err(ConnectorError::from)?;
    row.ok_or(LoginError::Unknown)
}

impl Oauth {
    /// Opens a login that has begun, if the connector is still the same.
    fn begun(&self, link: &Arc<Link>, row: &ConnectorLoginRow) -> Result<Begun, LoginError> {
        let json = self.shared.vault.unseal(&self.owner.context("login", &link.spec), &row.sealed);
        let json = json.map_err(|_| LoginError::Changed)?;
        let begun: Begun = serde_json::from_slice(&json).map_err(|_| LoginError::Changed)?;
        if begun.row == self.owner.row { Ok(begun) } else { Err(LoginError::Changed) }
    }

    /// The login as somebody is shown it.
    pub(crate) fn shown(
        &self,
        link: &Arc<Link>,
        row: &ConnectorLoginRow,
        (ticket, browser): (&str, &Browser),
    ) -> Result<LoginShown, LoginError> {
        let begun = self.begun(link, row)?;
        let place = Place::parse(&begun.authorize).map_err(LoginError::NoToken)?;
        Ok(LoginShown {
            organization: self.owner.organization.clone(),
            connector: self.owner.connector.clone(),
            person: Some(self.owner.person.clone()).filter(|person| !person.is_empty()),
            server: link.wire.place.origin(),
            issuer: begun.issuer,
            place: place.origin(),
            proof: browser.shown(ticket),
        })
    }

    /// The address at the authorization server, for a browser that was shown the login.
    pub(crate) fn go_on(
        &self,
        link: &Arc<Link>,
        row: &ConnectorLoginRow,
        (ticket, browser): (&str, &Browser),
        proof: &str,
    ) -> Result<String, LoginError> {
        if proof != browser.shown(ticket) {
            return Err(LoginError::OtherBrowser);
        }
        let begun = self.begun(link, row)?;
        let mut url = Place::parse(&begun.authorize).map_err(LoginError::NoToken)?.url;
        url.query_pairs_mut().append_pair("state", &browser.state(ticket));
        Ok(url.into())
    }

    /// Ends the login: judges the answer, and exchanges its code for a token.
    pub(crate) async fn finish(
        &self,
        link: &Arc<Link>,
        row: &ConnectorLoginRow,
        answer: &LoginAnswer,
    ) -> Result<Finished, LoginError> {
        let Owner { organization, connector, person, row: version } = &self.owner;
        let begun = self.begun(link, row)?;
        // Before anything else: an answer of another server must not have its code sent to this one (RFC 9207).
        match answer.iss.as_deref() {
            Some(issuer) if issuer != begun.issuer => return Err(LoginError::Mixed),
            None if begun.says_issuer => return Err(LoginError::Mixed),
            _ => {}
        }
        if let Some(error) = &answer.error {
            let word: String =
                error.chars().take(64).filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
            return Err(LoginError::Refused(if word.is_empty() { word } else { format!(" ({word})") }));
        }
        let code = answer.code.as_deref().filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| LoginError::NoToken("the answer has no code".to_owned()))?;
        let endpoint = Place::parse(&begun.endpoint).map_err(LoginError::NoToken)?;
        let grant = Grant::Code { code, verifier: &begun.verifier, redirect_uri: &begun.redirect_uri };
        let token = endpoint::ask(&link.wire.http, &endpoint, &begun.client, &begun.resource, &grant).await;
        let token = token.map_err(|why| match why {
            NoToken::Over(why) | NoToken::Later(why) => LoginError::NoToken(why),
        })?;
        let sealed = token.seal(&self.shared, &self.owner, &link.spec)?;
        let stored = self.shared.store.put_connector_token(self.owner.key(), version, &sealed, now_ms()).await;
        if !stored.map_err(ConnectorError::from)? {
            return Err(LoginError::Changed);
        }
        *self.asked.lock() = None;
        *self.current.lock() = None;
        let person = (!person.is_empty()).then(|| person.clone());
        let finished = Finished { organization: organization.clone(), connector: connector.clone(), person };
        // Nobody may be listening.
        let _ = self.shared.logins.send(finished.clone());
        Ok(finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_from_the_connector_first() {
        let spec = |scopes: &[&str]| ConnectorSpec {
            auth: ConnectorAuth::Oauth2 {
                client_id: None,
                client_secret: None,
                issuer: None,
                scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
                per_person: false,
            },
            ..ConnectorSpec::default()
        };
        let challenge = |error: Option<&str>| Challenge {
            scope: Some("b c".to_owned()),
            error: error.map(str::to_owned),
            ..Challenge::default()
        };
        let named = ["d".to_owned()];
        assert_eq!(scope(&spec(&["a"]), &challenge(None), &named, false), "a");
        assert_eq!(scope(&spec(&["a"]), &challenge(Some("insufficient_scope")), &named, false), "a b c");
        assert_eq!(scope(&spec(&[]), &challenge(None), &named, true), "b c offline_access");
        assert_eq!(scope(&spec(&[]), &Challenge::default(), &named, false), "d");
    }
}
