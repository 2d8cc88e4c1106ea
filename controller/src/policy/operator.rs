//! The operator's policy: what any tool or run may have at most. Read once at the start, from the file that the setting
//! `policy` names; without one, everything public and nothing private. A section that is left out stays as without a
//! file.

use std::net::IpAddr;
use std::path::Path;

use cofferdam_contract::grants::HttpGrant;
use serde::Deserialize;

use super::allowed::Allowed;
use super::check;
use super::cidr::Cidr;
use super::host::HostPattern;
use super::signatures::Signatures;
use super::yaml::{self, PolicyError};
use crate::config::ConfigError;

/// The most entries of one list.
const MAX_ENTRIES: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[expect(dead_code, reason = "that it parses is all there is to it")]
    version: super::tool::Version,
    #[serde(default)]
    #[expect(dead_code, reason = "for people; it has to be text")]
    description: Option<String>,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    keyvalue: KeyValue,
    #[serde(default)]
    files: Files,
    #[serde(default)]
    secrets: Secrets,
    #[serde(default)]
    tools: Named,
    #[serde(default)]
    config: Switch,
    #[serde(default)]
    llm: Llm,
    #[serde(default)]
    signatures: Signatures,
}

/// What an operator allows.
#[derive(Debug, Clone, Default)]
pub struct OperatorPolicy {
    pub network: Network,
    pub keyvalue: KeyValue,
    pub files: Files,
    pub secrets: Secrets,
    pub tools: Named,
    pub config: Switch,
    pub llm: Llm,
    pub signatures: Signatures,
}

/// Outbound HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// As grants, and with `*` for every host and `:*` for every port.
    pub allow: Vec<AllowedHost>,
    /// Wins over `allow`. Without a port it bans every port.
    pub deny: Vec<DeniedHost>,
    /// Private, loopback and link-local addresses that may be dialled all the same.
    pub private: Vec<Cidr>,
    pub max_request_bytes: Option<u64>,
    pub max_response_bytes: Option<u64>,
    pub timeout_ms: Option<u64>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            allow: vec![AllowedHost::everything()],
            deny: Vec::new(),
            private: Vec::new(),
            max_request_bytes: None,
            max_response_bytes: None,
            timeout_ms: None,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedHost {
    pub host: HostPattern,
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    #[serde(default)]
    pub path_prefix: Option<String>,
    #[serde(default)]
    pub max_request_bytes: Option<u64>,
    #[serde(default)]
    pub max_response_bytes: Option<u64>,
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeniedHost {
    pub host: HostPattern,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyValue {
    pub allow: bool,
    pub max_bytes: Option<u64>,
    pub max_keys: Option<u64>,
}

impl Default for KeyValue {
    fn default() -> Self {
        Self { allow: true, max_bytes: Some(256 << 20), max_keys: Some(1_000_000) }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    pub allow: bool,
    pub read_only: bool,
    pub max_bytes: Option<u64>,
    pub max_files: Option<u64>,
}

impl Default for Files {
    fn default() -> Self {
        Self { allow: true, read_only: false, max_bytes: Some(256 << 20), max_files: Some(20_000) }
    }
}

/// Secrets by name, and whether one may go out unencrypted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    pub allow: Allowed,
    /// Whether a secret's value may go to the hosts it is bound to over plain HTTP.
    pub plain_http: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Named {
    pub allow: Allowed,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switch {
    pub allow: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self { allow: true }
    }
}

/// Models of the upstream that the operator configured. They cost money, so none is allowed that is not said here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Llm {
    pub allow: Allowed,
    pub max_tokens: Option<u64>,
    pub max_requests: Option<u64>,
}

impl Default for Llm {
    fn default() -> Self {
        Self { allow: Allowed::None, max_tokens: None, max_requests: None }
    }
}

impl AllowedHost {
    fn everything() -> Self {
        let (host, methods, path_prefix) = (HostPattern::everything(), None, None);
        Self { host, methods, path_prefix, max_request_bytes: None, max_response_bytes: None, timeout_ms: None }
    }

    /// Everything but the host, as a grant.
    pub(super) fn bounds(&self) -> HttpGrant {
        HttpGrant {
            host: String::new(),
            methods: self.methods.clone(),
            path_prefix: self.path_prefix.clone(),
            max_request_bytes: self.max_request_bytes,
            max_response_bytes: self.max_response_bytes,
            timeout_ms: self.timeout_ms,
        }
    }
}

impl OperatorPolicy {
    /// The policy in that file; without one, [`Self::default`].
    ///
    /// # Errors
    /// A file that cannot be read, or what is wrong with it.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let refused = |why: String| ConfigError::value("policy", format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
        Self::parse(&text).map_err(|e| refused(e.to_string()))
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong first, with the key's path and the line; the whole policy is refused then.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Document = yaml::read(text)?;
        let Document { network, keyvalue, files, secrets, tools, config, llm, signatures, .. } = document;
        let policy = Self { network, keyvalue, files, secrets, tools, config, llm, signatures };
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let lists = [
            ("network.allow", self.network.allow.len()),
            ("network.deny", self.network.deny.len()),
            ("network.private", self.network.private.len()),
        ];
        if let Some((path, _)) = lists.into_iter().find(|(_, length)| *length > MAX_ENTRIES) {
            return Err(PolicyError::at(path, format!("at most {MAX_ENTRIES} entries")));
        }
        for (number, entry) in self.network.allow.iter().enumerate() {
            let grant = HttpGrant { host: "x".to_owned(), ..entry.bounds() };
            check::http(&grant)
                .map_err(|(key, what)| PolicyError::at(format!("network.allow[{number}].{key}"), what))?;
        }
        let sizes = [
            ("network.max_request_bytes", self.network.max_request_bytes),
            ("network.max_response_bytes", self.network.max_response_bytes),
            ("network.timeout_ms", self.network.timeout_ms),
            ("keyvalue.max_bytes", self.keyvalue.max_bytes),
            ("keyvalue.max_keys", self.keyvalue.max_keys),
            ("files.max_bytes", self.files.max_bytes),
            ("files.max_files", self.files.max_files),
            ("llm.max_tokens", self.llm.max_tokens),
            ("llm.max_requests", self.llm.max_requests),
        ];
        match sizes.into_iter().find(|(_, size)| *size == Some(0)) {
            Some((path, _)) => Err(PolicyError::at(path, "at least 1; `allow: false` or an empty `allow` forbids")),
            None => Ok(()),
        }
    }

    /// Whether the operator lets a request out to that host (lower case) and port. Grants are checked beside this; this
    /// is asked again for every request, because a ban may take a part of a grant only.
    pub fn permits_host(&self, https: bool, host: &str, port: u16) -> bool {
        self.network.allow.iter().any(|entry| entry.host.covers(https, host, port))
            && !self.network.deny.iter().any(|entry| entry.host.bans(host, port))
    }

    /// Whether the operator lets a private, loopback or link-local address be dialled.
    pub fn permits_private(&self, address: IpAddr) -> bool {
        self.network.private.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
