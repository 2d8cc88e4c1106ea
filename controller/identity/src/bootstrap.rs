//! The key that `serve` accepts from its first start: the one it is given, or one it creates and writes to `api-key` in
//! the data folder with mode 0600.

use std::fs::{OpenOptions, read_to_string};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Scope, Secret, now};
use cofferdam_store::{KeyRow, Store};

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
    };
    store.put_key(&row).await?;
    Ok(source)
}

fn read_or_create(path: &Path) -> Result<Secret, Error> {
    match read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Error::file(path)(e)),
    }
    let key = new_key()?;
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = opened.map_err(Error::file(path))?;
    file.write_all(format!("{}\n", key.expose()).as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(Error::file(path))?;
    Ok(key)
}
