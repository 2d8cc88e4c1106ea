//! Policies of tools in, grants or refusals out.

use cofferdam_contract::grants::FilesGrant;

use super::*;

#[test]
fn a_policy_as_wassette_has_it_is_read() {
    let text = r#"
version: "1.0"
description: "My policy"
permissions:
  storage:
    allow:
    - uri: "fs://agent/files/**"
      access: ["read", "write"]
    - uri: "fs://agent/scratch/*"
      access: ["read"]
  network:
    allow:
    - host: "api.example.com"
    - host: "*.example.org"
  environment:
    allow:
    - key: "API_KEY"
  resources:
    limits:
      cpu: "500m"
      memory: "512Mi"
"#;
    let policy = ToolPolicy::parse(text).unwrap();
    let hosts: Vec<_> = policy.grants.http.iter().map(|grant| grant.host.as_str()).collect();
    assert_eq!(hosts, ["api.example.com", "*.example.org"]);
    assert_eq!(policy.grants.files, Some(FilesGrant::default()));
    assert_eq!(policy.grants.secrets, [SecretGrant { name: "API_KEY".into(), env: None }]);
    assert_eq!(policy.limits.memory_bytes, Some(512 << 20));
    assert_eq!(policy.limits.cpu_ms, Some(Limits::DEFAULT.wall_ms / 2));
    assert_eq!(policy.warnings.len(), 3, "{:?}", policy.warnings);
}

#[test]
fn what_is_ours_is_read() {
    let text = "
version: '1.0'
permissions:
  network:
    allow:
    - {host: 'api.example.com:8443', methods: [GET, POST], path_prefix: /v1, max_response_bytes: 1000}
  storage: {allow: [{uri: 'fs://data', access: [read]}], max_bytes: 1Mi, max_files: 5}
  environment: {allow: [{key: UNITS, value: metric}]}
  secrets: {allow: [{name: key, env: KEY}]}
  tools: {allow: [{name: hash}, {name: '*'}]}
  keyvalue: {max_keys: 7}
  llm: {models: [small], max_tokens: 50}
  resources: {limits: {wall_ms: 2000, cpu: 0.25, output_bytes: 1Ki}}
";
    let ToolPolicy { grants, limits, warnings } = ToolPolicy::parse(text).unwrap();
    assert_eq!(grants.http[0].methods.as_deref(), Some(&["GET".to_owned(), "POST".to_owned()][..]));
    assert_eq!(grants.http[0].max_response_bytes, Some(1000));
    assert_eq!(grants.files, Some(FilesGrant { read_only: true, max_bytes: 1 << 20, max_files: 5 }));
    assert_eq!(grants.config["UNITS"], "metric");
    assert_eq!(grants.secrets[0].variable(), "KEY");
    assert_eq!(grants.tools, ["hash", "*"]);
    assert_eq!(grants.keyvalue.map(|kv| kv.max_keys), Some(7));
    assert_eq!(
        grants.llm.map(|llm| (llm.models, llm.max_tokens, llm.max_requests)),
        Some((vec!["small".into()], 50, 100))
    );
    assert_eq!((limits.wall_ms, limits.cpu_ms, limits.output_bytes), (Some(2000), Some(500), Some(1024)));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(ToolPolicy::parse("version: '1.0'").unwrap(), ToolPolicy::default());
}

/// Each is refused with the path of the key and, where the parser saw it, the line.
#[test]
fn what_is_wrong_is_refused_whole() {
    for (text, path, line, reason) in [
        ("", "", None, ""),
        ("version: '2.0'", "version", Some(1), "\"1.0\""),
        ("permissions: {}", "", None, "version"),
        ("version: '1.0'\npermision: {}", "permision", Some(2), "unknown field"),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow:\n    - hots: x",
            "permissions.network.allow[0].hots",
            Some(5),
            "unknown field",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    deny: []",
            "permissions.network.deny",
            Some(4),
            "unknown field",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow:\n    - cidr: 10.0.0.0/8",
            "permissions.network.allow[0].cidr",
            Some(5),
            "unknown field",
        ),
        ("version: '1.0'\npermissions:\n  llm: {models: []}", "permissions.llm.models", None, "1 to 64"),
        ("version: '1.0'\npermissions:\n  llm: {max_tokens: 5}", "permissions.llm", Some(3), "models"),
        ("version: '1.0'\npermissions:\n  network:\n    allow: yes", "permissions.network.allow", Some(4), ""),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow:\n    - host: [a]",
            "permissions.network.allow[0].host",
            Some(5),
            "",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow:\n    - host: '*'",
            "permissions.network.allow[0].host",
            None,
            "everything",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow:\n    - host: https://x.example",
            "permissions.network.allow[0].host",
            None,
            "scheme",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow: [{host: x.example, methods: [get]}]",
            "permissions.network.allow[0].methods",
            None,
            "upper case",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow: [{host: x.example, path_prefix: /a/../b}]",
            "permissions.network.allow[0].path_prefix",
            None,
            "..",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow: [{host: x.example, path_prefix: v1}]",
            "permissions.network.allow[0].path_prefix",
            None,
            "begins",
        ),
        (
            "version: '1.0'\npermissions:\n  network:\n    allow: [{host: x.example, timeout_ms: -1}]",
            "permissions.network.allow[0].timeout_ms",
            Some(4),
            "",
        ),
        (
            "version: '1.0'\npermissions:\n  storage:\n    allow: [{uri: 'file:///etc', access: [read]}]",
            "permissions.storage.allow[0].uri",
            None,
            "fs://",
        ),
        (
            "version: '1.0'\npermissions:\n  storage:\n    allow: [{uri: 'fs://x', access: [exec]}]",
            "permissions.storage.allow[0].access[0]",
            Some(4),
            "exec",
        ),
        (
            "version: '1.0'\npermissions:\n  resources: {limits: {memory: lots}}",
            "permissions.resources.limits.memory",
            Some(3),
            "512Mi",
        ),
        (
            "version: '1.0'\npermissions:\n  resources: {limits: {cpu: 1, cpu_ms: 5}}",
            "permissions.resources.limits",
            None,
            "either",
        ),
        (
            "version: '1.0'\npermissions:\n  tools: {allow: [{name: Bad_Name}]}",
            "permissions.tools.allow[0]",
            None,
            "a-z",
        ),
        ("version: '1.0'\nversion: '1.0'", "", Some(2), "uplicate"),
        ("version: '1.0'\n---\nversion: '1.0'", "", None, ""),
        ("version: &a '1.0'\ndescription: *a", "", None, ""),
        ("version: '1.0'\n  bad: indent", "", Some(2), ""),
        ("[1, 2]", "", Some(1), ""),
    ] {
        let error = ToolPolicy::parse(text).expect_err(text);
        let PolicyError::Wrong { path: got_path, line: got_line, what } = &error else { panic!("{error}") };
        assert_eq!(got_path, path, "{text}\n{error}");
        if line.is_some() {
            assert_eq!(*got_line, line, "{text}\n{error}");
        }
        assert!(what.contains(reason), "{text}\n{error}");
        assert!(!what.is_empty() && !error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let long = format!("version: '1.0'\ndescription: {}", "x".repeat(super::yaml::MAX_POLICY_BYTES));
    assert!(matches!(ToolPolicy::parse(&long), Err(PolicyError::TooLong(_))));
    for text in [
        format!("version: '1.0'\npermissions: {}", "[".repeat(100_000)),
        format!("version: '1.0'\npermissions: {}", "{a: ".repeat(1_000)),
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]".to_owned(),
    ] {
        assert!(ToolPolicy::parse(&text).is_err());
    }
    let hosts = "    - host: x.example\n".repeat(65);
    let many = format!("version: '1.0'\npermissions:\n  network:\n    allow:\n{hosts}");
    assert!(ToolPolicy::parse(&many).unwrap_err().to_string().contains("at most 64"));
}
