//! Variables that every agent of an organization gets: set and deleted, opened for the driver. A value is the text that it
//! was given as: `007` stays `007`.

use std::collections::BTreeMap;

use cofferdam_contract::{OrganizationId, Problem};

use crate::Error;
use crate::auth::Caller;
use crate::clock::now;
use crate::config::Secret;
use crate::services::App;
use crate::store::VariableRow;

const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 32 << 10;
/// Of one organization.
const MAX_VARIABLES: u64 = 512;
/// In one request.
const MAX_CHANGES: usize = 512;

fn invalid(detail: impl Into<String>) -> Error {
    Problem::invalid(detail).into()
}

/// # Errors
/// A name that a container's environment does not take.
pub fn check_name(name: &str) -> Result<(), Error> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !first || name.len() > MAX_NAME || !name.bytes().all(plain) {
        let shown: String = name.chars().take(80).collect();
        let detail = format!(
            "{shown:?} is no variable's name: 1 to {MAX_NAME} letters, digits, `_`, `-` or `.`, no digit first"
        );
        return Err(invalid(detail));
    }
    if name.starts_with("COFFERDAM_") {
        return Err(invalid(format!("{name}: names that begin with COFFERDAM_ are the platform's")));
    }
    Ok(())
}

/// # Errors
/// A value that a container's environment does not take. The value is not shown.
pub fn check_value(name: &str, value: &str) -> Result<(), Error> {
    if value.len() > MAX_VALUE || value.contains('\0') {
        return Err(invalid(format!("{name}: at most {MAX_VALUE} bytes of text, no NUL")));
    }
    Ok(())
}

fn context(organization: &OrganizationId, name: &str) -> String {
    format!("variable\0{}\0{name}", organization.as_str())
}

/// Sets variables, and deletes those without a value. All of it happens, or nothing. Agents get them when they are
/// started next. The names that there are then.
///
/// # Errors
/// What cannot be, by name.
pub async fn sync(
    app: &App,
    caller: &Caller,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<Vec<String>, Error> {
    if changes.len() > MAX_CHANGES {
        return Err(invalid(format!("at most {MAX_CHANGES} variables in one request")));
    }
    let (mut set, mut delete) = (Vec::new(), Vec::new());
    for (name, value) in changes {
        check_name(name)?;
        let Some(value) = value else {
            delete.push(name.clone());
            continue;
        };
        check_value(name, value)?;
        let sealed = app.vault.seal(&context(&caller.organization, name), value.as_bytes())?;
        set.push(VariableRow { name: name.clone(), sealed, updated_at: now() });
    }
    if !app.store.sync_variables(&caller.organization, &set, &delete, MAX_VARIABLES).await? {
        let detail = format!("There would be more than {MAX_VARIABLES} variables, which is the most.");
        return Err(Problem::overloaded(detail).into());
    }
    names(app, caller).await
}

/// # Errors
/// The store's failure.
pub async fn names(app: &App, caller: &Caller) -> Result<Vec<String>, Error> {
    let rows = app.store.variables(&caller.organization).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// With their values, for the driver alone.
///
/// # Errors
/// The store's failure, or a value that this process's key does not open.
pub(super) async fn open(app: &App, organization: &OrganizationId) -> Result<BTreeMap<String, Secret>, Error> {
    let rows = app.store.variables(organization).await?;
    let open = |row: VariableRow| {
        let bytes = app.vault.unseal(&context(organization, &row.name), &row.sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Sealed("a sealed value is no text"))?;
        Ok((row.name, Secret::new(text)))
    };
    rows.into_iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_container_takes() {
        for good in ["A", "_x", "API_KEY", "a.b-c", &"x".repeat(128)] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "1A", "A=B", "A B", "é", "-a", "COFFERDAM_X", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_value("A", "007").is_ok() && check_value("A", "").is_ok());
        let error = check_value("A", "hush\0hush").unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }
}
