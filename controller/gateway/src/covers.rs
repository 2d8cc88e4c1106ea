//! Finds the grants that cover a request, and the bounds that they give it. Pure.

use std::time::Duration;

use cofferdam_contract::HttpGrant;

use cofferdam_policy::{BODILESS, HostPattern};

use crate::settings::Caps;
use crate::target::Target;

/// A parsed grant.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    host: HostPattern,
    grant: HttpGrant,
}

impl Rule {
    /// Parses grants. They were checked when they were given; an invalid one covers nothing.
    pub(crate) fn read(grants: &[HttpGrant]) -> Vec<Self> {
        let read = |grant: &HttpGrant| match HostPattern::parse(&grant.host) {
            Ok(host) => Some(Self { host, grant: grant.clone() }),
            Err(why) => {
                tracing::warn!(%why, "an invalid grant covers nothing");
                None
            }
        };
        grants.iter().filter_map(read).collect()
    }

    fn covers(&self, method: &str, target: &Target) -> bool {
        self.host.covers(target.https, &target.host, target.port)
            && self.grant.methods.as_ref().is_none_or(|methods| methods.iter().any(|granted| granted == method))
            && self.grant.path_prefix.as_ref().is_none_or(|prefix| below(prefix, target))
    }

    fn caps(&self, default: &Caps) -> Caps {
        Caps {
            request_bytes: self.grant.max_request_bytes.unwrap_or(default.request_bytes),
            response_bytes: self.grant.max_response_bytes.unwrap_or(default.response_bytes),
            timeout: self.grant.timeout_ms.map_or(default.timeout, Duration::from_millis),
        }
    }

    fn shown(&self) -> String {
        let methods = self.grant.methods.as_ref().map(|methods| format!("{} ", methods.join("|"))).unwrap_or_default();
        format!("{methods}{}{}", self.grant.host, self.grant.path_prefix.as_deref().unwrap_or_default())
    }
}

/// Compares whole segments: `/v1` covers `/v1` and `/v1/x`, not `/v10`.
fn below(prefix: &str, target: &Target) -> bool {
    let inside = match target.path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    };
    inside && (prefix == "/" || !target.climbs())
}

/// The bounds that the grants give the request: each is the largest of the covering grants. None: no grant covers it.
pub(crate) fn caps(rules: &[Rule], method: &str, target: &Target, default: &Caps, maximum: &Caps) -> Option<Caps> {
    let covering = rules.iter().filter(|rule| rule.covers(method, target)).map(|rule| rule.caps(default));
    let most = covering.reduce(|a, b| Caps {
        request_bytes: a.request_bytes.max(b.request_bytes),
        response_bytes: a.response_bytes.max(b.response_bytes),
        timeout: a.timeout.max(b.timeout),
    })?;
    Some(Caps {
        request_bytes: most.request_bytes.min(maximum.request_bytes),
        response_bytes: most.response_bytes.min(maximum.response_bytes),
        timeout: most.timeout.min(maximum.timeout),
    })
}

/// Returns true if a request with a body is covered: a body means something to this method, or a grant says so.
pub(crate) fn takes_body(rules: &[Rule], method: &str, target: &Target) -> bool {
    let granted = |rule: &Rule| rule.grant.body_methods.iter().any(|granted| granted == method);
    !BODILESS.contains(&method) || rules.iter().any(|rule| granted(rule) && rule.covers(method, target))
}

/// Returns true if a grant covers every method and path of the target's host, so that nothing would be gained by a
/// request inside of a request.
pub(crate) fn is_whole_host(rules: &[Rule], target: &Target) -> bool {
    let whole = |grant: &HttpGrant| grant.methods.is_none() && grant.path_prefix.as_deref().is_none_or(|p| p == "/");
    rules.iter().any(|rule| whole(&rule.grant) && rule.host.covers(target.https, &target.host, target.port))
}

/// The sentence that says that no grant covers the request, and what to do.
pub(crate) fn explain(rules: &[Rule], method: &str, target: &Target) -> String {
    const MAX_SHOWN_GRANTS: usize = 8;
    let asked = format!("No grant covers {method} {}", target.shown());
    if rules.is_empty() {
        return format!("{asked}: grants.http is empty. Grant it with {{\"host\": \"{}\"}}.", target.authority());
    }
    let mut has: Vec<String> = rules.iter().take(MAX_SHOWN_GRANTS).map(Rule::shown).collect();
    if rules.len() > MAX_SHOWN_GRANTS {
        has.push(format!("and {} more", rules.len() - MAX_SHOWN_GRANTS));
    }
    format!("{asked}; grants.http has {}.", has.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, methods: Option<&str>, prefix: Option<&str>) -> Rule {
        let grant = HttpGrant {
            host: host.to_owned(),
            methods: methods.map(|text| text.split(',').map(str::to_owned).collect()),
            path_prefix: prefix.map(str::to_owned),
            ..HttpGrant::default()
        };
        Rule::read(&[grant]).remove(0)
    }

    #[test]
    fn grants_cover_hosts_methods_and_paths() {
        for (host, methods, prefix, request, covered) in [
            ("a.example", None, None, "GET https://a.example/", true),
            ("a.example", None, None, "DELETE https://A.Example./x?y", true),
            ("a.example", None, None, "GET http://a.example/", true),
            ("a.example", None, None, "GET http://a.example:443/", false),
            ("a.example", None, None, "GET https://a.example:8443/", false),
            ("a.example:8443", None, None, "GET https://a.example:8443/", true),
            ("a.example", None, None, "GET https://b.a.example/", false),
            ("a.example", None, None, "GET https://a.example.evil.example/", false),
            ("a.example", None, None, "GET https://evila.example/", false),
            ("*.example", None, None, "GET https://a.b.example/", true),
            ("*.example", None, None, "GET https://example/", false),
            ("xn--bcher-kva.example", None, None, "GET https://bücher.example/", true),
            ("127.0.0.1", None, None, "GET http://2130706433/", true),
            ("127.0.0.1", None, None, "GET http://[::ffff:127.0.0.1]/", true),
            ("::1", None, None, "GET http://[0::1]/", true),
            ("a.example", Some("GET,HEAD"), None, "GET https://a.example/", true),
            ("a.example", Some("GET,HEAD"), None, "POST https://a.example/", false),
            ("a.example", Some("GET"), None, "get https://a.example/", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1", true),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1?x=/../", true),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1/x", true),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1//x", true),
            ("a.example", None, Some("/v1"), "GET https://a.example/v10", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/V1", false),
            ("a.example", None, Some("/v1"), "GET https://a.example//v1", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/%76%31", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1/../admin", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1/%2e%2e/admin", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1/..%2fadmin", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1/%252e%252e/admin", false),
            ("a.example", None, Some("/v1"), "GET https://a.example/v1/..;/admin", false),
            ("a.example", None, Some("/v1/"), "GET https://a.example/v1/x", true),
            ("a.example", None, Some("/v1/"), "GET https://a.example/v1", false),
            ("a.example", None, Some("/"), "GET https://a.example/..%2fx", true),
        ] {
            let (method, url) = request.split_once(' ').unwrap();
            let target = Target::parse(url).unwrap();
            let rules = [rule("other.example", None, None), rule(host, methods, prefix)];
            let found = caps(&rules, method, &target, &Caps::DEFAULT, &Caps::MAXIMUM);
            assert_eq!(found.is_some(), covered, "{host} {methods:?} {prefix:?} {request}");
        }
    }

    #[test]
    fn the_largest_bound_of_a_covering_grant_counts_up_to_the_maximum() {
        let grant = |prefix: &str, request, timeout| HttpGrant {
            host: "a.example".into(),
            path_prefix: Some(prefix.into()),
            max_request_bytes: request,
            timeout_ms: timeout,
            ..HttpGrant::default()
        };
        let rules =
            Rule::read(&[grant("/", Some(10), None), grant("/v1", None, Some(u64::MAX)), grant("/v2", Some(20), None)]);
        let of = |path: &str| {
            let target = Target::parse(&format!("https://a.example{path}")).unwrap();
            let caps = caps(&rules, "GET", &target, &Caps::DEFAULT, &Caps::MAXIMUM).unwrap();
            (caps.request_bytes, caps.timeout)
        };
        assert_eq!(of("/x"), (10, Caps::DEFAULT.timeout));
        assert_eq!(of("/v1"), (Caps::DEFAULT.request_bytes, Caps::MAXIMUM.timeout));
        assert_eq!(of("/v2"), (20, Caps::DEFAULT.timeout));
    }

    #[test]
    fn bodies_are_granted_apart_where_they_mean_nothing() {
        let target = Target::parse("https://a.example/v1/x").unwrap();
        let with = |methods: &[&str]| HttpGrant {
            host: "a.example".into(),
            path_prefix: Some("/v1".into()),
            body_methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            ..HttpGrant::default()
        };
        let rules = Rule::read(&[with(&[]), with(&["DELETE"])]);
        for (method, taken) in [("POST", true), ("PUT", true), ("QUERY", true), ("DELETE", true), ("GET", false)] {
            assert_eq!(takes_body(&rules, method, &target), taken, "{method}");
        }
        let elsewhere = Target::parse("https://a.example/v2").unwrap();
        assert!(!takes_body(&rules, "DELETE", &elsewhere));
        assert!(!is_whole_host(&rules, &target));
        assert!(!is_whole_host(&[rule("a.example", Some("GET"), None)], &target));
        assert!(is_whole_host(&[rule("a.example", None, Some("/"))], &target));
        assert!(!is_whole_host(&[rule("b.example", None, None)], &target));
    }

    #[test]
    fn a_refusal_lists_the_grants() {
        let target = Target::parse("https://x.example/y?token=1").unwrap();
        let rules = [rule("a.example", Some("GET"), Some("/v1")), rule("*.b.example:8443", None, None)];
        assert_eq!(
            explain(&rules, "GET", &target),
            "No grant covers GET https://x.example/y; grants.http has GET a.example/v1, *.b.example:8443."
        );
        assert!(explain(&[], "GET", &target).contains("grants.http is empty"));
    }
}
