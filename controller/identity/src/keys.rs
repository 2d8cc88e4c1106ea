//! API keys: create, list, change, rotate, revoke. A key's text leaves this process once, in the response that makes it.
//!
//! A key gives no more than it has: neither scopes, nor time, nor requests a minute. So it cannot take the text of a key that
//! has more, either.

use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Caller, Scope, Scopes, Secret, now, random_bits};
use cofferdam_store::{Added, KeyChanged, KeyRow, KeyTerms, OldText, Store};

use crate::key::{hash, new_key};
use crate::names::check_name;
use crate::{Error, Keyring, SERVE_KEY};

/// The longest time of a key, in seconds: ten years.
const MAX_TTL_S: u64 = 10 * 366 * 86_400;
/// The grace of an old text, in seconds, if the caller asks for none.
const DEFAULT_GRACE_S: u64 = 86_400;
const MAX_GRACE_S: u64 = 30 * 86_400;
/// The most requests a minute that can be a limit.
pub(crate) const MAX_PER_MINUTE: u32 = 1_000_000;
/// The tries of a change while others change the same key.
const MAX_TRIES: usize = 5;

/// The operator's limit for API keys.
#[derive(Debug, Clone, Copy)]
pub struct KeysConfig {
    /// Keys of one organization that are not revoked.
    pub max_per_organization: u64,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { max_per_organization: 1_000 }
    }
}

/// A key that is to be made.
#[derive(Debug, Clone, Default)]
pub struct KeyRequest {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// Seconds from now; absent: as long as the key that makes it.
    pub ttl_s: Option<u64>,
    /// Absent: as many as the key that makes it.
    pub requests_per_minute: Option<u32>,
    /// True for a key that may manage organizations.
    pub operator: bool,
}

/// Changes of a key. Absent fields stay; `Some(None)` takes the bound away.
#[derive(Debug, Clone, Default)]
pub struct KeyPatch {
    pub name: Option<String>,
    pub scopes: Option<Vec<Scope>>,
    /// Seconds from now.
    pub ttl_s: Option<Option<u64>>,
    pub requests_per_minute: Option<Option<u32>>,
}

/// API keys of all organizations.
pub struct Keys {
    store: Store,
    keyring: Arc<Keyring>,
    config: KeysConfig,
}

impl Keys {
    pub fn new(store: Store, keyring: Arc<Keyring>, config: KeysConfig) -> Self {
        Self { store, keyring, config }
    }

    /// Creates a key. It is accepted as soon as this returns.
    ///
    /// # Errors
    /// [`Problem::invalid`] that names the field, [`Problem::forbidden`] for more than the caller has, [`Problem::overloaded`] at
    /// the limit, or the store failed.
    pub async fn create(&self, caller: &Caller, request: KeyRequest) -> Result<(KeyRow, Secret), Error> {
        let terms = KeyTerms {
            expires_at: request.ttl_s.map(end).transpose()?.or(caller.expires_at),
            requests_per_minute: request.requests_per_minute.or(caller.limits.key_requests_per_minute),
            operator: request.operator,
            ..KeyTerms::default()
        };
        let (row, key) = new_row(&caller.organization, &caller.key, &request.name, request.scopes, terms)?;
        check_within(caller, &row, "gives")?;
        if row.terms.operator && !Scopes::from_text(&row.scopes).cover(Scope::Admin) {
            return Err(Problem::invalid("operator: needs the scope admin").into());
        }
        let max = self.config.max_per_organization;
        if self.store.add_key(&row, max).await? != Added::Done {
            return Err(Problem::overloaded(format!("The organization has {max} API keys; revoke some.")).into());
        }
        self.keyring.remember(&row);
        Ok((row, key))
    }

    /// The organization's keys. Their last use is up to a minute old if another process saw it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<KeyRow>, Error> {
        let mut rows = self.store.keys(&caller.organization).await?;
        rows.iter_mut().for_each(|row| self.with_last_use(row));
        Ok(rows)
    }

    /// A key of the organization.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn find(&self, caller: &Caller, id: &str) -> Result<KeyRow, Error> {
        let mut row = self.store.key(&caller.organization, id).await?.ok_or_else(missing)?;
        self.with_last_use(&mut row);
        Ok(row)
    }

    fn with_last_use(&self, row: &mut KeyRow) {
        row.terms.last_used_at = row.terms.last_used_at.max(self.keyring.last_use(&row.id));
    }

    /// Changes a key's name, scopes, end or rate. If it may do less afterwards, its requests under way end.
    ///
    /// # Errors
    /// [`Problem::not_found`], [`Problem::forbidden`] for a key that has or would get more than the caller's,
    /// [`Problem::conflict`] for the last key with the scope `admin`, or the store failed.
    pub async fn patch(&self, caller: &Caller, id: &str, patch: &KeyPatch) -> Result<KeyRow, Error> {
        let changed = self
            .change(caller, id, |row| {
                if let Some(name) = &patch.name {
                    check_name(name)?;
                    row.name.clone_from(name);
                }
                if let Some(scopes) = &patch.scopes {
                    row.scopes = checked(scopes.clone())?;
                }
                if let Some(ttl_s) = patch.ttl_s {
                    row.terms.expires_at = ttl_s.map(end).transpose()?;
                }
                if let Some(rate) = patch.requests_per_minute {
                    row.terms.requests_per_minute = rate;
                }
                if row.terms.operator && !Scopes::from_text(&row.scopes).cover(Scope::Admin) {
                    return Err(Problem::invalid("scopes: a key that manages organizations needs admin"));
                }
                Ok(())
            })
            .await?;
        Ok(changed)
    }

    /// Gives a key a new text. The old one is accepted for `grace_s` seconds more, a day by default; one that an earlier rotation has
    /// left ends at once.
    ///
    /// # Errors
    /// [`Problem::not_found`], [`Problem::invalid`], [`Problem::forbidden`] for a key that has more than the caller's, or the store
    /// failed.
    pub async fn rotate(&self, caller: &Caller, id: &str, grace_s: Option<u64>) -> Result<(KeyRow, Secret), Error> {
        let grace_s = grace_s.unwrap_or(DEFAULT_GRACE_S);
        if grace_s > MAX_GRACE_S {
            return Err(Problem::invalid(format!("grace_s: 0 to {MAX_GRACE_S} seconds")).into());
        }
        let key = new_key()?;
        let new_hash = hex::encode(hash(key.expose()));
        let row = self
            .change(caller, id, |row| {
                let old = std::mem::replace(&mut row.hash, new_hash.clone());
                row.terms.old = Some(OldText { hash: old, expires_at: now().saturating_add_unsigned(grace_s) });
                row.terms.rotations = row.terms.rotations.wrapping_add(1) & i32::MAX.unsigned_abs();
                Ok(())
            })
            .await?;
        Ok((row, key))
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// [`Problem::not_found`], or [`Problem::conflict`] for the key that the operator sets and for the last key with the scope
    /// `admin`.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        for _ in 0..MAX_TRIES {
            let before = self.changeable(caller, id).await?;
            if before.terms.operator && !caller.operator {
                return Err(Problem::forbidden("Only a key that manages organizations may revoke this one.").into());
            }
            match self.keyring.change(&before, None).await? {
                KeyChanged::Done => return Ok(()),
                KeyChanged::LastAdmin => return Err(last_admin()),
                KeyChanged::Raced => {}
            }
        }
        Err(raced())
    }

    async fn change(
        &self,
        caller: &Caller,
        id: &str,
        change: impl Fn(&mut KeyRow) -> Result<(), Problem>,
    ) -> Result<KeyRow, Error> {
        for _ in 0..MAX_TRIES {
            let before = self.changeable(caller, id).await?;
            check_within(caller, &before, "changes")?;
            let mut after = before.clone();
            change(&mut after)?;
            check_within(caller, &after, "gives")?;
            match self.keyring.change(&before, Some(&after)).await? {
                KeyChanged::Done => {
                    self.with_last_use(&mut after);
                    return Ok(after);
                }
                KeyChanged::LastAdmin => return Err(last_admin()),
                KeyChanged::Raced => {}
            }
        }
        Err(raced())
    }

    /// A key of the caller's organization that calls may change.
    async fn changeable(&self, caller: &Caller, id: &str) -> Result<KeyRow, Error> {
        let row = self.store.key(&caller.organization, id).await?.ok_or_else(missing)?;
        if id == SERVE_KEY {
            let detail = "This is the key that `cofferdam serve` is given or creates; change it there.";
            return Err(Problem::conflict(detail).into());
        }
        Ok(row)
    }
}

/// A row and its text for a key that does not exist yet.
pub(crate) fn new_row(
    organization: &OrganizationId,
    created_by: &str,
    name: &str,
    scopes: Vec<Scope>,
    terms: KeyTerms,
) -> Result<(KeyRow, Secret), Error> {
    check_name(name)?;
    check_per_minute(terms.requests_per_minute)?;
    let key = new_key()?;
    let row = KeyRow {
        id: format!("key_{:032x}", random_bits()?),
        organization: organization.clone(),
        name: name.to_owned(),
        hash: hex::encode(hash(key.expose())),
        scopes: checked(scopes)?,
        created_at: now(),
        terms: KeyTerms { created_by: created_by.to_owned(), ..terms },
    };
    Ok((row, key))
}

fn checked(scopes: Vec<Scope>) -> Result<String, Problem> {
    if scopes.is_empty() {
        return Err(Problem::invalid("scopes: at least one of admin, deploy, run, invoke, read"));
    }
    Ok(Scopes::new(scopes).to_text())
}

/// # Errors
/// [`Problem::invalid`] that names the field.
pub(crate) fn check_per_minute(limit: Option<u32>) -> Result<(), Problem> {
    match limit {
        Some(limit) if !(1..=MAX_PER_MINUTE).contains(&limit) => {
            Err(Problem::invalid(format!("requests_per_minute: 1 to {MAX_PER_MINUTE}")))
        }
        _ => Ok(()),
    }
}

/// The moment so many seconds from now.
fn end(ttl_s: u64) -> Result<i64, Problem> {
    if !(1..=MAX_TTL_S).contains(&ttl_s) {
        return Err(Problem::invalid(format!("ttl_s: 1 to {MAX_TTL_S} seconds")));
    }
    Ok(now().saturating_add_unsigned(ttl_s))
}

/// Refuses a key that has more than the caller's.
fn check_within(caller: &Caller, row: &KeyRow, does: &str) -> Result<(), Problem> {
    check_per_minute(row.terms.requests_per_minute)?;
    let later = |bound: i64| row.terms.expires_at.is_none_or(|end| end > bound);
    let oftener = |bound: u32| row.terms.requests_per_minute.is_none_or(|rate| rate > bound);
    let more = if !caller.scopes.cover_all(&Scopes::from_text(&row.scopes)) {
        "scopes"
    } else if caller.expires_at.is_some_and(later) {
        "time (`ttl_s`)"
    } else if caller.limits.key_requests_per_minute.is_some_and(oftener) {
        "requests a minute"
    } else if row.terms.operator && !caller.operator {
        "rights: it manages organizations"
    } else {
        return Ok(());
    };
    Err(Problem::forbidden(format!("A key {does} no key with more than it has itself; this one has more {more}.")))
}

fn missing() -> Error {
    Problem::not_found("There is no such key.").into()
}

fn last_admin() -> Error {
    let detail = "This is the organization's last key with the scope admin; make another one first.";
    Problem::conflict(detail).into()
}

fn raced() -> Error {
    Problem::conflict("The key is being changed by others; try again.").into()
}
