//! Decides which of a component's imports are always available, available by a grant, or unavailable. Never links
//! anything.

use crate::grants::{GrantKind, Grants};

/// An import that no grant covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    pub import: String,
    /// The fix, as the end of a sentence that begins with the import.
    pub remedy: String,
}

impl std::fmt::Display for Uncovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "imports {}: {}", self.import, self.remedy)
    }
}

/// The grant that a package needs.
enum Need {
    Nothing,
    /// A grant of this kind, with the remedy if there is none.
    Grant(GrantKind, &'static str),
    /// Linked, but every function denies access.
    Denied,
}

const HTTP: Need = Need::Grant(GrantKind::Http, "grant it with `grants.http`, the list of hosts it may reach");
const KEYVALUE: Need = Need::Grant(GrantKind::KeyValue, "grant it with `grants.keyvalue`");
const TOOLS: Need = Need::Grant(GrantKind::Tools, "grant it with `grants.tools`, the names of the tools it may call");

/// Package, version, interfaces and the grant it needs.
const PACKAGES: &[(&str, &str, &[&str], Need)] = &[
    (
        "wasi:cli",
        "0.2",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
        Need::Nothing,
    ),
    ("wasi:clocks", "0.2", &["monotonic-clock", "wall-clock"], Need::Nothing),
    ("wasi:filesystem", "0.2", &["types", "preopens"], Need::Nothing),
    ("wasi:io", "0.2", &["error", "poll", "streams"], Need::Nothing),
    ("wasi:random", "0.2", &["random", "insecure", "insecure-seed"], Need::Nothing),
    ("wasi:config", "0.2.0-rc.1", &["store"], Need::Nothing),
    ("wasi:logging", "0.1.0-draft", &["logging"], Need::Nothing),
    ("wasi:http", "0.2", &["types", "outgoing-handler"], HTTP),
    ("wasi:keyvalue", "0.2.0-draft2", &["store", "atomics", "batch"], KEYVALUE),
    ("cofferdam:tool", "0.1", &["call"], TOOLS),
    (
        "wasi:sockets",
        "0.2",
        &["network", "instance-network", "ip-name-lookup", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
        Need::Denied,
    ),
];

/// The imports that are neither always available nor covered by `grants`, each with a remedy.
pub fn uncovered(imports: &[String], grants: &Grants) -> Vec<Uncovered> {
    let uncovered = |import: &String| Some(Uncovered { import: import.clone(), remedy: remedy(import, grants)? });
    imports.iter().filter_map(uncovered).collect()
}

/// The interfaces, as `package/interface`, that a grant of this kind makes available.
pub fn covered_by(kind: GrantKind) -> Vec<String> {
    let covers = |need: &Need| matches!(need, Need::Grant(covered, _) if *covered == kind);
    let packages = PACKAGES.iter().filter(|(_, _, _, need)| covers(need));
    packages.flat_map(|(package, _, names, _)| names.iter().map(move |name| format!("{package}/{name}"))).collect()
}

fn remedy(import: &str, grants: &Grants) -> Option<String> {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    let (package, interface) = name.split_once('/').unwrap_or((name, ""));
    let Some((_, ours, interfaces, need)) = PACKAGES.iter().find(|known| known.0 == package) else {
        return Some(
            "nothing here provides it; compose the component with one that does (`wac plug`), or leave the import out"
                .to_owned(),
        );
    };
    if !is_compatible(version, ours) {
        return Some(format!("{package} is provided in version {ours}; build the component against that version"));
    }
    if !interfaces.contains(&interface) {
        return Some(format!("{package} provides only {}", interfaces.join(", ")));
    }
    match need {
        Need::Nothing | Need::Denied => None,
        Need::Grant(kind, _) if grants.provides(*kind) => None,
        Need::Grant(_, remedy) => Some((*remedy).to_owned()),
    }
}

/// A draft matches only itself. A release matches all of its patch versions.
fn is_compatible(version: &str, ours: &str) -> bool {
    let patch =
        |rest: &str| rest.strip_prefix('.').is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    version == ours || (!ours.contains('-') && version.strip_prefix(ours).is_some_and(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::{HttpGrant, KeyValueGrant};

    #[test]
    fn what_no_grant_covers_is_named_with_a_remedy() {
        let none = Grants::default();
        let http =
            Grants { http: vec![HttpGrant { host: "a.example".into(), ..HttpGrant::default() }], ..none.clone() };
        let keyvalue = Grants { keyvalue: Some(KeyValueGrant::default()), ..none.clone() };
        let llm: Grants = serde_json::from_str(r#"{"llm":{"models":["m"]}}"#).unwrap();
        let tools = Grants { tools: vec!["other".into()], ..none.clone() };
        for (import, grants, expected) in [
            ("wasi:io/streams@0.2.0", &none, None),
            ("wasi:io/streams@0.2.12", &none, None),
            ("wasi:io/streams@0.3.0", &none, Some("version 0.2")),
            ("wasi:io/streams@0.2.0-rc", &none, Some("version 0.2")),
            ("wasi:io/streams", &none, Some("version 0.2")),
            ("wasi:cli/run@0.2.0", &none, Some("only environment")),
            ("wasi:config/store@0.2.0-rc.1", &none, None),
            ("wasi:config/store@0.2.0-draft", &none, Some("0.2.0-rc.1")),
            ("wasi:sockets/tcp@0.2.3", &none, None),
            ("wasi:http/outgoing-handler@0.2.0", &none, Some("`grants.http`")),
            ("wasi:http/outgoing-handler@0.2.0", &keyvalue, Some("`grants.http`")),
            ("wasi:http/outgoing-handler@0.2.0", &http, None),
            ("wasi:http/outgoing-handler@0.2.0", &llm, None),
            ("wasi:http/incoming-handler@0.2.0", &http, Some("only types")),
            ("wasi:keyvalue/store@0.2.0-draft2", &http, Some("`grants.keyvalue`")),
            ("wasi:keyvalue/store@0.2.0-draft2", &keyvalue, None),
            ("cofferdam:tool/call@0.1.0", &http, Some("`grants.tools`")),
            ("cofferdam:tool/call@0.1.0", &tools, None),
            ("example:other/thing@1.0.0", &http, Some("nothing here")),
            ("log", &http, Some("nothing here")),
        ] {
            let found = uncovered(&[import.to_owned()], grants);
            match (found.as_slice(), expected) {
                ([], None) => {}
                ([one], Some(part)) => assert!(one.to_string().contains(part) && one.import == import, "{one}"),
                (found, expected) => panic!("{import}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
