//! API keys: made, listed, revoked. A key's text leaves this process once, in the answer that makes it.

use cofferdam_contract::Problem;

use super::App;
use crate::Error;
use crate::auth::{Caller, Scope, Scopes, hash, hex, new_key};
use crate::clock::{now, random_bits};
use crate::config::Secret;
use crate::store::KeyRow;

/// The longest name, in characters.
const MAX_NAME: usize = 100;

/// # Errors
/// A bad name, no scopes, or the store's failure.
pub async fn create(app: &App, caller: &Caller, name: &str, scopes: Vec<Scope>) -> Result<(KeyRow, Secret), Error> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let detail = format!("name: 1 to {MAX_NAME} characters, no control characters");
        return Err(Problem::invalid(detail).into());
    }
    if scopes.is_empty() {
        return Err(Problem::invalid("scopes: at least one of admin, deploy, run, read").into());
    }
    let key = new_key()?;
    let row = KeyRow {
        id: format!("key_{:032x}", random_bits()?),
        organization: caller.organization.clone(),
        name: name.to_owned(),
        hash: hex(&hash(key.expose())),
        scopes: Scopes::new(scopes).to_text(),
        created_at: now(),
    };
    app.store.put_key(&row).await?;
    app.keys.remember(&row);
    Ok((row, key))
}

/// # Errors
/// The store's failure.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<KeyRow>, Error> {
    app.store.keys(&caller.organization).await
}

/// # Errors
/// [`Problem::not_found`], or a key that is the operator's to change.
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    if id == crate::auth::SERVE_KEY {
        let detail = "This key is the one that `cofferdam serve` is given or makes; change it there.";
        return Err(Problem::conflict(detail).into());
    }
    if app.keys.revoke(&caller.organization, id).await? {
        return Ok(());
    }
    Err(Problem::not_found("There is no such key.").into())
}
