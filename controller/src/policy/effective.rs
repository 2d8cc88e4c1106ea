//! Two keys: what was asked for and what the operator allows, made one. The result never has more than either.

use cofferdam_contract::Grants;
use cofferdam_contract::grants::{HttpGrant, LlmGrant};
use serde::{Deserialize, Serialize};

use super::allowed::Allowed;
use super::host::{Ban, HostPattern};
use super::operator::OperatorPolicy;

/// The most hosts after intersection; an operator's list may part a grant into many.
const MAX_EFFECTIVE: usize = 1_024;

/// A grant that is less than what was asked for, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Limited {
    /// Where it was asked for, such as `http[0].host`.
    pub grant: String,
    /// The part of the operator's policy that takes from it.
    pub by: String,
    /// What is taken.
    pub detail: String,
}

struct Notes(Vec<Limited>);

impl Notes {
    fn add(&mut self, grant: impl Into<String>, by: &str, detail: impl Into<String>) {
        self.0.push(Limited { grant: grant.into(), by: format!("operator policy: {by}"), detail: detail.into() });
    }
}

/// The intersection, and what was taken from what was asked. `asked` has been through [`super::check::grants`].
pub fn effective(asked: &Grants, operator: &OperatorPolicy) -> (Grants, Vec<Limited>) {
    let mut notes = Notes(Vec::new());
    let mut http: Vec<HttpGrant> = Vec::new();
    for (number, grant) in asked.http.iter().enumerate() {
        for allowed in one_host(number, grant, operator, &mut notes) {
            if !http.contains(&allowed) && http.len() < MAX_EFFECTIVE {
                http.push(allowed);
            }
        }
    }
    let mut keep = |kind: &str, by: &str, number: usize, name: &str, allowed: bool| {
        if !allowed {
            notes.add(format!("{kind}[{number}]"), by, format!("{name} is not allowed"));
        }
        allowed
    };
    let secrets = asked.secrets.iter().enumerate();
    let secrets = secrets
        .filter(|(n, s)| keep("secrets", "secrets.allow", *n, &s.name, operator.secrets.allow.allows(&s.name)))
        .map(|(_, secret)| secret.clone())
        .collect();
    let tools = named(("tools", "tools.allow"), &asked.tools, &operator.tools.allow, &mut notes);
    let keyvalue = asked.keyvalue.filter(|_| operator.keyvalue.allow);
    if asked.keyvalue.is_some() && keyvalue.is_none() {
        notes.add("keyvalue", "keyvalue.allow", "key-value storage is not allowed");
    }
    let keyvalue = keyvalue.map(|mut grant| {
        bound(&mut grant.max_bytes, operator.keyvalue.max_bytes, "keyvalue.max_bytes", &mut notes);
        bound(&mut grant.max_keys, operator.keyvalue.max_keys, "keyvalue.max_keys", &mut notes);
        grant
    });
    let files = asked.files.filter(|_| operator.files.allow);
    if asked.files.is_some() && files.is_none() {
        notes.add("files", "files.allow", "files that last are not allowed");
    }
    let files = files.map(|mut grant| {
        bound(&mut grant.max_bytes, operator.files.max_bytes, "files.max_bytes", &mut notes);
        bound(&mut grant.max_files, operator.files.max_files, "files.max_files", &mut notes);
        if operator.files.read_only && !grant.read_only {
            grant.read_only = true;
            notes.add("files", "files.read_only", "only reading is allowed");
        }
        grant
    });
    let config = if operator.config.allow { asked.config.clone() } else { Default::default() };
    if config.len() < asked.config.len() {
        notes.add("config", "config.allow", "configuration values are not allowed");
    }
    let llm = asked.llm.as_ref().and_then(|grant| llm(grant, operator, &mut notes));
    (Grants { http, secrets, tools, keyvalue, files, config, llm }, notes.0)
}

/// What is left of names under a list of the operator's; `*` shrinks to that list. `at`: where both stand.
fn named(at: (&str, &str), asked: &[String], allowed: &Allowed, notes: &mut Notes) -> Vec<String> {
    let (grant, by) = at;
    let mut left = Vec::new();
    for (number, name) in asked.iter().enumerate() {
        match allowed {
            Allowed::Names(names) if name == "*" && !allowed.allows(name) => {
                left.extend(names.iter().cloned());
                notes.add(format!("{grant}[{number}]"), by, format!("only {}", names.join(", ")));
            }
            allowed if allowed.allows(name) => left.push(name.clone()),
            _ => notes.add(format!("{grant}[{number}]"), by, format!("{name} is not allowed")),
        }
    }
    left.sort_unstable();
    left.dedup();
    left
}

fn llm(asked: &LlmGrant, operator: &OperatorPolicy, notes: &mut Notes) -> Option<LlmGrant> {
    let models = named(("llm.models", "llm.allow"), &asked.models, &operator.llm.allow, notes);
    if models.is_empty() {
        return None;
    }
    let mut grant = LlmGrant { models, ..asked.clone() };
    bound(&mut grant.max_tokens, operator.llm.max_tokens, "llm.max_tokens", notes);
    bound(&mut grant.max_requests, operator.llm.max_requests, "llm.max_requests", notes);
    Some(grant)
}

fn bound(value: &mut u64, most: Option<u64>, name: &str, notes: &mut Notes) {
    if let Some(most) = most
        && *value > most
    {
        notes.add(name, name, format!("{most} instead of {value}"));
        *value = most;
    }
}

fn one_host(number: usize, grant: &HttpGrant, operator: &OperatorPolicy, notes: &mut Notes) -> Vec<HttpGrant> {
    let at = |key: &str| format!("http[{number}].{key}");
    // Grants were checked where they came in; what cannot be read is not granted.
    let Ok(pattern) = HostPattern::parse_grant(&grant.host) else { return Vec::new() };
    for denied in &operator.network.deny {
        match denied.host.ban(&pattern) {
            Ban::Whole => {
                notes.add(at("host"), "network.deny", format!("{} is denied by {}", pattern, denied.host));
                return Vec::new();
            }
            Ban::Part => notes.add(at("host"), "network.deny", format!("without {}", denied.host)),
            Ban::None => {}
        }
    }
    let mut found: Vec<HttpGrant> = Vec::new();
    for entry in &operator.network.allow {
        let Some(host) = entry.host.intersect(&pattern) else { continue };
        let bounds = entry.bounds();
        let Some(methods) = both_methods(grant.methods.as_ref(), bounds.methods.as_ref()) else { continue };
        let Some(path_prefix) = both_prefixes(grant.path_prefix.as_deref(), bounds.path_prefix.as_deref()) else {
            continue;
        };
        let network = &operator.network;
        found.push(HttpGrant {
            host: host.to_string(),
            methods,
            path_prefix,
            max_request_bytes: least([grant.max_request_bytes, bounds.max_request_bytes, network.max_request_bytes]),
            max_response_bytes: least([
                grant.max_response_bytes,
                bounds.max_response_bytes,
                network.max_response_bytes,
            ]),
            timeout_ms: least([grant.timeout_ms, bounds.timeout_ms, network.timeout_ms]),
        });
    }
    explain(number, grant, &pattern, &found, notes);
    found
}

/// Says what an intersection took, once for each part of the grant.
fn explain(number: usize, grant: &HttpGrant, pattern: &HostPattern, found: &[HttpGrant], notes: &mut Notes) {
    let at = |key: &str| format!("http[{number}].{key}");
    let asked = pattern.to_string();
    // One entry that takes nothing is enough: what others would leave is contained in it.
    let whole = found.iter().any(|f| {
        f.host == asked
            && f.methods.as_ref().map(Vec::len) == grant.methods.as_ref().map(Vec::len)
            && f.path_prefix.as_deref() == grant.path_prefix.as_deref().map(trimmed)
    });
    if found.is_empty() {
        notes.add(at("host"), "network.allow", format!("{asked} is not allowed"));
    } else if !whole {
        let left: Vec<String> = found.iter().take(8).map(describe).collect();
        notes.add(at("host"), "network.allow", format!("only {}", left.join(", ")));
    }
    for (key, asked, got) in [
        ("max_request_bytes", grant.max_request_bytes, found.iter().map(|f| f.max_request_bytes).max()),
        ("max_response_bytes", grant.max_response_bytes, found.iter().map(|f| f.max_response_bytes).max()),
        ("timeout_ms", grant.timeout_ms, found.iter().map(|f| f.timeout_ms).max()),
    ] {
        if let (Some(asked), Some(Some(got))) = (asked, got)
            && got < asked
        {
            notes.add(at(key), &format!("network.{key}"), format!("{got} instead of {asked}"));
        }
    }
}

fn describe(grant: &HttpGrant) -> String {
    let methods = grant.methods.as_ref().map(|methods| format!("{} ", methods.join("|"))).unwrap_or_default();
    format!("{methods}{}{}", grant.host, grant.path_prefix.as_deref().unwrap_or_default())
}

/// `Some(None)` is every method; `None` is no method at all.
fn both_methods(a: Option<&Vec<String>>, b: Option<&Vec<String>>) -> Option<Option<Vec<String>>> {
    match (a, b) {
        (None, None) => Some(None),
        (Some(some), None) | (None, Some(some)) => Some(Some(some.clone())),
        (Some(a), Some(b)) => {
            let both: Vec<String> = a.iter().filter(|method| b.contains(method)).cloned().collect();
            (!both.is_empty()).then_some(Some(both))
        }
    }
}

fn trimmed(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Prefixes match whole segments; the longer one is what both cover, if it lies below the other.
fn both_prefixes(a: Option<&str>, b: Option<&str>) -> Option<Option<String>> {
    let below =
        |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // `/` is every path.
    let (a, b) = (a.map(trimmed).filter(|p| !p.is_empty()), b.map(trimmed).filter(|p| !p.is_empty()));
    match (a, b) {
        (None, None) => Some(None),
        (Some(one), None) | (None, Some(one)) => Some(Some(one.to_owned())),
        (Some(a), Some(b)) if below(a, b) => Some(Some(a.to_owned())),
        (Some(a), Some(b)) if below(b, a) => Some(Some(b.to_owned())),
        _ => None,
    }
}

fn least(values: [Option<u64>; 3]) -> Option<u64> {
    values.into_iter().flatten().min()
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
