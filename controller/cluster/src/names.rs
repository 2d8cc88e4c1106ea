//! Names, labels and annotations of a workload's objects, and reading them back. Pure.

use std::collections::BTreeMap;

use cofferdam_contract::{AgentId, OrganizationId};
use sha2::{Digest, Sha256};

use crate::WorkloadId;
use crate::answers::Marks;

pub(crate) const MANAGER: &str = "cofferdam";
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const ORGANIZATION: &str = "cofferdam.dev/organization";
pub(crate) const AGENT: &str = "cofferdam.dev/agent";
pub(crate) const VERSION: &str = "cofferdam.dev/version";
/// The workload's name; selects its pods.
pub(crate) const WORKLOAD: &str = "cofferdam.dev/workload";
/// An annotation of pods whose readiness probe nobody asked for: the one for agents that are built on the published SDK.
pub(crate) const DEFAULT_PROBE: &str = "cofferdam.dev/default-probe";
/// The name of the agent's container in its pod.
pub(crate) const CONTAINER: &str = "agent";

/// The maximum length of a Job's name and of a label's value.
const MAX_NAME: usize = 63;
/// Hex digits of the hash in a name. Organizations may share a namespace and choose equal agent ids.
const HASH_DIGITS: usize = 12;
/// Hex digits of the hash that replaces an invalid label value.
const LABEL_DIGITS: usize = 40;

/// The name of all objects of a workload: `cofferdam-{agent}-{hash of organization and agent}-v{version}`, with the agent's
/// id shortened if needed.
pub fn workload_name(id: &WorkloadId) -> String {
    let mut hash = Sha256::new();
    hash.update(id.organization.as_str());
    hash.update([0]);
    hash.update(id.agent.as_str());
    let end = format!("-{}-v{}", hex(hash, HASH_DIGITS), id.version);
    let room = MAX_NAME.saturating_sub(MANAGER.len() + 1 + end.len());
    let agent: String = id.agent.as_str().chars().take(room).collect();
    format!("{MANAGER}-{}{end}", agent.trim_end_matches('-'))
}

/// The labels of all objects of a workload. An id that is no valid label value is hashed; the annotations hold the id
/// itself.
pub(crate) fn labels(id: &WorkloadId) -> BTreeMap<String, String> {
    [
        (MANAGED_BY, MANAGER.to_owned()),
        (ORGANIZATION, label_value(id.organization.as_str())),
        (AGENT, label_value(id.agent.as_str())),
        (VERSION, id.version.to_string()),
        (WORKLOAD, workload_name(id)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

pub(crate) fn annotations(id: &WorkloadId) -> BTreeMap<String, String> {
    [(ORGANIZATION, id.organization.to_string()), (AGENT, id.agent.to_string()), (VERSION, id.version.to_string())]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

/// Reads the workload's id from an object's annotations.
pub(crate) fn read(marks: Option<&Marks>) -> Option<WorkloadId> {
    let marks = marks?;
    Some(WorkloadId {
        organization: OrganizationId::parse(marks.organization.as_deref()?).ok()?,
        agent: AgentId::parse(marks.agent.as_deref()?).ok()?,
        version: marks.version.as_deref()?.parse().ok()?,
    })
}

/// The selector of a workload's objects.
pub(crate) fn selector(id: &WorkloadId) -> String {
    format!("{MANAGED_BY}={MANAGER},{WORKLOAD}={}", workload_name(id))
}

/// An image reference is pinned if it names a digest.
pub(crate) fn is_pinned(image: &str) -> bool {
    let Some((name, digest)) = image.rsplit_once("@sha256:") else { return false };
    !name.is_empty()
        && name.contains('/')
        && !name.contains(|c: char| c.is_whitespace() || c == '@')
        && digest.len() == 64
        && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn label_value(text: &str) -> String {
    let fits = text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits { text.to_owned() } else { format!("h-{}", hex(Sha256::new_with_prefix(text), LABEL_DIGITS)) }
}

fn hex(hash: Sha256, digits: usize) -> String {
    let mut text = hex::encode(hash.finalize());
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(organization: &str, agent: &str, version: u64) -> WorkloadId {
        WorkloadId {
            organization: OrganizationId::parse(organization).unwrap(),
            agent: AgentId::parse(agent).unwrap(),
            version,
        }
    }

    #[test]
    fn names_fit_and_differ() {
        let mut all = Vec::new();
        for organization in ["default", "Org_1", &"o".repeat(64)] {
            for agent in
                ["a", "hello", &"a".repeat(64), &format!("{}b", "a".repeat(63)), &format!("a{}-b", "-".repeat(40))]
            {
                for version in [1, 12, u64::MAX] {
                    let name = workload_name(&id(organization, agent, version));
                    assert!(name.len() <= MAX_NAME, "{name}");
                    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
                    assert!(!name.ends_with('-') && name.starts_with("cofferdam-a") || agent == "hello", "{name}");
                    all.push(name);
                }
            }
        }
        let many = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), many);
        assert!(workload_name(&id("default", "hello", 3)).starts_with("cofferdam-hello-"));
        assert!(workload_name(&id("default", "hello", 3)).ends_with("-v3"));
    }

    #[test]
    fn labels_are_values_that_a_cluster_takes_and_ids_come_back() {
        for (organization, agent) in [("default", "hello"), ("Org_1_", "a"), ("-x-", &*"a".repeat(64))] {
            let id = id(organization, agent, 7);
            for (key, value) in labels(&id) {
                assert!(value.len() <= MAX_NAME && !value.is_empty(), "{key}={value}");
                assert!(value.as_bytes()[0].is_ascii_alphanumeric(), "{key}={value}");
                assert!(value.as_bytes()[value.len() - 1].is_ascii_alphanumeric(), "{key}={value}");
            }
            let marks: Marks = serde_json::from_value(serde_json::to_value(annotations(&id)).unwrap()).unwrap();
            assert_eq!(read(Some(&marks)), Some(id));
        }
        assert_eq!(read(None), None);
        assert_eq!(read(Some(&Marks { agent: Some("hello".to_owned()), ..Marks::default() })), None);
    }

    #[test]
    fn only_digests_pin() {
        let digest = "0123456789abcdef".repeat(4);
        assert!(is_pinned(&format!("registry.example:5000/a/b@sha256:{digest}")));
        for bad in [
            "registry.example/a/b:latest".to_owned(),
            "registry.example/a/b".to_owned(),
            format!("registry.example/a/b@sha256:{}", &digest[1..]),
            format!("registry.example/a/b@sha256:{}", digest.to_uppercase()),
            format!("registry.example/a/b@sha512:{digest}"),
            format!("@sha256:{digest}"),
            format!("a b/c@sha256:{digest}"),
            format!("a/b@sha256:{digest}@sha256:{digest}"),
        ] {
            assert!(!is_pinned(&bad), "{bad}");
        }
    }
}
