//! The intersection of one HTTP grant and the operator's policy.

use cofferdam_contract::HttpGrant;

use crate::capabilities::Notes;
use crate::host::{Ban, HostPattern};
use crate::operator::OperatorPolicy;

/// The parts of one grant that the operator allows.
pub(super) fn one_host(
    number: usize,
    grant: &HttpGrant,
    operator: &OperatorPolicy,
    notes: &mut Notes,
) -> Vec<HttpGrant> {
    let at = |key: &str| format!("http[{number}].{key}");
    // Grants were checked when they came in. An invalid one is not granted.
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
            body_methods: match &entry.body_methods {
                None => grant.body_methods.clone(),
                Some(allowed) => grant.body_methods.iter().filter(|m| allowed.contains(m)).cloned().collect(),
            },
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

/// Notes what an intersection lacks, once for each part of the grant.
fn explain(number: usize, grant: &HttpGrant, pattern: &HostPattern, found: &[HttpGrant], notes: &mut Notes) {
    let at = |key: &str| format!("http[{number}].{key}");
    let asked = pattern.to_string();
    // A single entry that takes nothing is enough: it contains what the others leave.
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
    let refused = |method: &&String| !found.iter().any(|f| f.body_methods.contains(method));
    let refused: Vec<&str> = grant.body_methods.iter().filter(refused).map(String::as_str).collect();
    if !found.is_empty() && !refused.is_empty() {
        notes.add(at("body_methods"), "network.allow", format!("without {}", refused.join(", ")));
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

/// The methods in both lists. `Some(None)` means every method, `None` no method at all.
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

/// The prefix that both cover: the longer one, if it is below the other. Prefixes match whole segments.
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
