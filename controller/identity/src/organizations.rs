//! Organizations: an operator's key makes, bounds, disables and deletes them. An administrator sees the own one.
//!
//! Never ends a deployment itself: a deleted organization's agents are marked, and their drivers take them down.

use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Caller, OrganizationLimits, Scope, Secret, is_label, now, random_bits};
use cofferdam_store::{Added, KeyRow, KeyTerms, OrganizationDeleted, OrganizationRow, Running, Store};

use crate::keys::{check_per_minute, new_row};
use crate::names::check_name;
use crate::{Error, Keyring};

/// The most organizations in one page of a list.
pub const MAX_ORGANIZATION_PAGE: u32 = 1_000;
/// The most organizations.
const MAX_ORGANIZATIONS: u64 = 10_000;
/// The most runs or tasks at the same time that can be a limit.
const MAX_CONCURRENT: u32 = 100_000;
/// Ids that would look like a part of our own addresses, or like us.
const RESERVED: [&str; 10] =
    ["v1", "api", "mcp", "health", "ready", "metrics", "operator", "cofferdam", "system", "agents"];

/// An organization that is to be made.
#[derive(Debug, Clone, Default)]
pub struct OrganizationRequest {
    /// Absent: a random one.
    pub id: Option<String>,
    /// The name that people read.
    pub name: Option<String>,
    pub limits: OrganizationLimits,
}

/// Changes of an organization. Absent fields stay; `Some(None)` takes a limit away.
#[derive(Debug, Clone, Default)]
pub struct OrganizationPatch {
    pub name: Option<String>,
    pub requests_per_minute: Option<Option<u32>>,
    pub max_concurrent_runs: Option<Option<u32>>,
    pub max_concurrent_tasks: Option<Option<u32>>,
    pub disabled: Option<bool>,
}

/// An organization that was just made, and its first key.
pub struct NewOrganization {
    pub organization: OrganizationRow,
    pub key: KeyRow,
    /// The key's text.
    pub text: Secret,
}

/// A page of organizations.
#[derive(Debug, Clone)]
pub struct OrganizationPage {
    pub organizations: Vec<OrganizationRow>,
    /// The next page's `after`; absent on the last page.
    pub next: Option<String>,
}

/// All organizations.
pub struct Organizations {
    store: Store,
    keyring: Arc<Keyring>,
}

impl Organizations {
    pub fn new(store: Store, keyring: Arc<Keyring>) -> Self {
        Self { store, keyring }
    }

    /// Makes an organization and its first key, which has the scope `admin` and ends with the caller's, if that ends.
    ///
    /// # Errors
    /// [`Problem::forbidden`] for a key that manages no organizations, [`Problem::invalid`] that names the field,
    /// [`Problem::conflict`] for an id that was used before, [`Problem::overloaded`] at the limit, or the store failed.
    pub async fn create(&self, caller: &Caller, request: OrganizationRequest) -> Result<NewOrganization, Error> {
        check_operator(caller)?;
        let id = match &request.id {
            Some(id) => check_id(id)?,
            None => OrganizationId::from_random(random_bits()?),
        };
        let organization = OrganizationRow {
            name: request.name.unwrap_or_else(|| id.to_string()),
            limits: request.limits,
            disabled_at: None,
            created_at: now(),
            id,
        };
        check(&organization)?;
        let (key, text) = new_row(&organization.id, &caller.key, "first key", vec![Scope::Admin], terms_of(caller))?;
        match self.store.add_organization(&organization, &key, MAX_ORGANIZATIONS).await? {
            Added::Done => {}
            Added::Taken => {
                let detail = "There is an organization with this id, or there was one: ids are not used again.";
                return Err(Problem::conflict(detail).into());
            }
            Added::Full => {
                let detail = format!("The limit of {MAX_ORGANIZATIONS} organizations is reached.");
                return Err(Problem::overloaded(detail).into());
            }
        }
        self.keyring.organization_changed(&organization.id).await?;
        self.keyring.remember(&key);
        Ok(NewOrganization { organization, key, text })
    }

    /// Gives an organization one more key with the scope `admin`, for an administrator who has lost the last one.
    ///
    /// # Errors
    /// As [`Self::find`], [`Problem::forbidden`] for a key that manages no organizations, or the store failed.
    pub async fn give_key(&self, caller: &Caller, id: &str) -> Result<(KeyRow, Secret), Error> {
        check_operator(caller)?;
        let organization = self.find(caller, id).await?;
        let (key, text) =
            new_row(&organization.id, &caller.key, "from the operator", vec![Scope::Admin], terms_of(caller))?;
        // The organization's own limit of keys must not keep its operator out.
        if self.store.add_key(&key, u64::MAX).await? != Added::Done {
            return Err(missing());
        }
        self.keyring.remember(&key);
        Ok((key, text))
    }

    /// All organizations, or the caller's own for a key that manages none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller, after: &str, limit: u32) -> Result<OrganizationPage, Error> {
        if !caller.operator {
            let own = self.store.organization(&caller.organization).await?;
            let organizations = own.into_iter().filter(|row| row.id.as_str() > after).collect();
            return Ok(OrganizationPage { organizations, next: None });
        }
        let limit = limit.clamp(1, MAX_ORGANIZATION_PAGE);
        let mut organizations = self.store.organizations(after, i64::from(limit).saturating_add(1)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = organizations.len() > limit;
        organizations.truncate(limit);
        let next = organizations.last().filter(|_| more).map(|row| row.id.to_string());
        Ok(OrganizationPage { organizations, next })
    }

    /// An organization; any other than the own one only for a key that manages organizations.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn find(&self, caller: &Caller, id: &str) -> Result<OrganizationRow, Error> {
        let id = OrganizationId::parse(id).map_err(|_| missing())?;
        if !caller.operator && id != caller.organization {
            return Err(missing());
        }
        self.store.organization(&id).await?.ok_or_else(missing)
    }

    /// Changes an organization. A disabled one's keys are refused, here at once and elsewhere within a second.
    ///
    /// # Errors
    /// As [`Self::find`], [`Problem::forbidden`], [`Problem::invalid`], [`Problem::conflict`] for disabling `default`, or the store
    /// failed.
    pub async fn patch(&self, caller: &Caller, id: &str, patch: OrganizationPatch) -> Result<OrganizationRow, Error> {
        let mut row = self.find(caller, id).await?;
        check_operator(caller)?;
        let OrganizationPatch { name, requests_per_minute, max_concurrent_runs, max_concurrent_tasks, disabled } =
            patch;
        row.name = name.unwrap_or(row.name);
        let limits = &mut row.limits;
        limits.requests_per_minute = requests_per_minute.unwrap_or(limits.requests_per_minute);
        limits.max_concurrent_runs = max_concurrent_runs.unwrap_or(limits.max_concurrent_runs);
        limits.max_concurrent_tasks = max_concurrent_tasks.unwrap_or(limits.max_concurrent_tasks);
        match disabled {
            Some(true) => {
                refuse_default(&row.id)?;
                row.disabled_at = row.disabled_at.or_else(|| Some(now()));
            }
            Some(false) => row.disabled_at = None,
            None => {}
        }
        check(&row)?;
        if !self.store.change_organization(&row).await? {
            return Err(missing());
        }
        self.keyring.organization_changed(&row.id).await?;
        Ok(row)
    }

    /// Deletes an organization; its keys end at once. While things of it run only with `force`, which ends these, too.
    ///
    /// # Errors
    /// As [`Self::find`], [`Problem::forbidden`], [`Problem::conflict`] while things run and for `default`, or the store failed.
    pub async fn delete(&self, caller: &Caller, id: &str, force: bool) -> Result<(), Error> {
        let row = self.find(caller, id).await?;
        check_operator(caller)?;
        refuse_default(&row.id)?;
        match self.store.delete_organization(&row.id, force).await? {
            OrganizationDeleted::Done => {}
            OrganizationDeleted::Missing => return Err(missing()),
            OrganizationDeleted::Busy(Running { agents, sessions, tasks }) => {
                let detail = format!(
                    "The organization has things that run: {agents} agents, {sessions} sessions, {tasks} tasks. End them, \
                     or delete it with `force=true`."
                );
                return Err(Problem::conflict(detail).into());
            }
        }
        self.keyring.organization_changed(&row.id).await
    }
}

/// The terms of a key that an operator's key gives away: no more time and no more requests than it has itself. So one that ends, or
/// an old text in its time of grace, leaves nothing behind that lasts longer.
fn terms_of(caller: &Caller) -> KeyTerms {
    KeyTerms {
        expires_at: caller.expires_at,
        requests_per_minute: caller.limits.key_requests_per_minute,
        ..KeyTerms::default()
    }
}

fn check_operator(caller: &Caller) -> Result<(), Problem> {
    if caller.operator && caller.scopes.cover(Scope::Admin) {
        return Ok(());
    }
    let detail =
        "Only an operator's key manages organizations: that of `cofferdam serve`, or one that it made for that.";
    Err(Problem::forbidden(detail))
}

fn refuse_default(id: &OrganizationId) -> Result<(), Problem> {
    if *id == OrganizationId::default_organization() {
        return Err(Problem::conflict("The organization `default` is the operator's own; it stays."));
    }
    Ok(())
}

fn check_id(id: &str) -> Result<OrganizationId, Problem> {
    let wrong = || Problem::invalid("id: 1 to 63 of a-z, 0-9 and `-`, with a letter or digit first and last");
    if !is_label(id) {
        return Err(wrong());
    }
    if RESERVED.contains(&id) {
        return Err(Problem::invalid("id: this one is the server's own; choose another"));
    }
    OrganizationId::parse(id).map_err(|_| wrong())
}

fn check(row: &OrganizationRow) -> Result<(), Problem> {
    check_name(&row.name)?;
    check_per_minute(row.limits.requests_per_minute)?;
    let limits = &row.limits;
    for (field, limit) in
        [("max_concurrent_runs", limits.max_concurrent_runs), ("max_concurrent_tasks", limits.max_concurrent_tasks)]
    {
        if limit.is_some_and(|limit| !(1..=MAX_CONCURRENT).contains(&limit)) {
            return Err(Problem::invalid(format!("{field}: 1 to {MAX_CONCURRENT}")));
        }
    }
    Ok(())
}

fn missing() -> Error {
    Problem::not_found("There is no such organization.").into()
}
