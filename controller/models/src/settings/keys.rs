//! The keys of an organization's upstream: sealed, write-only, and bound to the place that they are sent to.
//!
//! A key never goes to another place than the one that it was stored for: who may change an upstream but does not know its
//! key could otherwise have it sent to a server of his own.

use std::borrow::Cow;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Secret, Vault};
use cofferdam_upstreams::{MAX_KEYS, UpstreamSpec};
use futures_util::future::BoxFuture;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::error::Error;

/// The longest key; a service account of Google's has about 2,400 bytes.
const MAX_KEY_BYTES: usize = 16 << 10;
/// The longest name of a stored secret.
const MAX_SECRET_NAME_BYTES: usize = 128;

/// Why a stored secret cannot be used. Never shows its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It may not be sent to this host, or does not exist.
    #[error("{0}")]
    Refused(String),
    /// It could not be read now.
    #[error("{0}")]
    Unavailable(String),
}

/// Opens stored secrets of an organization. The composition gives one that knows them.
pub trait NamedSecrets: Send + Sync {
    /// The value of a secret that may be sent to this host.
    ///
    /// # Errors
    /// There is none that may be sent there, or it cannot be read now.
    fn open<'a>(
        &'a self,
        organization: &'a OrganizationId,
        name: &'a str,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, SecretError>>;
}

/// No secrets: for programs and tests without any.
pub struct NoSecrets;

impl NamedSecrets for NoSecrets {
    fn open<'a>(
        &'a self,
        _: &'a OrganizationId,
        name: &'a str,
        _: &'a str,
        _: u16,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, SecretError>> {
        Box::pin(async move { Err(SecretError::Refused(format!("there is no secret {name:?}"))) })
    }
}

/// A key, or the name of the organization's secret that has it. JSON: a text, or `{"secret": NAME}`.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyEntry {
    Text(Zeroizing<String>),
    Named(String),
}

/// A key as it is stored, within a sealed list.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stored<'a> {
    Text(Cow<'a, str>),
    Secret(Cow<'a, str>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    secret: String,
}

impl<'de> Deserialize<'de> for KeyEntry {
    /// Errors never repeat a key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer) {
            Ok(serde_json::Value::String(text)) => Ok(Self::Text(Zeroizing::new(text))),
            Ok(value @ serde_json::Value::Object(_)) => match serde_json::from_value::<Named>(value) {
                Ok(named) => Ok(Self::Named(named.secret)),
                Err(_) => Err(D::Error::custom("a key is a text, or {\"secret\": NAME} with a secret's name")),
            },
            _ => Err(D::Error::custom("a key is a text, or {\"secret\": NAME} with a secret's name")),
        }
    }
}

/// Checks the keys of a request.
pub(super) fn check(keys: &[KeyEntry]) -> Result<(), String> {
    if keys.len() > MAX_KEYS {
        return Err(format!("keys: at most {MAX_KEYS}"));
    }
    for (at, key) in keys.iter().enumerate() {
        match key {
            KeyEntry::Text(text) => {
                // A short one is allowed: a server that asks for some key, and for none in particular, takes `ollama`.
                if text.trim().is_empty() || text.len() > MAX_KEY_BYTES || text.contains('\0') {
                    return Err(format!("keys[{at}]: a text of 1 to {MAX_KEY_BYTES} bytes without NUL"));
                }
            }
            KeyEntry::Named(name) => {
                if name.is_empty() || name.len() > MAX_SECRET_NAME_BYTES {
                    return Err(format!("keys[{at}].secret: the name of a stored secret"));
                }
            }
        }
    }
    Ok(())
}

/// The place that keys are sent to: with any of it changed, stored keys do not open.
pub(super) fn destination(spec: &UpstreamSpec) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let kind = serde_json::to_string(&spec.kind).unwrap_or_default();
    // The proxy of an address without TLS sees the key; another CA can pretend to be the server.
    [kind, part(&spec.base_url), part(&spec.region), part(&spec.proxy), part(&spec.ca)].join("\0")
}

fn context(organization: &OrganizationId, name: &str, destination: &str) -> String {
    format!("model-upstream\0{}\0{name}\0{destination}", organization.as_str())
}

pub(super) fn seal(
    vault: &Vault,
    organization: &OrganizationId,
    name: &str,
    destination: &str,
    keys: &[KeyEntry],
) -> Result<String, Error> {
    let stored: Vec<Stored<'_>> = keys
        .iter()
        .map(|key| match key {
            KeyEntry::Text(text) => Stored::Text(Cow::Borrowed(text.as_str())),
            KeyEntry::Named(name) => Stored::Secret(Cow::Borrowed(name)),
        })
        .collect();
    let json = Zeroizing::new(serde_json::to_vec(&stored)?);
    Ok(vault.seal(&context(organization, name, destination), &json)?)
}

pub(super) fn unseal(
    vault: &Vault,
    organization: &OrganizationId,
    name: &str,
    destination: &str,
    sealed: &str,
) -> Result<Vec<KeyEntry>, Error> {
    let json = vault.unseal(&context(organization, name, destination), sealed)?;
    let stored: Vec<Stored<'_>> = serde_json::from_slice(&json)?;
    let entry = |key| match key {
        Stored::Text(text) => KeyEntry::Text(Zeroizing::new(text.into_owned())),
        Stored::Secret(name) => KeyEntry::Named(name.into_owned()),
    };
    Ok(stored.into_iter().map(entry).collect())
}

/// The texts of the keys, those of named secrets too.
///
/// # Errors
/// A sentence that names the field and never shows a key.
pub(super) async fn resolve(
    secrets: &dyn NamedSecrets,
    organization: &OrganizationId,
    spec: &UpstreamSpec,
    keys: &[KeyEntry],
) -> Result<Vec<Secret>, SecretError> {
    let mut texts = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let place = |why: String| format!("keys[{at}].secret: {why}");
        let text = match key {
            KeyEntry::Text(text) => Secret::new(text.as_str()),
            KeyEntry::Named(name) => {
                // The place that is dialled, and no other: a secret is bound to hosts.
                let (host, port) = spec.server().map_err(|why| SecretError::Refused(place(why)))?;
                let opened = secrets.open(organization, name, &host, port).await;
                let text = opened.map_err(|error| match error {
                    SecretError::Refused(why) => SecretError::Refused(place(why)),
                    SecretError::Unavailable(why) => SecretError::Unavailable(place(why)),
                });
                Secret::new(text?.trim())
            }
        };
        texts.push(text);
    }
    Ok(texts)
}

/// The names of secrets among the keys.
pub(super) fn names(keys: &[KeyEntry]) -> Vec<String> {
    keys.iter()
        .filter_map(|key| match key {
            KeyEntry::Named(name) => Some(name.clone()),
            KeyEntry::Text(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use cofferdam_upstreams::Kind;
    use parking_lot::Mutex;

    use super::*;

    /// Says which host a secret was asked for.
    struct Asked(Mutex<Vec<(String, u16)>>);

    impl NamedSecrets for Asked {
        fn open<'a>(
            &'a self,
            _: &'a OrganizationId,
            _: &'a str,
            host: &'a str,
            port: u16,
        ) -> BoxFuture<'a, Result<Zeroizing<String>, SecretError>> {
            self.0.lock().push((host.to_owned(), port));
            Box::pin(async { Ok(Zeroizing::new("sk-0123456789".to_owned())) })
        }
    }

    #[tokio::test]
    async fn a_named_secret_is_judged_for_the_host_that_is_dialled() {
        for (kind, region, base_url, expected) in [
            (Kind::Openai, None, None, Some(("api.openai.com", 443))),
            (Kind::Bedrock, Some("eu-central-1"), None, Some(("bedrock-runtime.eu-central-1.amazonaws.com", 443))),
            (Kind::Bedrock, Some("cn-north-1"), None, Some(("bedrock-runtime.cn-north-1.amazonaws.com.cn", 443))),
            (Kind::Vertex, Some("eu"), None, Some(("aiplatform.eu.rep.googleapis.com", 443))),
            (Kind::Vertex, Some("us"), None, Some(("aiplatform.us.rep.googleapis.com", 443))),
            (Kind::Vertex, Some("global"), None, Some(("aiplatform.googleapis.com", 443))),
            (Kind::Vertex, Some("europe-west1"), None, Some(("europe-west1-aiplatform.googleapis.com", 443))),
            (Kind::Compatible, None, Some("http://0x7f.1:9/v1"), Some(("127.0.0.1", 9))),
            (Kind::Compatible, None, Some("https://A.example./v1"), Some(("a.example", 443))),
            (Kind::Compatible, None, None, None),
        ] {
            let spec = UpstreamSpec {
                region: region.map(str::to_owned),
                base_url: base_url.map(str::to_owned),
                ..UpstreamSpec::new(kind)
            };
            let (secrets, keys) = (Asked(Mutex::default()), [KeyEntry::Named("s".to_owned())]);
            let found = resolve(&secrets, &OrganizationId::default_organization(), &spec, &keys).await;
            assert_eq!(found.is_ok(), expected.is_some(), "{kind:?} {region:?}");
            let expected: Vec<_> = expected.into_iter().map(|(host, port)| (host.to_owned(), port)).collect();
            assert_eq!(*secrets.0.lock(), expected, "{kind:?} {region:?}");
        }
    }
}
