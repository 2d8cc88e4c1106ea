//! Secrets: put, list, delete, and open for the gateway. A value goes in once and comes out only in a request to a host
//! that it is bound to; it never appears in a response, an error or a log line.

use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Caller, Vault, now};
use cofferdam_policy::HostPattern;
use cofferdam_store::{Put, SecretRow, Store};
use zeroize::Zeroizing;

use crate::Error;

const MAX_NAME: usize = 128;
/// The shortest value: the gateway replaces values wherever they appear, and a shorter one appears by chance.
const MIN_VALUE: usize = 4;
const MAX_VALUE: usize = 16 << 10;
const MAX_HOSTS: usize = 32;
/// The most secrets of one organization.
const MAX_SECRETS: u64 = 10_000;

/// The secrets that are tried at the start.
const TRIED_SECRETS: i64 = 100;

/// A secret as the gateway uses it.
pub struct OpenedSecret {
    pub value: Zeroizing<String>,
    pub hosts: Vec<HostPattern>,
}

/// The secrets of all organizations.
pub struct Secrets {
    store: Store,
    vault: Arc<Vault>,
}

impl Secrets {
    pub fn new(store: Store, vault: Arc<Vault>) -> Self {
        Self { store, vault }
    }

    /// Creates a secret, or replaces its value and hosts. Returns whether it is new.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the first invalid field, [`Problem::overloaded`], or the store failed.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &str,
        value: &Zeroizing<String>,
        hosts: &[String],
    ) -> Result<(SecretRow, bool), Error> {
        check_name(name)?;
        check_value(value)?;
        let hosts = serde_json::to_string(&check_hosts(hosts)?)?;
        let sealed = self.vault.seal(&context(&caller.organization, name, &hosts), value.as_bytes())?;
        let updated_at = now();
        let mut row = SecretRow {
            organization: caller.organization.clone(),
            name: name.to_owned(),
            hosts,
            sealed,
            created_at: updated_at,
            updated_at,
        };
        match self.store.put_secret(&row, MAX_SECRETS).await? {
            Put::Added => Ok((row, true)),
            Put::Replaced { created_at } => {
                row.created_at = created_at;
                Ok((row, false))
            }
            Put::Full => Err(Problem::overloaded(format!("The limit of {MAX_SECRETS} secrets is reached.")).into()),
        }
    }

    /// The organization's secrets, still sealed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<SecretRow>, Error> {
        let most = i64::try_from(MAX_SECRETS).unwrap_or(i64::MAX);
        Ok(self.store.secrets(&caller.organization, most).await?)
    }

    /// A secret, still sealed.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn find(&self, caller: &Caller, name: &str) -> Result<SecretRow, Error> {
        self.store.secret(&caller.organization, name).await?.ok_or_else(missing)
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        if self.store.delete_secret(&caller.organization, name).await? { Ok(()) } else { Err(missing()) }
    }

    /// Logs an error if the encryption key is not the one that the stored secrets were sealed with. Tries a few.
    ///
    /// # Errors
    /// The store failed.
    pub async fn warn_of_another_key(&self) -> Result<usize, Error> {
        let rows = self.store.some_secrets(TRIED_SECRETS).await?;
        let opens = |row: &SecretRow| {
            self.vault.unseal(&context(&row.organization, &row.name, &row.hosts), &row.sealed).is_ok()
        };
        let closed = rows.iter().filter(|row| !opens(row)).count();
        if closed > 0 {
            tracing::error!(
                tried = rows.len(),
                closed,
                "stored secrets do not open with this encryption key; restore the key that sealed them \
                 (COFFERDAM_ENCRYPTION_KEY, or encryption.key in the data folder), or set the secrets again"
            );
        }
        Ok(closed)
    }

    /// A secret's value, for requests and containers. Never for a client.
    ///
    /// # Errors
    /// The store failed, or this process's key does not open the value.
    pub async fn open(&self, organization: &OrganizationId, name: &str) -> Result<Option<Arc<OpenedSecret>>, Error> {
        let Some(row) = self.store.secret(organization, name).await? else { return Ok(None) };
        let bytes = self.vault.unseal(&context(organization, name, &row.hosts), &row.sealed)?;
        let value = std::str::from_utf8(&bytes).map_err(|_| Error::NotText(name.to_owned()))?;
        Ok(Some(Arc::new(OpenedSecret { value: Zeroizing::new(value.to_owned()), hosts: secret_hosts(&row)? })))
    }
}

/// The hosts that a secret is bound to.
///
/// # Errors
/// The row's list of hosts is not one that any version has written.
pub fn secret_hosts(row: &SecretRow) -> Result<Vec<HostPattern>, Error> {
    Ok(serde_json::from_str(&row.hosts)?)
}

/// Binds a sealed value to its organization, name and hosts: with any of them changed in the database, it does not open.
fn context(organization: &OrganizationId, name: &str, hosts: &str) -> String {
    format!("secret\0{}\0{name}\0{hosts}", organization.as_str())
}

fn missing() -> Error {
    Problem::not_found("There is no such secret.").into()
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(Problem::invalid(format!("name: 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`")));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), Problem> {
    if !(MIN_VALUE..=MAX_VALUE).contains(&value.len()) || value.contains('\0') {
        return Err(Problem::invalid(format!("value: text of {MIN_VALUE} to {MAX_VALUE} bytes, no NUL")));
    }
    if value.trim().is_empty() {
        return Err(Problem::invalid("value: must not be only spaces"));
    }
    Ok(())
}

fn check_hosts(hosts: &[String]) -> Result<Vec<HostPattern>, Problem> {
    if hosts.is_empty() || hosts.len() > MAX_HOSTS {
        return Err(Problem::invalid(format!("hosts: 1 to {MAX_HOSTS} hosts that the secret may be sent to")));
    }
    let read = |(number, host): (usize, &String)| {
        HostPattern::parse_grant(host).map_err(|why| Problem::invalid(format!("hosts[{number}]: {why}")))
    };
    hosts.iter().enumerate().map(read).collect()
}
