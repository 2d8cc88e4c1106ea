//! Asked and allowed in, what is left out. Hosts as `METHOD|METHOD host/prefix` to keep the tables short.

use super::*;
use crate::{HostPattern, ToolPolicy};
use cofferdam_contract::grants::{FilesGrant, HttpGrant, KeyValueGrant, LlmGrant};

/// Such as `GET|POST api.example.com/v1`.
fn grant(text: &str) -> HttpGrant {
    let (methods, rest) = text.split_once(' ').map_or((None, text), |(methods, rest)| (Some(methods), rest));
    let at = rest.find('/').unwrap_or(rest.len());
    HttpGrant {
        host: rest[..at].to_owned(),
        methods: methods.map(|methods| methods.split('|').map(str::to_owned).collect()),
        path_prefix: (at < rest.len()).then(|| rest[at..].to_owned()),
        ..HttpGrant::default()
    }
}

fn operator(allow: &[&str], deny: &[&str]) -> OperatorPolicy {
    use std::fmt::Write as _;
    let mut text = "version: '1.0'\nnetwork:\n  deny: [".to_owned();
    let hosts: Vec<String> = deny.iter().map(|host| format!("{{host: '{host}'}}")).collect();
    write!(text, "{}]\n  allow: [", hosts.join(", ")).unwrap();
    for entry in allow {
        let entry = grant(entry);
        write!(text, "{{host: '{}'", entry.host).unwrap();
        if let Some(methods) = entry.methods {
            write!(text, ", methods: [{}]", methods.join(", ")).unwrap();
        }
        if let Some(prefix) = entry.path_prefix {
            write!(text, ", path_prefix: {prefix}").unwrap();
        }
        text.push_str("}, ");
    }
    text.push_str("]\n");
    OperatorPolicy::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn hosts_methods_and_paths_are_what_both_say() {
    let none: &[&str] = &[];
    for (asked, allow, deny, left, limited) in [
        ("a.example", &["*"][..], none, &["a.example"][..], 0),
        ("a.example:8443", &["*"], none, &["a.example:8443"], 0),
        ("a.example:8443", &["a.example"], none, none, 1),
        ("a.example", &["*.example"], none, &["a.example"], 0),
        ("*.example", &["a.example", "b.example"], none, &["a.example", "b.example"], 1),
        ("*.example", &["*.a.example"], none, &["*.a.example"], 1),
        ("a.example", none, none, none, 1),
        ("a.example", &["b.example"], none, none, 1),
        ("a.example", &["*"], &["a.example"], none, 1),
        ("a.example", &["*"], &["*.example"], none, 1),
        ("*.example", &["*"], &["a.example"], &["*.example"], 1),
        ("GET|POST a.example", &["GET *"], none, &["GET a.example"], 1),
        ("a.example", &["GET *"], none, &["GET a.example"], 1),
        ("GET a.example", &["*"], none, &["GET a.example"], 0),
        ("GET a.example", &["POST *"], none, none, 1),
        ("a.example/v1", &["a.example"], none, &["a.example/v1"], 0),
        ("a.example/v1/", &["a.example"], none, &["a.example/v1"], 0),
        ("a.example", &["a.example/v1"], none, &["a.example/v1"], 1),
        ("a.example/v1/x", &["a.example/v1"], none, &["a.example/v1/x"], 0),
        ("a.example/v1", &["a.example/v1/x"], none, &["a.example/v1/x"], 1),
        ("a.example/v10", &["a.example/v1"], none, none, 1),
        ("a.example/", &["a.example/v1"], none, &["a.example/v1"], 1),
    ] {
        let asked_grants = Grants { http: vec![grant(asked)], ..Grants::default() };
        let (got, notes) = effective(&asked_grants, &operator(allow, deny));
        let expected: Vec<HttpGrant> = left.iter().map(|text| grant(text)).collect();
        assert_eq!(got.http, expected, "{asked} under {allow:?} without {deny:?}: {notes:?}");
        assert_eq!(notes.len(), limited, "{asked} under {allow:?} without {deny:?}: {notes:?}");
    }
}

#[test]
fn sizes_are_the_smaller_ones_and_it_is_said() {
    let operator = OperatorPolicy::parse(
        "version: '1.0'\nnetwork: {max_response_bytes: 10, timeout_ms: 5, allow: [{host: '*', timeout_ms: 3}]}\n\
         keyvalue: {max_bytes: 100}\nfiles: {read_only: true}",
    )
    .unwrap();
    let mut asked = Grants { http: vec![grant("a.example")], ..Grants::default() };
    asked.http[0].max_response_bytes = Some(20);
    asked.http[0].max_request_bytes = Some(7);
    asked.keyvalue = Some(KeyValueGrant { max_bytes: 1000, max_keys: 5 });
    asked.files = Some(FilesGrant::default());
    let (got, notes) = effective(&asked, &operator);
    let http = &got.http[0];
    assert_eq!((http.max_response_bytes, http.max_request_bytes, http.timeout_ms), (Some(10), Some(7), Some(3)));
    assert_eq!(got.keyvalue, Some(KeyValueGrant { max_bytes: 100, max_keys: 5 }));
    assert!(got.files.unwrap().read_only);
    let what: Vec<_> = notes.iter().map(|note| note.grant.as_str()).collect();
    assert_eq!(what, ["http[0].max_response_bytes", "keyvalue.max_bytes", "files"]);
    assert!(notes.iter().all(|note| note.by.starts_with("operator policy: ")));
}

#[test]
fn what_is_forbidden_is_gone_and_named() {
    let asked = ToolPolicy::parse(
        "version: '1.0'\npermissions:\n  secrets: {allow: [{name: a}, {name: b}]}\n  tools: {allow: [{name: '*'}, {name: t}]}\n  \
         environment: {allow: [{key: k, value: v}]}\n  keyvalue: {}\n  storage: {allow: [{uri: fs://data, access: [read]}]}",
    )
    .unwrap()
    .grants;
    let (same, notes) = effective(&asked, &OperatorPolicy::default());
    assert_eq!((same.secrets.len(), same.tools.len(), notes.len()), (2, 2, 0));
    let strict = OperatorPolicy::parse(
        "version: '1.0'\nsecrets: {allow: [b]}\ntools: {allow: [x, y]}\nconfig: {allow: false}\nkeyvalue: {allow: false}\n\
         files: {allow: false}",
    )
    .unwrap();
    let (left, notes) = effective(&asked, &strict);
    assert_eq!(left.secrets.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(left.tools, ["x", "y"]);
    assert!(left.config.is_empty() && left.keyvalue.is_none() && left.files.is_none());
    let what: Vec<_> = notes.iter().map(|note| note.grant.as_str()).collect();
    assert_eq!(what, ["secrets[0]", "tools[0]", "tools[1]", "keyvalue", "files", "config"]);
}

#[test]
fn models_are_allowed_by_name_and_only_where_the_operator_says_so() {
    let grant = |models: &[&str], max_tokens| {
        let llm = LlmGrant { max_tokens, ..LlmGrant::of(models.iter().map(|name| (*name).to_owned()).collect()) };
        Grants { llm: Some(llm), ..Grants::default() }
    };
    for (asked, policy, left, tokens, limited) in [
        (&["a"][..], "", &[][..], 0, 1),
        (&["*"], "llm: {max_tokens: 5}", &[], 0, 1),
        (&["a"], "llm: {allow: false}", &[], 0, 1),
        (&["a"], "llm: {allow: []}", &[], 0, 1),
        (&["a", "b"], "llm: {allow: true}", &["a", "b"], 100, 0),
        (&["*"], "llm: {allow: true}", &["*"], 100, 0),
        (&["*"], "llm: {allow: ['*']}", &["*"], 100, 0),
        (&["*"], "llm: {allow: [b, a]}", &["a", "b"], 100, 1),
        (&["a", "b"], "llm: {allow: [b, c], max_tokens: 7}", &["b"], 7, 2),
        (&["a"], "llm: {allow: [a], max_tokens: 700, max_requests: 1000}", &["a"], 100, 0),
        (&["a"], "llm: {allow: [A]}", &[], 0, 1),
    ] {
        let operator = OperatorPolicy::parse(&format!("version: '1.0'\n{policy}")).unwrap();
        let (got, notes) = effective(&grant(asked, 100), &operator);
        let (models, got) = got.llm.map_or((vec![], 0), |llm| (llm.models, llm.max_tokens));
        assert_eq!((models.iter().map(String::as_str).collect::<Vec<_>>(), got), (left.to_vec(), tokens), "{policy}");
        assert_eq!(notes.len(), limited, "{policy}: {notes:?}");
    }
}

/// The invariant itself, over every pair of a set that meets in all ways.
#[test]
fn neither_side_is_ever_widened() {
    let patterns = [
        "a.x",
        "b.x",
        "*.x",
        "*.a.x",
        "c.a.x:8443",
        "a.x:443",
        "GET a.x",
        "POST|GET *.x/v1",
        "a.x/v1/y",
        "10.0.0.1:80",
    ];
    let hosts = ["a.x", "b.x", "c.a.x", "x", "10.0.0.1"];
    let covers = |grant: &HttpGrant, https: bool, host: &str, port: u16, method: &str, path: &str| {
        let pattern = HostPattern::parse(&grant.host).unwrap();
        let prefix = grant.path_prefix.as_deref().unwrap_or_default();
        pattern.covers(https, host, port)
            && grant.methods.as_ref().is_none_or(|methods| methods.iter().any(|m| m == method))
            && path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for asked in patterns {
        for allowed in patterns.iter().chain(&["*", "GET *", "*.x:*"]) {
            let grants = Grants { http: vec![grant(asked)], ..Grants::default() };
            let (got, _) = effective(&grants, &operator(&[allowed], &[]));
            for host in hosts {
                for (https, port) in [(true, 443), (false, 80), (true, 8443), (false, 443)] {
                    for (method, path) in [("GET", "/v1"), ("POST", "/v1/y/z"), ("GET", "/v10"), ("PUT", "/")] {
                        let both = covers(&grant(asked), https, host, port, method, path)
                            && covers(&grant(allowed), https, host, port, method, path);
                        let left = got.http.iter().any(|g| covers(g, https, host, port, method, path));
                        assert!(!left || both, "{asked} & {allowed} gives {host}:{port} {method} {path}: {got:?}");
                    }
                }
            }
        }
    }
}
