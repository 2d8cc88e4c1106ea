//! Finds the credentials for a registry where `docker login`, `podman login` and `skopeo login` keep them. Credential
//! helpers are third-party programs: they are named in errors, never run.

mod explain;
mod file;
mod places;

use std::path::PathBuf;

use super::credentials::Credentials;
use crate::reference::Reference;
use file::{File, Hit};
use places::{Place, places};

/// The lookup result for a registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub credentials: Credentials,
    pub source: Source,
}

/// The origin of credentials, to be named in an error. Holds none itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// `COFFERDAM_REGISTRY_USERNAME` and `COFFERDAM_REGISTRY_PASSWORD`.
    Variables,
    /// The entry `key` of a file.
    File { path: PathBuf, key: String },
    /// Nothing was found in these places.
    Nowhere(Vec<Searched>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Nowhere(Vec::new())
    }
}

/// A place without credentials for the registry.
#[derive(Debug, PartialEq, Eq)]
pub struct Searched {
    pub path: PathBuf,
    pub why: Missing,
}

/// The reason why a place has no credentials.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    NoFile,
    /// This user may not read it.
    Unreadable,
    NoEntry,
    /// The entry with this key has neither a valid `auth` nor a name and a password.
    Unusable(String),
    /// It leaves the registry to this program.
    Helper(String),
}

/// Looks in `COFFERDAM_REGISTRY_USERNAME` and `_PASSWORD`, then in the files that `containers-auth.json(5)` names, in its
/// order. `env` reads a variable, `user` is this process's user id.
///
/// # Errors
/// Only one of the two variables is set, `REGISTRY_AUTH_FILE` names no file, or a file is damaged.
pub fn find(reference: &Reference, env: &dyn Fn(&str) -> Option<String>, user: u32) -> Result<Found, String> {
    let set = |name: &str| env(name).filter(|text| !text.trim_end_matches(['\r', '\n']).is_empty());
    match (set("COFFERDAM_REGISTRY_USERNAME"), set("COFFERDAM_REGISTRY_PASSWORD")) {
        (Some(username), Some(password)) => {
            return Ok(Found { credentials: Credentials::basic(username, password), source: Source::Variables });
        }
        (Some(_), None) => return Err("COFFERDAM_REGISTRY_USERNAME needs COFFERDAM_REGISTRY_PASSWORD as well".into()),
        (None, Some(_)) => return Err("COFFERDAM_REGISTRY_PASSWORD needs COFFERDAM_REGISTRY_USERNAME as well".into()),
        (None, None) => {}
    }
    let mut searched = Vec::new();
    for place in places(env, user) {
        let why = match look(&place, reference)? {
            Ok(found) => return Ok(found),
            Err(why) => why,
        };
        searched.push(Searched { path: place.path, why });
    }
    Ok(Found { credentials: Credentials::Anonymous, source: Source::Nowhere(searched) })
}

/// Looks in one place. The inner error says why it has none.
fn look(place: &Place, reference: &Reference) -> Result<Result<Found, Missing>, String> {
    let file = match file::read(place)? {
        Ok(text) => File::parse(&text, place)?,
        Err(missing) => return Ok(Err(missing)),
    };
    Ok(match file.look(reference) {
        Hit::Found { credentials, key } => {
            Ok(Found { credentials, source: Source::File { path: place.path.clone(), key } })
        }
        Hit::Nothing(missing) => Err(missing),
    })
}

#[cfg(test)]
mod tests;
