//! The key that `serve` accepts from its first start: the one it is given, or one it creates and writes to `api-key` in
//! the data folder with mode 0600.

use std::path::{Path, PathBuf};

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Scope, Secret, check_random, now, read_private, write_private};
use cofferdam_store::{KeyRow, KeyTerms, Store};

use crate::Error;
use crate::key::{hash, new_key};

/// The id of the key that `serve` accepts.
pub const SERVE_KEY: &str = "key_serve";

/// The place where a client finds the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `COFFERDAM_API_KEY`.
    Environment,
    File(PathBuf),
}

/// Makes sure that the store has the key. A changed key replaces the old one and keeps its sessions.
///
/// # Errors
/// The key file cannot be read or written, or the store fails.
pub async fn accept_serve_key(given: Option<&Secret>, data_dir: &Path, store: &Store) -> Result<KeySource, Error> {
    let (key, source) = match given {
        Some(key) => (key.clone(), KeySource::Environment),
        None => {
            let path = data_dir.join("api-key");
            (read_or_create(&path)?, KeySource::File(path))
        }
    };
    let row = KeyRow {
        id: SERVE_KEY.to_owned(),
        organization: OrganizationId::default_organization(),
        name: "serve".to_owned(),
        hash: hex::encode(hash(key.expose())),
        scopes: Scope::Admin.as_str().to_owned(),
        created_at: now(),
        terms: KeyTerms { operator: true, ..KeyTerms::default() },
    };
    store.put_key(&row).await?;
    Ok(source)
}

fn read_or_create(path: &Path) -> Result<Secret, Error> {
    let text = read_private(path).map_err(Error::file(path))?;
    if let Some(text) = text.as_ref().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let weak =
            |reason| std::io::Error::other(format!("the key in it {reason}, or delete the file: a new one is made"));
        check_random(text).map_err(weak).map_err(Error::file(path))?;
        return Ok(Secret::new(text));
    }
    let key = new_key()?;
    write_private(path, &format!("{}\n", key.expose())).map_err(Error::file(path))?;
    Ok(key)
}
