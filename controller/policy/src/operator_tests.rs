//! Operators' policies in, what they permit or why they are refused out.

use super::*;
use crate::{Allowed, to_dial};

fn dials(policy: &OperatorPolicy, address: &str) -> bool {
    to_dial(address.parse().unwrap(), &policy.network.private).is_some()
}

#[test]
fn without_a_file_everything_public_and_nothing_private_is_allowed() {
    let policy = OperatorPolicy::default();
    assert!(policy.permits_host(true, "api.example.com", 443) && policy.permits_host(false, "x", 8080));
    assert!(!dials(&policy, "127.0.0.1"));
    assert!(
        policy.keyvalue.allow && policy.files.allow && policy.secrets.allow.allows("x") && !policy.secrets.plain_http
    );
    assert!(!policy.llm.allow.allows("a-model"), "models cost money");
    let said_nothing = OperatorPolicy::parse("version: '1.0'").unwrap();
    assert!(said_nothing.permits_host(true, "api.example.com", 443));
}

#[test]
fn a_policy_is_read() {
    let policy = OperatorPolicy::parse(
        "
version: '1.0'
description: of the house
network:
  allow:
  - host: '*.example.com:*'
  - {host: api.example.org, methods: [GET], path_prefix: /v1}
  deny:
  - host: secret.example.com
  private: [127.0.0.0/8, 'fd00::/8']
  max_response_bytes: 1000
keyvalue: {allow: false}
files: {read_only: true, max_bytes: 5}
secrets: {allow: [weather-key], plain_http: true}
tools: {allow: false}
config: {allow: false}
llm: {allow: [small], max_tokens: 1000}
",
    )
    .unwrap();
    for (host, port, permitted) in [
        ("a.example.com", 443, true),
        ("a.example.com", 9, true),
        ("secret.example.com", 443, false),
        ("secret.example.com", 9, false),
        ("api.example.org", 443, true),
        ("api.example.org", 444, false),
        ("other.org", 443, false),
    ] {
        assert_eq!(policy.permits_host(true, host, port), permitted, "{host}:{port}");
    }
    assert!(dials(&policy, "127.0.0.1"));
    assert!(dials(&policy, "fd12::1"));
    assert!(!dials(&policy, "169.254.169.254"));
    assert_eq!(policy.secrets.allow, Allowed::Names(vec!["weather-key".into()]));
    assert_eq!(policy.tools.allow, Allowed::None);
    assert!(policy.llm.allow.allows("small") && !policy.llm.allow.allows("large"));
    assert!(!policy.keyvalue.allow && !policy.config.allow && policy.files.read_only);
}

#[test]
fn what_is_wrong_is_refused_whole() {
    for (text, path, line, reason) in [
        ("network: {}", "", None, "version"),
        ("version: '1.0'\nnetwrok: {}", "netwrok", Some(2), "unknown field"),
        ("version: '1.0'\nnetwork:\n  allow:\n  - host: 'a*b'", "network.allow[0].host", Some(4), "`*`"),
        (
            "version: '1.0'\nnetwork:\n  allow:\n  - host: '*'\n  - {host: x, methods: []}",
            "network.allow[1].methods",
            None,
            "upper",
        ),
        (
            "version: '1.0'\nnetwork:\n  deny: [{host: x, path_prefix: /}]",
            "network.deny[0].path_prefix",
            Some(3),
            "unknown field",
        ),
        ("version: '1.0'\nnetwork:\n  private: [10.0.0.0]\n  privat: x", "network.privat", Some(4), "unknown field"),
        ("version: '1.0'\nnetwork:\n  private: [10.0.0.1/8]", "network.private[0]", Some(3), "after its prefix"),
        ("version: '1.0'\nnetwork: {max_response_bytes: 0}", "network.max_response_bytes", None, "at least 1"),
        ("version: '1.0'\nkeyvalue: {allow: perhaps}", "keyvalue.allow", Some(2), ""),
        ("version: '1.0'\nllm: {allow: true, max_tokens: 0}", "llm.max_tokens", None, "at least 1"),
        ("version: '1.0'\nllm: {models: [a]}", "llm.models", Some(2), "unknown field"),
        ("version: '1.0'\nsecrets: {allow: {a: b}}", "secrets.allow", Some(2), "true, false or a list"),
        ("version: '1.0'\nsignatures: {required: true, keys: [nonsense]}", "signatures.keys[0]", Some(2), "PEM"),
    ] {
        let error = OperatorPolicy::parse(text).expect_err(text);
        let PolicyError::Wrong { path: got_path, line: got_line, what } = &error else { panic!("{error}") };
        assert_eq!(got_path, path, "{text}\n{error}");
        if line.is_some() {
            assert_eq!(*got_line, line, "{text}\n{error}");
        }
        assert!(what.contains(reason), "{text}\n{error}");
    }
}
