//! Pod settings of a deployment, as the cluster gets them and as a dry run shows them.

use cofferdam_cluster::{ClusterError, Clusters};
use cofferdam_contract::PodSettings;
use serde_json::{Value, json};

use super::api::{Api, NAMESPACE, job_path, workload};

fn asks() -> PodSettings {
    serde_json::from_value(json!({
        "labels": {"team": "search"}, "annotations": {"example.com/note": "x"},
        "tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"key": "spot"}],
        "priority_class": "low", "replicas": 3,
        "volumes": [{"name": "data", "mount_path": "/data", "claim": "agent-data", "read_only": true},
            {"name": "scratch", "mount_path": "/scratch", "size": "1Gi"}],
    }))
    .unwrap()
}

#[tokio::test]
async fn a_pod_gets_what_it_asks_for_and_our_labels_win() {
    let api = Api::start().await;
    let mut wanted = workload();
    wanted.pod = asks();
    api.cluster().apply(&wanted).await.unwrap();
    let job = api.object(&job_path()).unwrap();
    let (metadata, template) = (&job["metadata"], &job["spec"]["template"]);
    assert_eq!(
        (&metadata["labels"]["team"], &template["metadata"]["labels"]["team"]),
        (&json!("search"), &json!("search"))
    );
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/managed-by"], "cofferdam");
    assert_eq!(template["metadata"]["annotations"]["example.com/note"], "x");
    let pod = &template["spec"];
    assert_eq!(pod["priorityClassName"], "low");
    assert_eq!((&job["spec"]["parallelism"], &job["spec"]["completions"]), (&json!(3), &json!(3_000_000)));
    assert_eq!(
        pod["tolerations"],
        json!([{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Exists"}])
    );
    assert_eq!(
        pod["volumes"],
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "agent-data", "readOnly": true}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}])
    );
    assert_eq!(
        pod["containers"][0]["volumeMounts"],
        json!([{"name": "data", "mountPath": "/data", "readOnly": true}, {"name": "scratch", "mountPath": "/scratch"}])
    );
    // Reserved keys never reach a cluster, whoever let them through.
    wanted.pod.labels.insert("cofferdam.dev/organization".into(), "other".into());
    let error = api.cluster().apply(&wanted).await.unwrap_err();
    assert!(matches!(error, ClusterError::Refused(_)) && error.to_string().contains("reserved"), "{error}");
}

#[tokio::test]
async fn a_dry_run_shows_everything_but_the_values() {
    let api = Api::start().await;
    let mut wanted = workload();
    wanted.pod = asks();
    let shown = api.clusters.manifests(NAMESPACE, &wanted).unwrap();
    let kinds: Vec<&Value> = shown.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["NetworkPolicy", "ServiceAccount", "Secret", "Job"]);
    assert!(
        shown.iter().all(|object| object["metadata"]["namespace"] == NAMESPACE && object["apiVersion"].is_string())
    );
    let text = serde_json::to_string(&shown).unwrap();
    assert!(text.contains("API_KEY") && text.contains("agent-data"), "{text}");
    for value in wanted.env.values() {
        let hidden = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value.expose());
        assert!(!text.contains(&hidden), "{text}");
    }
    assert!(!text.contains("a-secret-value-of-the-agent"), "{text}");
    assert!(api.asked().is_empty(), "no cluster was asked");
    wanted.image = "registry.example/a:latest".into();
    assert!(api.clusters.manifests(NAMESPACE, &wanted).is_err());
}
