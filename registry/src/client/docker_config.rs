//! Reads credentials from the files of `docker login`, `podman login` and `skopeo login`. Credential helpers are
//! third-party programs: they are reported, never run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::credentials::{Credentials, Hidden, TOKEN_USER};
use crate::reference::Reference;

const MAX_FILE: u64 = 1 << 20;

/// The lookup result for a registry.
#[derive(Debug, Default)]
pub struct Found {
    pub credentials: Credentials,
    /// The source of the credentials, for display: a variable's or a file's name.
    pub from: Option<String>,
    /// The credential helper that a file names for this registry, if nothing else was found.
    pub helper: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
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

/// Looks in `COFFERDAM_REGISTRY_USERNAME` and `_PASSWORD`, then in docker's and podman's files. `env` reads a variable.
///
/// # Errors
/// Only one of the two variables is set, or a file cannot be read.
pub fn find(reference: &Reference, env: &dyn Fn(&str) -> Option<String>) -> Result<Found, String> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty());
    match (set("COFFERDAM_REGISTRY_USERNAME"), set("COFFERDAM_REGISTRY_PASSWORD")) {
        (Some(username), Some(password)) => {
            let from = Some("COFFERDAM_REGISTRY_USERNAME and _PASSWORD".to_owned());
            return Ok(Found { credentials: Credentials::basic(username, password), from, helper: None });
        }
        (Some(_), None) => return Err("COFFERDAM_REGISTRY_USERNAME needs COFFERDAM_REGISTRY_PASSWORD as well".into()),
        (None, Some(_)) => return Err("COFFERDAM_REGISTRY_PASSWORD needs COFFERDAM_REGISTRY_USERNAME as well".into()),
        (None, None) => {}
    }
    let mut helper = None;
    for path in files(env) {
        let Some(file) = read(&path)? else { continue };
        match file.look(reference) {
            (Some(credentials), _) => {
                return Ok(Found { credentials, from: Some(path.display().to_string()), helper: None });
            }
            (None, Some(name)) => helper = helper.or(Some(name)),
            (None, None) => {}
        }
    }
    Ok(Found { helper, ..Found::default() })
}

fn files(env: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let folder = |name: &str| env(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let docker = folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker")));
    let podman = folder("REGISTRY_AUTH_FILE")
        .or_else(|| folder("XDG_RUNTIME_DIR").map(|run| run.join("containers").join("auth.json")));
    docker.map(|folder| folder.join("config.json")).into_iter().chain(podman).collect()
}

fn read(path: &Path) -> Result<Option<File>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let size = match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
    };
    if size > MAX_FILE {
        return Err(wrong(&"it is too large for a credentials file"));
    }
    let text = Zeroizing::new(std::fs::read(path).map_err(|error| wrong(&error))?);
    // serde's message could quote a value from the file.
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        wrong(&format!(
            "it is not valid JSON for docker's config.json (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

impl File {
    fn look(&self, reference: &Reference) -> (Option<Credentials>, Option<String>) {
        for key in keys(reference) {
            if let Some(credentials) = self.auths.iter().find(|(name, _)| same(name, &key)).and_then(|(_, e)| e.read())
            {
                return (Some(credentials), None);
            }
        }
        let named = self.cred_helpers.iter().find(|(name, _)| same(name, reference.registry()));
        (None, named.map(|(_, helper)| helper).or(self.creds_store.as_ref()).map(|h| format!("docker-credential-{h}")))
    }
}

/// Most specific first: podman also keeps credentials for a repository or a prefix of its path.
fn keys(reference: &Reference) -> Vec<String> {
    let full = format!("{}/{}", reference.registry(), reference.repository());
    let mut keys: Vec<String> =
        std::iter::successors(Some(full.as_str()), |key| Some(key.rsplit_once('/')?.0)).map(str::to_owned).collect();
    if reference.registry() == "docker.io" {
        keys.push("index.docker.io".to_owned());
    }
    keys
}

/// Docker writes `https://index.docker.io/v1/`, podman writes `docker.io`.
fn same(name: &str, key: &str) -> bool {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let name = name.trim_end_matches('/');
    let name = name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name);
    name.eq_ignore_ascii_case(key)
}

impl Entry {
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
                Some(Credentials::Basic { username, password: some(&self.password)? })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str) -> File {
        serde_json::from_str(json).unwrap()
    }

    fn at(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn the_closest_entry_counts() {
        // a:b, c:d, e:f
        let file = file(
            r#"{"auths": {"r.example": {"auth": "YTpi"}, "r.example/team": {"auth": "Yzpk"},
                "https://index.docker.io/v1/": {"auth": "ZTpm"}, "t.example": {"identitytoken": "tok"},
                "u.example": {"auth": "PHRva2VuPjp0b2s="}, "p.example:5000": {"username": "a", "password": "b"}}}"#,
        );
        let look = |text: &str| file.look(&at(text)).0;
        assert_eq!(look("r.example/other/x"), Some(Credentials::basic("a", "b")));
        assert_eq!(look("r.example/team/x:1"), Some(Credentials::basic("c", "d")));
        assert_eq!(look("docker.io/alpine"), Some(Credentials::basic("e", "f")));
        assert_eq!(look("t.example/x"), Some(Credentials::Identity(Zeroizing::new("tok".into()))));
        assert_eq!(look("u.example/x"), Some(Credentials::Identity(Zeroizing::new("tok".into()))));
        assert_eq!(look("p.example:5000/x"), Some(Credentials::basic("a", "b")));
        assert_eq!(look("p.example/x"), None);
        assert_eq!(look("evil-r.example/x"), None);
    }

    #[test]
    fn helpers_are_named_and_not_run() {
        let file =
            file(r#"{"auths": {"r.example": {}}, "credHelpers": {"r.example": "ecr-login"}, "credsStore": "pass"}"#);
        assert_eq!(file.look(&at("r.example/x")), (None, Some("docker-credential-ecr-login".into())));
        assert_eq!(file.look(&at("other.example/x")), (None, Some("docker-credential-pass".into())));
    }

    #[test]
    fn variables_come_in_pairs_and_first() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        static BOTH: &[(&str, &str)] =
            &[("COFFERDAM_REGISTRY_USERNAME", "u"), ("COFFERDAM_REGISTRY_PASSWORD", "hunter2")];
        let found = find(&at("r.example/x"), &env(BOTH)).unwrap();
        assert_eq!(found.credentials, Credentials::basic("u", "hunter2"));
        assert!(!format!("{found:?}").contains("hunter2"));
        assert!(find(&at("r.example/x"), &env(&[("COFFERDAM_REGISTRY_PASSWORD", "hunter2")])).is_err());
        assert!(find(&at("r.example/x"), &env(&[])).unwrap().credentials.is_anonymous());
    }

    #[test]
    fn a_broken_file_is_said_without_its_contents() {
        let folder = std::env::temp_dir().join(format!("cofferdam-docker-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), r#"{"auths": {"r.example": {"auth": hunter2}}}"#).unwrap();
        let place = folder.display().to_string();
        let env = move |name: &str| (name == "DOCKER_CONFIG").then(|| place.clone());
        let error = find(&at("r.example/x"), &env).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
    }
}
