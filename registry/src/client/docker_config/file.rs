//! One file with credentials: reads it, and finds the entry for a repository. Go programs write these files, so `null` is
//! the same as absent everywhere.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::Missing;
use super::places::{Form, Place};
use crate::client::credentials::{Credentials, Hidden, TOKEN_USER};
use crate::reference::Reference;

const MAX_FILE: u64 = 1 << 20;
/// Docker Hub's names in these files. References have the first.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

type Entries = BTreeMap<String, Option<Entry>>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct File {
    auths: Option<Entries>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
    /// The keys are those of `.dockercfg`: URLs of an API, with or without scheme, that mean their host.
    #[serde(skip)]
    legacy: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Hidden>,
    username: Option<String>,
    password: Option<Hidden>,
    identitytoken: Option<Hidden>,
    registrytoken: Option<Hidden>,
}

/// The result of a search in one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Found { credentials: Credentials, key: String },
    Nothing(Missing),
}

/// The file's bytes, or the reason why this place has none.
pub(super) fn read(place: &Place) -> Result<Result<Zeroizing<Vec<u8>>, Missing>, String> {
    let path = &place.path;
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let named = |why: &str| format!("REGISTRY_AUTH_FILE names {}, which {why}", path.display());
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() => {}
        Ok(_) if place.required => return Err(named("is not a file")),
        Err(error) if place.required && error.kind() == ErrorKind::NotFound => return Err(named("does not exist")),
        Err(error) if place.required => return Err(wrong(&error)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(Err(Missing::Unreadable)),
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(wrong(&error));
        }
        Ok(_) | Err(_) => return Ok(Err(Missing::NoFile)),
    }
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !place.required => {
            return Ok(Err(Missing::Unreadable));
        }
        Err(error) => return Err(wrong(&error)),
    };
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|error| wrong(&error))?;
    if text.len() as u64 > MAX_FILE {
        return Err(wrong(&"it is too large for a credentials file"));
    }
    Ok(Ok(text))
}

impl File {
    /// # Errors
    /// The text is not the JSON of such a file. An empty file is, as for docker.
    pub(super) fn parse(text: &[u8], place: &Place) -> Result<Self, String> {
        let file = match place.form {
            Form::Json => json::<Self>(text),
            Form::Legacy => {
                json::<Entries>(text).map(|entries| Some(Self { auths: entries, legacy: true, ..Self::default() }))
            }
        };
        // serde's own message could quote a value from the file.
        let file = file.map_err(|(line, column)| {
            let path = place.path.display();
            format!("{path}: it is not the valid JSON of a credentials file (line {line}, column {column})")
        })?;
        Ok(file.unwrap_or_default())
    }

    pub(super) fn look(&self, reference: &Reference) -> Hit {
        let mut unusable = None;
        for (key, entry) in self.candidates(reference) {
            match entry.read() {
                Some(credentials) => return Hit::Found { credentials, key: key.to_owned() },
                None if entry.says_something() => unusable = unusable.or(Some(key)),
                // `docker login` leaves an empty entry where a helper keeps the credentials.
                None => {}
            }
        }
        Hit::Nothing(match (unusable, self.helper(reference)) {
            (Some(key), _) => Missing::Unusable(key.to_owned()),
            (None, Some(helper)) => Missing::Helper(format!("docker-credential-{helper}")),
            (None, None) => Missing::NoEntry,
        })
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.auths.iter().flatten().filter_map(|(key, entry)| Some((key.as_str(), entry.as_ref()?)))
    }

    /// The entries for a repository, the most specific key first, and those with a URL for a key last.
    fn candidates(&self, reference: &Reference) -> impl Iterator<Item = (&str, &Entry)> {
        let exact = if self.legacy { Vec::new() } else { keys(reference) };
        let registry = reference.registry().to_owned();
        exact
            .into_iter()
            .flat_map(|wanted| self.entries().filter(move |(key, _)| key.eq_ignore_ascii_case(&wanted)))
            .chain(self.entries().filter(move |(key, _)| is_same_host(host(key, self.legacy), &registry)))
    }

    /// The credential helper for a registry. An empty name is a way to switch helpers off.
    fn helper(&self, reference: &Reference) -> Option<&str> {
        let own = self.cred_helpers.iter().flatten();
        let mut own = own.filter(|(key, _)| is_same_host(host(key, false), reference.registry()));
        let own = own.find_map(|(_, helper)| helper.as_deref());
        own.or(self.creds_store.as_deref()).filter(|name| !name.is_empty())
    }
}

/// `None` for an empty text and for `null`; else an error with its line and column.
fn json<T: DeserializeOwned>(text: &[u8]) -> Result<Option<T>, (usize, usize)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(text).map_err(|error| (error.line(), error.column()))
}

/// Podman's keys for a repository: itself, the namespaces above it, its registry.
fn keys(reference: &Reference) -> Vec<String> {
    let full = format!("{}/{}", reference.registry(), reference.repository());
    std::iter::successors(Some(full.as_str()), |key| Some(key.rsplit_once('/')?.0)).map(str::to_owned).collect()
}

/// The host of a key that means a whole registry: `HOST`, `https://HOST/any/path`, `HOST/v1/`. Another key has a namespace
/// and is returned as it is.
fn host(key: &str, legacy: bool) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = bare.unwrap_or(key).split_once('/').unwrap_or((bare.unwrap_or(key), ""));
    let whole = legacy || bare.is_some() || matches!(path.trim_end_matches('/'), "" | "v1" | "v2");
    if whole { host } else { key }
}

fn is_same_host(one: &str, other: &str) -> bool {
    let hub = |host: &str| DOCKER_HUB.iter().any(|name| name.eq_ignore_ascii_case(host));
    one.eq_ignore_ascii_case(other) || (hub(one) && hub(other))
}

impl Entry {
    fn says_something(&self) -> bool {
        let texts = [&self.auth, &self.password, &self.identitytoken, &self.registrytoken];
        texts.into_iter().flatten().any(|text| !text.0.is_empty())
    }

    fn read(&self) -> Option<Credentials> {
        let some = |text: &Option<Hidden>| text.clone().map(|text| text.0).filter(|text| !text.is_empty());
        if let Some(token) = some(&self.registrytoken) {
            return Some(Credentials::Bearer(token));
        }
        if let Some(token) = some(&self.identitytoken) {
            return Some(Credentials::Identity(token));
        }
        let written = self.auth.as_ref().and_then(|text| Credentials::from_base64(&text.0));
        match written {
            Some(Credentials::Basic { username, password }) if username == TOKEN_USER => {
                Some(Credentials::Identity(password))
            }
            Some(credentials) => Some(credentials),
            None => {
                let username = self.username.clone().filter(|name| !name.is_empty())?;
                Some(Credentials::basic(username, some(&self.password)?.as_str()))
            }
        }
    }
}
