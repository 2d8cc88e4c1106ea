//! Secrets: put, listed, deleted, opened for the gateway. A value goes in once and comes out only into a request to a
//! host that it is bound to; no answer, error or log line has one.

use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use zeroize::Zeroizing;

use super::App;
use crate::Error;
use crate::auth::Caller;
use crate::clock::now;
use crate::policy::HostPattern;
use crate::store::SecretRow;

const MAX_NAME: usize = 128;
/// Shorter values would be found, and taken out, where they are not.
const MIN_VALUE: usize = 4;
const MAX_VALUE: usize = 16 << 10;
const MAX_HOSTS: usize = 32;
/// Of one organization.
const MAX_SECRETS: u64 = 10_000;

/// A secret as the gateway uses it.
pub struct Opened {
    pub value: Zeroizing<String>,
    pub hosts: Vec<HostPattern>,
}

fn invalid(detail: impl Into<String>) -> Error {
    Problem::invalid(detail).into()
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(invalid(format!("name: 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`")));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), Error> {
    if !(MIN_VALUE..=MAX_VALUE).contains(&value.len()) || value.contains('\0') {
        return Err(invalid(format!("value: text of {MIN_VALUE} to {MAX_VALUE} bytes, no NUL")));
    }
    if value.trim().is_empty() {
        return Err(invalid("value: not only spaces"));
    }
    Ok(())
}

fn check_hosts(hosts: &[String]) -> Result<Vec<HostPattern>, Error> {
    if hosts.is_empty() || hosts.len() > MAX_HOSTS {
        return Err(invalid(format!("hosts: 1 to {MAX_HOSTS} hosts that the secret may be sent to")));
    }
    let read = |(number, host): (usize, &String)| {
        HostPattern::parse_grant(host).map_err(|why| invalid(format!("hosts[{number}]: {why}")))
    };
    hosts.iter().enumerate().map(read).collect()
}

/// What the sealed value belongs to: moved to another name, or bound to other hosts in the database, it does not open.
fn context(organization: &OrganizationId, name: &str, hosts: &str) -> String {
    format!("secret\0{}\0{name}\0{hosts}", organization.as_str())
}

/// Makes a secret, or gives it a new value and new hosts; and whether it is new.
///
/// # Errors
/// What is wrong with it, or the store's failure.
pub async fn put(
    app: &App,
    caller: &Caller,
    name: &str,
    value: &Zeroizing<String>,
    hosts: &[String],
) -> Result<(SecretRow, bool), Error> {
    check_name(name)?;
    check_value(value)?;
    let hosts = check_hosts(hosts)?;
    let hosts = serde_json::to_string(&hosts).map_err(|e| Error::Row(e.to_string()))?;
    let before = app.store.secret(&caller.organization, name).await?;
    if before.is_none() && app.store.count_secrets(&caller.organization).await? >= MAX_SECRETS {
        return Err(Problem::overloaded(format!("There are {MAX_SECRETS} secrets, which is the most.")).into());
    }
    let sealed = app.vault.seal(&context(&caller.organization, name, &hosts), value.as_bytes())?;
    let updated_at = now();
    let row = SecretRow {
        organization: caller.organization.clone(),
        name: name.to_owned(),
        hosts,
        sealed,
        created_at: before.as_ref().map_or(updated_at, |before| before.created_at),
        updated_at,
    };
    app.store.put_secret(&row).await?;
    Ok((row, before.is_none()))
}

/// # Errors
/// The store's failure.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<SecretRow>, Error> {
    app.store.secrets(&caller.organization, i64::try_from(MAX_SECRETS).unwrap_or(i64::MAX)).await
}

fn missing() -> Error {
    Problem::not_found("There is no such secret.").into()
}

/// # Errors
/// [`Problem::not_found`], or the store's failure.
pub async fn find(app: &App, caller: &Caller, name: &str) -> Result<SecretRow, Error> {
    app.store.secret(&caller.organization, name).await?.ok_or_else(missing)
}

/// # Errors
/// [`Problem::not_found`], or the store's failure.
pub async fn delete(app: &App, caller: &Caller, name: &str) -> Result<(), Error> {
    if app.store.delete_secret(&caller.organization, name).await? { Ok(()) } else { Err(missing()) }
}

/// The hosts that a row's secret is bound to.
///
/// # Errors
/// A row that no version has written.
pub fn hosts(row: &SecretRow) -> Result<Vec<HostPattern>, Error> {
    serde_json::from_str(&row.hosts).map_err(|e| Error::Row(e.to_string()))
}

/// A secret's value, for the gateway alone.
///
/// # Errors
/// The store's failure, or a value that this process's key does not open.
pub async fn open(app: &App, organization: &OrganizationId, name: &str) -> Result<Option<Arc<Opened>>, Error> {
    let Some(row) = app.store.secret(organization, name).await? else { return Ok(None) };
    let bytes = app.vault.unseal(&context(organization, name, &row.hosts), &row.sealed)?;
    let value = std::str::from_utf8(&bytes).map_err(|_| Error::Sealed("a sealed value is no text"))?;
    Ok(Some(Arc::new(Opened { value: Zeroizing::new(value.to_owned()), hosts: hosts(&row)? })))
}
