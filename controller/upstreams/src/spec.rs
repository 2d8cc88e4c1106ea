//! An upstream's settings, as they are written in the file and sent to the API, and their checks. Holds no key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use utoipa::ToSchema;

use crate::headers::is_own;
use crate::kind::{Kind, Service};
use crate::place::Place;
use crate::proxy::Proxy;

/// The most models of one upstream.
const MAX_MODELS: usize = 1_000;
/// The longest name of a model, in bytes. Those of Bedrock's profiles are ARNs.
const MAX_NAME_BYTES: usize = 256;
/// The longest time-out.
const MAX_TIMEOUT_S: u64 = 86_400;
/// The most calls at once.
const MAX_CONCURRENT: u32 = 100_000;
/// The most headers of an upstream's own, and the longest value.
const MAX_OWN_HEADERS: usize = 32;
const MAX_HEADER_BYTES: usize = 4_096;
/// The longest text of certificates.
const MAX_CA_BYTES: usize = 256 << 10;

/// An upstream of models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// The provider's API.
    pub kind: Kind,
    /// Base URL; the provider's own where it is absent. `azure` and `compatible` need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Region of `bedrock` and `vertex`, and the word that rules about regions compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Project of `vertex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Dated API version of `azure`, whose paths name deployments; absent: its v1 API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Models that it serves; none: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ModelShape>)]
    pub models: Vec<ModelSpec>,
    /// Services that it offers; absent: those of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<Service>>,
    /// Seconds for the connection, with the name's resolution, proxy and TLS.
    #[serde(default = "connect_timeout_s")]
    pub connect_timeout_s: u64,
    /// Seconds from the request to the head of the answer.
    #[serde(default = "first_byte_timeout_s")]
    pub first_byte_timeout_s: u64,
    /// Seconds between two pieces of an answer.
    #[serde(default = "idle_timeout_s")]
    pub idle_timeout_s: u64,
    /// Seconds for the whole call.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
    /// Calls at once; further ones are refused as busy.
    #[serde(default = "max_concurrent")]
    pub max_concurrent: u32,
    /// Certificates of authorities in PEM, trusted besides the system's and the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Proxy as `http://HOST:PORT` or `https://HOST:PORT`; `none`: not even the environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Headers that every request carries, such as `openai-organization`. They are shown, so no keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

fn connect_timeout_s() -> u64 {
    10
}

fn first_byte_timeout_s() -> u64 {
    300
}

fn idle_timeout_s() -> u64 {
    300
}

fn timeout_s() -> u64 {
    1_800
}

fn max_concurrent() -> u32 {
    2_000
}

impl UpstreamSpec {
    /// An upstream of this kind with the usual settings.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            base_url: None,
            region: None,
            project: None,
            api_version: None,
            models: Vec::new(),
            services: None,
            connect_timeout_s: connect_timeout_s(),
            first_byte_timeout_s: first_byte_timeout_s(),
            idle_timeout_s: idle_timeout_s(),
            timeout_s: timeout_s(),
            max_concurrent: max_concurrent(),
            ca: None,
            proxy: None,
            headers: BTreeMap::new(),
        }
    }

    /// Checks every field by itself.
    ///
    /// # Errors
    /// The field's name and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        self.check_address()?;
        self.check_models()?;
        for (field, seconds) in [
            ("connect_timeout_s", self.connect_timeout_s),
            ("first_byte_timeout_s", self.first_byte_timeout_s),
            ("idle_timeout_s", self.idle_timeout_s),
            ("timeout_s", self.timeout_s),
        ] {
            if seconds == 0 || seconds > MAX_TIMEOUT_S {
                return Err(format!("{field}: has to be 1 to {MAX_TIMEOUT_S}"));
            }
        }
        if self.max_concurrent == 0 || self.max_concurrent > MAX_CONCURRENT {
            return Err(format!("max_concurrent: has to be 1 to {MAX_CONCURRENT}"));
        }
        self.authorities()?;
        self.own_headers()?;
        self.own_proxy()?;
        Ok(())
    }

    fn check_address(&self) -> Result<(), String> {
        let only = |field: &str, given: bool, kinds: &[Kind]| match given && !kinds.contains(&self.kind) {
            true => Err(format!("{field}: is not used by the kind {}", self.kind.name())),
            false => Ok(()),
        };
        only("project", self.project.is_some(), &[Kind::Vertex])?;
        only("api_version", self.api_version.is_some(), &[Kind::Azure])?;
        for (field, text) in [("region", &self.region), ("project", &self.project), ("api_version", &self.api_version)]
        {
            let plain = |text: &str| {
                (1..=63).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte))
            };
            if text.as_ref().is_some_and(|text| !plain(text) || text.contains("..")) {
                return Err(format!("{field}: has to be 1 to 63 letters, digits, or any of - _ : ."));
            }
        }
        // The region becomes a part of a host name.
        let label = |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if self.region.as_ref().is_some_and(|region| !label(region)) {
            return Err("region: has to be letters, digits and hyphens, such as eu-central-1".to_owned());
        }
        let needed = |field: &str, given: bool, why: &str| match given {
            true => Ok(()),
            false => Err(format!("{field}: the kind {} needs it{why}", self.kind.name())),
        };
        match self.kind {
            Kind::Azure => needed("base_url", self.base_url.is_some(), ", such as https://NAME.openai.azure.com")?,
            Kind::Compatible => needed("base_url", self.base_url.is_some(), ", such as http://127.0.0.1:11434/v1")?,
            Kind::Bedrock => needed("region", self.region.is_some(), ", such as eu-central-1")?,
            Kind::Vertex => {
                needed("region", self.region.is_some(), ", such as europe-west4 or global")?;
                needed("project", self.project.is_some(), "")?;
            }
            Kind::Openai | Kind::Anthropic | Kind::Gemini => {}
        }
        if let Some(base) = &self.base_url {
            Place::parse(base).map_err(|why| format!("base_url: {why}"))?;
        }
        Ok(())
    }

    fn check_models(&self) -> Result<(), String> {
        if self.models.len() > MAX_MODELS {
            return Err(format!("models: at most {MAX_MODELS}"));
        }
        let mut names = BTreeSet::new();
        for (at, model) in self.models.iter().enumerate() {
            let fits = |name: &String| {
                (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if !fits(&model.name) || model.target.as_ref().is_some_and(|target| !fits(target)) {
                return Err(format!("models[{at}]: a name has 1 to {MAX_NAME_BYTES} visible ASCII characters"));
            }
            if model.max_tokens == Some(0) {
                return Err(format!("models[{at}].max_tokens: has to be at least 1"));
            }
            if !names.insert(&model.name) {
                return Err(format!("models[{at}]: {:?} is there twice", model.name));
            }
        }
        if let Some(services) = &self.services {
            if services.is_empty() {
                return Err("services: name one, or leave the field out".to_owned());
            }
            if let Some(other) = services.iter().find(|service| !self.kind.possible().contains(service)) {
                return Err(format!("services: the kind {} has no {}", self.kind.name(), other.name()));
            }
        }
        Ok(())
    }

    /// The services that it offers.
    pub fn offers(&self) -> &[Service] {
        self.services.as_deref().unwrap_or(self.kind.services())
    }

    /// The authorities of `ca`.
    pub(crate) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let Some(text) = &self.ca else { return Ok(Vec::new()) };
        let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        match found {
            Ok(found) if !found.is_empty() && text.len() <= MAX_CA_BYTES => Ok(found),
            _ => Err(format!("ca: has to be certificates in PEM, at most {MAX_CA_BYTES} bytes")),
        }
    }

    /// The headers that every request carries.
    pub(crate) fn own_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        if self.headers.len() > MAX_OWN_HEADERS {
            return Err(format!("headers: at most {MAX_OWN_HEADERS}"));
        }
        let header = |(name, value): (&String, &String)| {
            let shown: String = name.chars().filter(char::is_ascii_graphic).take(64).collect();
            let named = name.parse::<HeaderName>().map_err(|_| format!("headers: {shown:?} is no name of a header"))?;
            if is_own(&named) {
                return Err(format!("headers: {named} is set by the server; a key belongs into the upstream's keys"));
            }
            let fits = value.len() <= MAX_HEADER_BYTES;
            let value = HeaderValue::from_str(value).ok().filter(|_| fits);
            Ok((named.clone(), value.ok_or_else(|| format!("headers: the value of {named} is no value of a header"))?))
        };
        self.headers.iter().map(header).collect()
    }

    /// The proxy that it names. `Some(None)`: none, not even the environment's.
    pub(crate) fn own_proxy(&self) -> Result<Option<Option<Proxy>>, String> {
        match self.proxy.as_deref() {
            None => Ok(None),
            Some("none") => Ok(Some(None)),
            Some(text) => {
                let proxy = Proxy::parse(text, false).map_err(|why| format!("proxy: {why}"))?;
                Ok(Some(Some(proxy)))
            }
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s)
    }

    pub(crate) fn first_byte_timeout(&self) -> Duration {
        Duration::from_secs(self.first_byte_timeout_s)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

/// A model of an upstream: its name, or an object.
#[derive(ToSchema)]
#[schema(as = UpstreamModel)]
#[serde(untagged)]
#[allow(dead_code)] // For the document of the API only.
enum ModelShape {
    Name(String),
    Full(ModelSpec),
}

/// A model of an upstream: its name as a plain text, or an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ModelSpec {
    /// The name that callers say.
    pub name: String,
    /// Its name at the upstream, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Tokens of an answer, where the protocol needs a limit and the caller gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Takes efforts and thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<bool>,
    /// Takes a budget of tokens for thinking, as older models of Anthropic's do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<bool>,
    /// Takes messages of the system in the middle of a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_turns: Option<bool>,
    /// Calls its limit `max_tokens`, as older compatible servers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_max_tokens: Option<bool>,
    /// Takes signed thinking in `thinking_blocks`, as LiteLLM's proxy does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_blocks: Option<bool>,
}

impl ModelSpec {
    /// A model of this name and nothing else.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Its name at the upstream.
    pub fn there(&self) -> &str {
        self.target.as_deref().unwrap_or(&self.name)
    }
}

impl Serialize for ModelSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::named(self.name.as_str()) {
            return serializer.serialize_str(&self.name);
        }
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ModelSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrObject;
        impl<'de> Visitor<'de> for NameOrObject {
            type Value = ModelSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model's name, or an object with its name")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ModelSpec, E> {
                if name.is_empty() {
                    return Err(E::custom("a model's name is empty"));
                }
                Ok(ModelSpec::named(name))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ModelSpec, A::Error> {
                ModelSpec::deserialize(MapAccessDeserializer::new(map)).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(NameOrObject)
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
