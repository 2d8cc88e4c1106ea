//! Outbound HTTP, by host.

mod intersect;

use cofferdam_contract::Grants;
use cofferdam_contract::grants::{HttpGrant, MAX_HTTP_GRANTS};
use serde::Deserialize;

use super::{BadGrant, Capability, Notes, Split, bad, no_zeros};
use crate::cidr::Cidr;
use crate::host::HostPattern;
use crate::operator::OperatorPolicy;
use crate::yaml::PolicyError;

const MAX_PREFIX: usize = 1 << 10;
const MAX_METHODS: usize = 16;
/// Methods whose requests have a body only where a grant says so.
pub const BODILESS: [&str; 4] = ["GET", "HEAD", "DELETE", "OPTIONS"];
/// The most hosts in an intersection. A grant with a wildcard may turn into many hosts.
const MAX_EFFECTIVE: usize = 1_024;
/// The most entries of one list of an operator's policy.
const MAX_ENTRIES: usize = 256;

/// An operator's policy for outbound HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Hosts as in grants; `*` also means every host and `:*` every port.
    pub allow: Vec<AllowedHost>,
    /// Wins over `allow`. Without a port it bans every port.
    pub deny: Vec<DeniedHost>,
    /// Private, loopback and link-local ranges that may be dialled.
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
    /// As in grants; every one that is asked for if absent.
    #[serde(default)]
    pub body_methods: Option<Vec<String>>,
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

impl AllowedHost {
    fn everything() -> Self {
        Self {
            host: HostPattern::everything(),
            methods: None,
            path_prefix: None,
            body_methods: None,
            max_request_bytes: None,
            max_response_bytes: None,
            timeout_ms: None,
        }
    }

    /// The entry as a grant without a host.
    fn bounds(&self) -> HttpGrant {
        HttpGrant {
            host: String::new(),
            methods: self.methods.clone(),
            path_prefix: self.path_prefix.clone(),
            body_methods: self.body_methods.clone().unwrap_or_default(),
            max_request_bytes: self.max_request_bytes,
            max_response_bytes: self.max_response_bytes,
            timeout_ms: self.timeout_ms,
        }
    }
}

pub(super) struct Http;

impl Capability for Http {
    fn permission(&self) -> &'static str {
        "permissions.network.allow"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        if grants.http.len() > MAX_HTTP_GRANTS {
            return Err(bad("http", format!("at most {MAX_HTTP_GRANTS} hosts")));
        }
        for (number, grant) in grants.http.iter().enumerate() {
            check(grant).map_err(|(key, what)| bad(format!("http[{number}].{key}"), what))?;
        }
        Ok(())
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        for (number, grant) in asked.http.iter().enumerate() {
            for allowed in intersect::one_host(number, grant, operator, notes) {
                if !left.http.contains(&allowed) && left.http.len() < MAX_EFFECTIVE {
                    left.http.push(allowed);
                }
            }
        }
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Ok(|grants| {
            let alone = |grant: &HttpGrant| Grants { http: vec![grant.clone()], ..Grants::default() };
            grants.http.iter().map(alone).collect()
        })
    }

    fn check_section(&self, policy: &OperatorPolicy) -> Result<(), PolicyError> {
        let network = &policy.network;
        let lists = [
            ("network.allow", network.allow.len()),
            ("network.deny", network.deny.len()),
            ("network.private", network.private.len()),
        ];
        if let Some((path, _)) = lists.into_iter().find(|(_, length)| *length > MAX_ENTRIES) {
            return Err(PolicyError::at(path, format!("at most {MAX_ENTRIES} entries")));
        }
        for (number, entry) in network.allow.iter().enumerate() {
            let grant = HttpGrant { host: "x".to_owned(), ..entry.bounds() };
            check(&grant).map_err(|(key, what)| PolicyError::at(format!("network.allow[{number}].{key}"), what))?;
        }
        no_zeros([
            ("network.max_request_bytes", network.max_request_bytes),
            ("network.max_response_bytes", network.max_response_bytes),
            ("network.timeout_ms", network.timeout_ms),
        ])
    }
}

fn check(grant: &HttpGrant) -> Result<(), (&'static str, String)> {
    HostPattern::parse_grant(&grant.host).map_err(|what| ("host", what))?;
    if let Some(methods) = &grant.methods {
        let token = |m: &String| (1..=20).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if methods.is_empty() || methods.len() > MAX_METHODS || !methods.iter().all(token) {
            return Err((
                "methods",
                format!("1 to {MAX_METHODS} methods in upper case, such as GET; none given is all"),
            ));
        }
    }
    if !grant.body_methods.iter().all(|method| BODILESS.contains(&method.as_str())) {
        return Err(("body_methods", format!("some of {}; other methods may always have a body", BODILESS.join(", "))));
    }
    if let Some(prefix) = &grant.path_prefix {
        path_prefix(prefix).map_err(|what| ("path_prefix", what))?;
    }
    let sizes = [
        ("max_request_bytes", grant.max_request_bytes),
        ("max_response_bytes", grant.max_response_bytes),
        ("timeout_ms", grant.timeout_ms),
    ];
    match sizes.into_iter().find(|(_, size)| *size == Some(0)) {
        Some((name, _)) => Err((name, "at least 1".to_owned())),
        None => Ok(()),
    }
}

/// Checks a path prefix. It is compared with normalized paths, so it has to be normalized itself.
fn path_prefix(prefix: &str) -> Result<(), String> {
    if !prefix.starts_with('/') || prefix.len() > MAX_PREFIX {
        return Err(format!("begins with `/` and has at most {MAX_PREFIX} characters"));
    }
    if !prefix.bytes().all(|b| b.is_ascii_graphic()) || prefix.contains(['?', '#', '\\', '%', '*']) {
        return Err("plain characters only: no `?`, `#`, `%`, `\\`, `*`, no spaces".to_owned());
    }
    if prefix.contains("//") || prefix.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("no empty segments, no `.` and no `..`".to_owned());
    }
    Ok(())
}
