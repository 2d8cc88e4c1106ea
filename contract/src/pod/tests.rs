//! The forms that are taken and refused, and what an environment's lists admit.

use serde_json::{Value, json};

use super::*;

fn pod(value: Value) -> PodSettings {
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_a_cluster_takes_is_taken() {
    let all = pod(json!({
        "labels": {"team": "search", "example.com/cost-center": "0815", "app.kubernetes.io/name": "x", "empty": ""},
        "annotations": {"example.com/note": "any text: {}"},
        "tolerations": [{"key": "gpu"}, {"key": "example.com/dedicated", "value": "agents", "effect": "NoSchedule"}],
        "priority_class": "high.agents",
        "volumes": [{"name": "data", "mount_path": "/data", "claim": "agent-data", "read_only": true},
            {"name": "scratch", "mount_path": "/var/cache/x", "size": "1Gi"}],
    }));
    all.check().unwrap();
    assert_eq!(pod(serde_json::to_value(&all).unwrap()), all);
    PodSettings::default().check().unwrap();
    assert_eq!(serde_json::to_string(&PodSettings::default()).unwrap(), "{}");
}

#[test]
fn what_would_give_more_than_it_says_is_refused() {
    for (value, part) in [
        (json!({"labels": {"cofferdam.dev/organization": "other"}}), "reserved"),
        (json!({"labels": {"x.cofferdam.dev/y": "z"}}), "reserved"),
        (json!({"labels": {"app.kubernetes.io/part-of": "cofferdam"}}), "reserved"),
        (json!({"labels": {"app.kubernetes.io/component": "controller"}}), "reserved"),
        (json!({"labels": {"app.kubernetes.io/managed-by": "x"}}), "reserved"),
        (json!({"labels": {"job-name": "x"}}), "reserved"),
        (json!({"labels": {"batch.kubernetes.io/job-name": "x"}}), "reserved"),
        (json!({"annotations": {"container.apparmor.security.beta.kubernetes.io/agent": "unconfined"}}), "reserved"),
        (json!({"annotations": {"k8s.v1.cni.cncf.io/ networks": "x"}}), "not a key"),
        (json!({"annotations": {"cni.k8s.io/networks": "x"}}), "reserved"),
        (json!({"annotations": {"note": "x".repeat(5_000)}}), "4096 bytes"),
        (json!({"labels": {"a": "not a value"}}), "value"),
        (json!({"labels": {"-a": "x"}}), "key"),
        (json!({"labels": {"a/b/c": "x"}}), "key"),
        (json!({"replicas": 0}), "replicas"),
        (json!({"replicas": 1_000_000}), "replicas"),
        (json!({"tolerations": [{"key": ""}]}), "KEY"),
        (json!({"tolerations": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}), "reserved"),
        (json!({"tolerations": [{"key": "node-role.kubernetes.io/control-plane"}]}), "reserved"),
        (json!({"tolerations": [{"key": "x.k8s.io/y"}]}), "reserved"),
        (json!({"tolerations": [{"key": "cofferdam.dev/tenant", "value": "other"}]}), "reserved"),
        (json!({"priority_class": "System Node"}), "priority_class"),
        (json!({"volumes": [{"name": "a", "mount_path": "/a"}]}), "claim"),
        (json!({"volumes": [{"name": "a", "mount_path": "/a", "claim": "c", "size": "1Gi"}]}), "claim"),
        (json!({"volumes": [{"name": "a", "mount_path": "/a", "size": "much"}]}), "size"),
        (json!({"volumes": [{"name": "a", "mount_path": "a", "size": "1Gi"}]}), "mount_path"),
        (json!({"volumes": [{"name": "a", "mount_path": "/", "size": "1Gi"}]}), "mount_path"),
        (json!({"volumes": [{"name": "a", "mount_path": "/a/../etc", "size": "1Gi"}]}), "mount_path"),
        (json!({"volumes": [{"name": "a", "mount_path": "/proc/self", "size": "1Gi"}]}), "mount_path"),
        (json!({"volumes": [{"name": "a", "mount_path": "/var/run/secrets/x", "size": "1Gi"}]}), "mount_path"),
        (json!({"volumes": [{"name": "A", "mount_path": "/a", "size": "1Gi"}]}), "name"),
        (
            json!({"volumes": [{"name": "a", "mount_path": "/a", "size": "1"}, {"name": "a", "mount_path": "/b", "size": "1"}]}),
            "name",
        ),
        (
            json!({"volumes": [{"name": "a", "mount_path": "/a", "size": "1"}, {"name": "b", "mount_path": "/a", "size": "1"}]}),
            "mount_path",
        ),
    ] {
        let said = pod(value.clone()).check().unwrap_err();
        assert!(said.contains(part), "{value}: {said}");
    }
    for none in [
        json!({"volumes": [{"name": "a", "mount_path": "/a", "host_path": "/"}]}),
        json!({"host_network": true}),
        json!({"tolerations": [{"key": "a", "operator": "Exists"}]}),
        json!({"tolerations": [{"effect": "NoSchedule"}]}),
    ] {
        assert!(serde_json::from_value::<PodSettings>(none.clone()).is_err(), "{none}");
    }
    let many: BTreeMap<String, String> = (0..=MAX_LABELS).map(|n| (format!("l{n}"), String::new())).collect();
    assert!(PodSettings { labels: many, ..PodSettings::default() }.check().unwrap_err().contains("at most"));
}

#[test]
fn the_documentation_has_these_bounds() {
    let document = include_str!("../../../docs/agents.md");
    let row = |field: &str| {
        let begin = format!("| `{field}` |");
        document.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("no row of {field}"))
    };
    for (field, says) in [
        ("labels", format!("up to {MAX_LABELS},")),
        ("annotations", format!("up to {MAX_LABELS} of {} KiB", MAX_ANNOTATION_BYTES >> 10)),
        ("tolerations", format!("up to {MAX_TOLERATIONS} ")),
        ("volumes", format!("up to {MAX_VOLUMES} ")),
        ("replicas", format!("up to {MAX_REPLICAS} ")),
    ] {
        assert!(row(field).contains(&says), "{field} does not say {says:?}: {}", row(field));
    }
}

#[test]
fn only_what_is_listed_is_admitted() {
    let allowed = AllowedPods {
        labels: vec!["team".into(), "example.com/*".into()],
        claims: vec!["shared".into()],
        priority_classes: vec!["agents".into()],
        max_replicas: Some(3),
        ..AllowedPods::default()
    };
    allowed.check().unwrap();
    let good = pod(json!({"labels": {"team": "x", "example.com/a": "y"}, "priority_class": "agents", "replicas": 3,
        "volumes": [{"name": "a", "mount_path": "/a", "claim": "shared"}, {"name": "b", "mount_path": "/b", "size": "1"}]}));
    allowed.admit(&good).unwrap();
    for (value, setting) in [
        (json!({"replicas": 4}), "pods.max_replicas"),
        (json!({"labels": {"app": "payments"}}), "pods.labels"),
        (json!({"annotations": {"iam.amazonaws.com/role": "admin"}}), "pods.annotations"),
        (json!({"tolerations": [{"key": "gpu"}]}), "pods.tolerations"),
        (json!({"priority_class": "system-node-critical"}), "pods.priority_classes"),
        (json!({"volumes": [{"name": "a", "mount_path": "/a", "claim": "of-another"}]}), "pods.claims"),
    ] {
        let said = allowed.admit(&pod(value.clone())).unwrap_err();
        assert!(said.contains(setting), "{value}: {said}");
    }
    let scratch = pod(json!({"volumes": [{"name": "b", "mount_path": "/b", "size": "1Gi"}]}));
    AllowedPods::default().admit(&scratch).unwrap();
    assert!(AllowedPods::default().admit(&pod(json!({"replicas": 2}))).is_err());
    assert!(AllowedPods { max_replicas: Some(0), ..AllowedPods::default() }.check().is_err());
    for bad in ["", "a b", "a*b", "-"] {
        let list = AllowedPods { labels: vec![bad.into()], ..AllowedPods::default() };
        assert!(list.check().is_err(), "{bad:?}");
    }
}
