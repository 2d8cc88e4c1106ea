//! The connectors of all organizations: kept, listed, tested, called.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{ConnectorAuth, ConnectorInfo, ConnectorLogin, ConnectorReport, ConnectorSpec};
use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Caller, Vault, now, random_bits};
use cofferdam_store::{ConnectorLoginRow, ConnectorRow, Put, Store};
use moka::sync::Cache;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::credentials::{Credentials, fixed};
use crate::error::{CallError, ConnectorError};
use crate::exchange::{MAX_ANSWER_BYTES, OnProgress, Wanted};
use crate::http::Client;
use crate::link::Link;
use crate::listing::{self, ToolList};
use crate::net::Net;
use crate::oauth::{
    Browser, Finished, LOGIN_TIME, LoginAnswer, LoginError, LoginShown, Oauth, Owner, Shared, look, take,
};
use crate::place::Place;
use crate::result::{ToolResult, read};
use crate::spec;
use crate::wire::Wire;

/// The most connectors of one organization.
pub const MAX_CONNECTORS: u64 = 500;
/// The most connectors of one page.
pub const MAX_PAGE: i64 = 200;
/// Ways to servers that are kept, and how long one is that nobody uses.
const MAX_LINKS: u64 = 2_048;
const LINK_IDLE: Duration = Duration::from_secs(600);
/// A change that another process made is seen after this time.
const ROW_KEPT_FOR: Duration = Duration::from_secs(2);
/// The longest name of a person.
const MAX_PERSON_BYTES: usize = 256;
/// The longest arguments of a call, as JSON.
const MAX_ARGUMENTS_BYTES: usize = 4 << 20;
/// Logins that a slow listener has not heard of yet.
const MAX_UNHEARD: usize = 1_024;
/// A tool that is not in the list is looked for again in one that is no older.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The bounds of a call, and who hears of its progress.
#[derive(Clone)]
pub struct CallOptions {
    pub deadline: Instant,
    /// The task and the call: a server that knows it does the same call once.
    pub idempotency_key: String,
    pub progress: Option<OnProgress>,
}

type Key = (OrganizationId, String, String);

/// The connectors.
pub struct Connectors {
    shared: Arc<Shared>,
    net: Net,
    rows: Cache<(OrganizationId, String), Arc<ConnectorRow>>,
    links: Cache<Key, Arc<Link>>,
}

impl Connectors {
    /// `base`: the start of this server's addresses as browsers reach them, without a slash at its end.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn new(store: Store, vault: Arc<Vault>, net: Net, base: String) -> Result<Arc<Self>, ConnectorError> {
        let (logins, _) = broadcast::channel(MAX_UNHEARD);
        let process = format!("{:032x}", random_bits()?);
        let ended = |_: Arc<Key>, link: Arc<Link>, _| {
            if tokio::runtime::Handle::try_current().is_ok() {
                link.close();
            }
        };
        Ok(Arc::new(Self {
            shared: Arc::new(Shared { store, vault, base, process, logins }),
            net,
            rows: Cache::builder().max_capacity(MAX_LINKS).time_to_live(ROW_KEPT_FOR).build(),
            links: Cache::builder().max_capacity(MAX_LINKS).time_to_idle(LINK_IDLE).eviction_listener(ended).build(),
        }))
    }

    /// Hears of each login that this process finished.
    pub fn logins(&self) -> broadcast::Receiver<Finished> {
        self.shared.logins.subscribe()
    }

    /// This server's description of itself as a client, for authorization servers that fetch it.
    pub fn client_document(&self) -> Option<Value> {
        let id = self.shared.client_document()?;
        let mut document = crate::oauth::document(&self.shared.redirect_uri());
        document.as_object_mut()?.insert("client_id".to_owned(), id.into());
        Some(document)
    }

    /// Adds a connector, or replaces the one with this name. Returns whether it is new.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the first invalid field, [`Problem::overloaded`], or the store failed.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &str,
        document: ConnectorSpec,
    ) -> Result<(ConnectorInfo, bool), ConnectorError> {
        spec::check_name(name)?;
        let before = self.shared.store.connector(&caller.organization, name).await?;
        let old = before.as_ref().map(|row| serde_json::from_str::<ConnectorSpec>(&row.spec)).transpose()?;
        let kept = match (&before, &old) {
            (Some(row), Some(old)) => {
                spec::unseal(&self.shared.vault, &caller.organization, name, old, &row.sealed).ok()
            }
            _ => None,
        };
        spec::check(&document, &self.net)?;
        let secrets = spec::secrets(&document, old.as_ref().zip(kept.as_ref()))?;
        let sealed = spec::seal(&self.shared.vault, &caller.organization, name, &document, &secrets)?;
        let updated_at = now();
        let mut row = ConnectorRow {
            organization: caller.organization.clone(),
            name: name.to_owned(),
            spec: serde_json::to_string(&document)?,
            sealed,
            version: format!("{:032x}", random_bits()?),
            created_at: updated_at,
            updated_at,
        };
        let forget = old.as_ref().is_none_or(|old| spec::forgets(old, &document));
        let put = self.shared.store.put_connector(&row, MAX_CONNECTORS, forget).await?;
        self.rows.invalidate(&(caller.organization.clone(), name.to_owned()));
        let new = match put {
            Put::Added => true,
            Put::Replaced { created_at } => {
                row.created_at = created_at;
                false
            }
            Put::Full => {
                return Err(Problem::overloaded(format!("The limit of {MAX_CONNECTORS} connectors is reached.")).into());
            }
        };
        Ok((info(&row)?, new))
    }

    /// A connector. Its secrets are not shown.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn get(&self, caller: &Caller, name: &str) -> Result<ConnectorInfo, ConnectorError> {
        info(&*self.row(&caller.organization, name).await?)
    }

    /// Connectors of the organization with names after `after`, by name; at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller, after: &str, limit: i64) -> Result<Vec<ConnectorInfo>, ConnectorError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let rows = self.shared.store.connectors(&caller.organization, after, limit).await?;
        rows.iter().map(info).collect()
    }

    /// Deletes a connector, with all its logins.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<(), ConnectorError> {
        let gone = self.shared.store.delete_connector(&caller.organization, name).await?;
        self.rows.invalidate(&(caller.organization.clone(), name.to_owned()));
        if gone { Ok(()) } else { Err(missing(name).into()) }
    }

    /// Tries a connector: reaches the server and lists its tools.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed. What is wrong with the server is in the report.
    pub async fn test(
        &self,
        caller: &Caller,
        name: &str,
        person: Option<&str>,
    ) -> Result<ConnectorReport, ConnectorError> {
        self.row(&caller.organization, name).await?;
        let tried = match self.link(&caller.organization, name, person).await {
            Ok(link) => listing::tools(&link, Some(Duration::ZERO)).await,
            Err(error) => Err(error),
        };
        let mut report = ConnectorReport {
            ok: false,
            problem: None,
            login_url: None,
            server: None,
            protocol: None,
            tools: Vec::new(),
            skipped: Vec::new(),
        };
        match tried {
            Ok(list) => {
                report.ok = true;
                report.server = Some(list.server.clone());
                report.protocol = Some(list.protocol);
                report.tools = list.tools.clone();
                report.skipped = list.skipped.clone();
            }
            Err(CallError::LoginRequired { url }) => {
                report.problem = Some("Somebody has to log in first.".to_owned());
                report.login_url = Some(url);
            }
            Err(error) => report.problem = Some(error.to_string()),
        }
        Ok(report)
    }

    /// True if each person logs in for himself.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn is_per_person(&self, caller: &Caller, name: &str) -> Result<bool, ConnectorError> {
        let row = self.row(&caller.organization, name).await?;
        let document: ConnectorSpec = serde_json::from_str(&row.spec)?;
        Ok(matches!(document.auth, ConnectorAuth::Oauth2 { per_person: true, .. }))
    }

    /// Begins a login for a person, or for the organization.
    ///
    /// # Errors
    /// [`Problem::not_found`], the connector has no logins, its server offers none, or the store failed.
    pub async fn login(
        &self,
        caller: &Caller,
        name: &str,
        person: Option<&str>,
    ) -> Result<ConnectorLogin, ConnectorError> {
        self.row(&caller.organization, name).await?;
        let link = self.link(&caller.organization, name, person).await.map_err(refused)?;
        let Credentials::Oauth(oauth) = &link.credentials else {
            return Err(
                Problem::invalid("This connector has no logins: its `auth` is not of the type `oauth2`.").into()
            );
        };
        let expires_at = now() + i64::try_from(LOGIN_TIME.as_secs()).unwrap_or_default();
        Ok(ConnectorLogin { url: oauth.login(&link).await?, expires_at })
    }

    /// Forgets the login of a person, or of the organization.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn logout(&self, caller: &Caller, name: &str, person: Option<&str>) -> Result<(), ConnectorError> {
        let row = self.row(&caller.organization, name).await?;
        let document: ConnectorSpec = serde_json::from_str(&row.spec)?;
        let person = person_of(&document, person).map_err(Problem::invalid)?;
        let gone = self.shared.store.delete_connector_token((&caller.organization, name, &person), None).await?;
        self.links.invalidate(&(caller.organization.clone(), name.to_owned(), person));
        if gone { Ok(()) } else { Err(Problem::not_found("Nobody is logged in.").into()) }
    }

    /// True if browsers reach this server by TLS.
    pub fn over_tls(&self) -> bool {
        self.shared.base.starts_with("https://")
    }

    /// A login that somebody has opened in a browser, to be shown before he goes on.
    ///
    /// # Errors
    /// [`LoginError`]; all of them are safe to show but for an internal one.
    pub async fn show_login(&self, ticket: &str, browser: &Browser) -> Result<LoginShown, LoginError> {
        let login = look(&self.shared, ticket).await?;
        let link = self.link_of(&login).await?;
        oauth_of(&link, &login)?.shown(&link, &login, (ticket, browser))
    }

    /// The address at the authorization server, for a browser that was shown the login: `proof` is from [`Self::show_login`].
    ///
    /// # Errors
    /// As [`Self::show_login`].
    pub async fn go_on(&self, ticket: &str, browser: &Browser, proof: &str) -> Result<String, LoginError> {
        let login = look(&self.shared, ticket).await?;
        let link = self.link_of(&login).await?;
        oauth_of(&link, &login)?.go_on(&link, &login, (ticket, browser), proof)
    }

    /// Ends a login, with what the browser brought back. Only the browser ends it that was shown it.
    ///
    /// # Errors
    /// As [`Self::show_login`].
    pub async fn finish_login(&self, answer: &LoginAnswer, browser: Option<&Browser>) -> Result<Finished, LoginError> {
        let login = take(&self.shared, answer, browser).await?;
        let link = self.link_of(&login).await?;
        oauth_of(&link, &login)?.finish(&link, &login, answer).await
    }

    /// The way to the server of a login, as the connector is now.
    async fn link_of(&self, login: &ConnectorLoginRow) -> Result<Arc<Link>, LoginError> {
        self.rows.invalidate(&(login.organization.clone(), login.connector.clone()));
        let person = Some(login.person.as_str()).filter(|person| !person.is_empty());
        let link = self.link(&login.organization, &login.connector, person).await;
        link.map_err(|_| LoginError::Changed)
    }

    /// The tools of a connector, as models are offered them.
    ///
    /// # Errors
    /// [`CallError`]; listing has no effect, so it may always be tried again.
    pub async fn tools(
        &self,
        organization: &OrganizationId,
        name: &str,
        person: Option<&str>,
    ) -> Result<Arc<ToolList>, CallError> {
        let link = self.link(organization, name, person).await?;
        listing::tools(&link, None).await
    }

    /// Calls a tool by the name that models are offered. A future that is dropped cancels the call.
    ///
    /// # Errors
    /// [`CallError`] says if the call may have had an effect.
    pub async fn call(
        &self,
        organization: &OrganizationId,
        name: &str,
        person: Option<&str>,
        tool: &str,
        arguments: &Map<String, Value>,
        options: CallOptions,
    ) -> Result<ToolResult, CallError> {
        let link = self.link(organization, name, person).await?;
        let mut list = listing::tools(&link, None).await?;
        if list.find(tool).is_none() {
            list = listing::tools(&link, Some(LOOK_AGAIN)).await?;
        }
        let Some(found) = list.find(tool) else {
            let shown: String = tool.chars().take(80).collect();
            return Err(CallError::Refused(format!("the connector {name:?} has no tool {shown:?}")));
        };
        let most = Duration::from_secs(link.spec.timeout_s.unwrap_or(spec::DEFAULT_TIMEOUT_S));
        let deadline = options.deadline.min(Instant::now() + most);
        let meta = json!({ "dev.cofferdam/idempotency-key": options.idempotency_key });
        let params = json!({ "name": found.original, "arguments": arguments, "_meta": meta });
        if params.to_string().len() > MAX_ARGUMENTS_BYTES {
            return Err(CallError::Refused(format!("the arguments are longer than {MAX_ARGUMENTS_BYTES} bytes")));
        }
        let wanted = Wanted { deadline, max_bytes: MAX_ANSWER_BYTES, progress: options.progress, cancels: true };
        let (json, _) = link.request("tools/call", params, &wanted).await?;
        let result = read(&json, found.hints, &link.credentials.scrub());
        result.ok_or_else(|| CallError::Unknown("the server's result cannot be read".to_owned()))
    }

    async fn row(&self, organization: &OrganizationId, name: &str) -> Result<Arc<ConnectorRow>, ConnectorError> {
        let key = (organization.clone(), name.to_owned());
        if let Some(row) = self.rows.get(&key) {
            return Ok(row);
        }
        let row = self.shared.store.connector(organization, name).await?;
        let row = Arc::new(row.ok_or_else(|| missing(name))?);
        self.rows.insert(key, Arc::clone(&row));
        Ok(row)
    }

    async fn link(
        &self,
        organization: &OrganizationId,
        name: &str,
        person: Option<&str>,
    ) -> Result<Arc<Link>, CallError> {
        let row = self.row(organization, name).await?;
        let document: ConnectorSpec = serde_json::from_str(&row.spec).map_err(|error| CallError::internal(&error))?;
        let person = person_of(&document, person).map_err(CallError::Refused)?;
        let key = (organization.clone(), name.to_owned(), person.clone());
        if let Some(link) = self.links.get(&key).filter(|link| link.row == row.version) {
            return Ok(link);
        }
        let link = Arc::new(self.make(&row, document, person)?);
        // One of two that came at once is used.
        let kept = self.links.entry(key).and_upsert_with(|held| match held {
            Some(held) if held.value().row == row.version => held.into_value(),
            _ => Arc::clone(&link),
        });
        Ok(kept.into_value())
    }

    fn make(&self, row: &ConnectorRow, document: ConnectorSpec, person: String) -> Result<Link, ConnectorError> {
        let secrets = spec::unseal(&self.shared.vault, &row.organization, &row.name, &document, &row.sealed)?;
        let place = Place::parse(&document.url).map_err(|why| Problem::invalid(format!("url: {why}")))?;
        let own = spec::certificates(document.ca.as_deref()).map_err(|why| Problem::invalid(format!("ca: {why}")))?;
        let credentials = match &document.auth {
            ConnectorAuth::Oauth2 { .. } => {
                let owner = Owner {
                    organization: row.organization.clone(),
                    connector: row.name.clone(),
                    person,
                    row: row.version.clone(),
                };
                Credentials::Oauth(Box::new(Oauth::new(Arc::clone(&self.shared), owner, secrets)))
            }
            auth => Credentials::Fixed(Arc::new(fixed(auth, &secrets))),
        };
        let wire = Wire { http: Arc::new(Client::new(self.net.clone(), own)), place };
        Ok(Link::new(wire, document, row.version.clone(), credentials))
    }
}

/// The logins that a login is one of.
fn oauth_of<'a>(link: &'a Link, login: &ConnectorLoginRow) -> Result<&'a Oauth, LoginError> {
    match &link.credentials {
        Credentials::Oauth(oauth) if oauth.owner.person == login.person => Ok(oauth),
        _ => Err(LoginError::Changed),
    }
}

/// The person whose login is used; empty for the organization's.
fn person_of(document: &ConnectorSpec, person: Option<&str>) -> Result<String, String> {
    if !matches!(document.auth, ConnectorAuth::Oauth2 { per_person: true, .. }) {
        return Ok(String::new());
    }
    let person = person.unwrap_or_default();
    let good = (1..=MAX_PERSON_BYTES).contains(&person.len()) && !person.chars().any(char::is_control);
    match good {
        true => Ok(person.to_owned()),
        false => Err("each person logs in at this connector for himself: a person has to be named, in 1 to 256 bytes \
                      without control characters"
            .to_owned()),
    }
}

fn refused(error: CallError) -> ConnectorError {
    Problem::invalid(error.to_string()).into()
}

fn missing(name: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    Problem::not_found(format!("There is no connector {shown:?}."))
}

fn info(row: &ConnectorRow) -> Result<ConnectorInfo, ConnectorError> {
    Ok(ConnectorInfo {
        name: row.name.clone(),
        spec: serde_json::from_str(&row.spec)?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
