//! Tests that need an API server with its controllers and no node.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_cluster::{Access, ClusterError, KubernetesClusters, Options, Seen, workload_name};
use cofferdam_contract::FailureReason;
use cofferdam_core::Secret;
use cofferdam_policy::Cidr;
use futures_util::FutureExt;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota, Secret as KubeSecret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Case, Testbed, said};
use crate::api::{self, Settings};

pub(super) const CASES: &[Case] = &[
    ("applying again changes nothing", |testbed| again(testbed).boxed()),
    ("a version cannot be changed", |testbed| changed(testbed).boxed()),
    ("the restricted pod security standard takes our pods", |testbed| restricted(testbed).boxed()),
    ("removed, everything is gone, and can be made again", |testbed| removed(testbed).boxed()),
    ("a Job deleted by hand takes its Secret along", |testbed| by_hand(testbed).boxed()),
    ("a quota without room for pods", |testbed| quota(testbed).boxed()),
    ("a quota without room for Secrets", |testbed| quota_of_secrets(testbed).boxed()),
    ("a LimitRange that allows less", |testbed| limit_range(testbed).boxed()),
    ("a namespace that is not there", |testbed| no_namespace(testbed).boxed()),
    ("a user without rights, and with exactly those that are asked for", |testbed| rights(testbed).boxed()),
    ("what a deployment asks of its pod", |testbed| asked(testbed).boxed()),
    ("quantities that are none", |testbed| quantities(testbed).boxed()),
    ("a pod's status as a kubelet writes it", |testbed| statuses(testbed).boxed()),
];

/// Uid and version of everything that we create; the Job's generation, because its status changes on its own.
async fn versions(testbed: &Testbed) -> BTreeMap<String, String> {
    let name = workload_name(&testbed.workload().id);
    let mut all = BTreeMap::new();
    let secret = testbed.objects::<KubeSecret>().get(&name).await.unwrap();
    all.insert("secret".to_owned(), format!("{:?} {:?}", secret.uid(), secret.resource_version()));
    let account = testbed.objects::<ServiceAccount>().get(&name).await.unwrap();
    all.insert("account".to_owned(), format!("{:?} {:?}", account.uid(), account.resource_version()));
    let policy = testbed.objects::<NetworkPolicy>().get(&name).await.unwrap();
    all.insert("policy".to_owned(), format!("{:?} {:?}", policy.uid(), policy.resource_version()));
    let job = testbed.objects::<Job>().get(&name).await.unwrap();
    let ours = job.managed_fields().iter().find(|fields| fields.manager.as_deref() == Some("cofferdam")).cloned();
    all.insert("job".to_owned(), format!("{:?} {:?} {:?}", job.uid(), job.metadata.generation, ours.unwrap().time));
    all
}

async fn again(testbed: Testbed) {
    let cluster = testbed.cluster();
    cluster.apply(&testbed.workload()).await.unwrap();
    let first = versions(&testbed).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    cluster.apply(&testbed.workload()).await.unwrap();
    // A new client, as of a controller that was started anew.
    testbed.cluster().apply(&testbed.workload()).await.unwrap();
    assert_eq!(versions(&testbed).await, first);
    assert_eq!(cluster.list().await.unwrap(), [testbed.workload().id]);
}

async fn changed(testbed: Testbed) {
    let cluster = testbed.cluster();
    cluster.apply(&testbed.workload()).await.unwrap();
    let first = versions(&testbed).await;
    let mut image = testbed.workload();
    image.image = format!("registry.example/other@sha256:{}", "a".repeat(64));
    let mut env = testbed.workload();
    env.env.insert("GREETING".to_owned(), Secret::new("another-secret-value"));
    for other in [image, env] {
        let error = cluster.apply(&other).await.unwrap_err();
        assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &["deploy again"])), "{error:?}");
        assert!(!error.to_string().contains("another-secret-value"), "{error:?}");
    }
    assert_eq!(versions(&testbed).await, first);
}

async fn pod_of(testbed: &Testbed) -> Pod {
    for _ in 0..100 {
        let pods = testbed.objects::<Pod>().list(&ListParams::default()).await.unwrap().items;
        if let Some(pod) = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()) {
            return pod;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no pod");
}

async fn restricted(testbed: Testbed) {
    testbed.cluster().apply(&testbed.workload()).await.unwrap();
    let pod = pod_of(&testbed).await;
    let spec = pod.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert!(spec.volumes.unwrap_or_default().is_empty(), "no token");
    assert_eq!(spec.containers[0].image.as_deref(), Some(testbed.image.as_str()));
}

async fn removed(testbed: Testbed) {
    let cluster = testbed.cluster();
    let id = testbed.workload().id;
    cluster.remove(&id).await.unwrap();
    cluster.apply(&testbed.workload()).await.unwrap();
    pod_of(&testbed).await;
    cluster.remove(&id).await.unwrap();
    assert_eq!(cluster.see(&id).await.unwrap(), Seen::Gone);
    let name = workload_name(&id);
    assert!(testbed.objects::<KubeSecret>().get_opt(&name).await.unwrap().is_none());
    assert!(testbed.objects::<ServiceAccount>().get_opt(&name).await.unwrap().is_none());
    assert!(testbed.objects::<NetworkPolicy>().get_opt(&name).await.unwrap().is_none());
    assert!(testbed.objects::<Pod>().list(&ListParams::default()).await.unwrap().items.is_empty());
    cluster.apply(&testbed.workload()).await.unwrap();
    assert_eq!(cluster.list().await.unwrap(), [id]);
}

async fn by_hand(testbed: Testbed) {
    let cluster = testbed.cluster();
    let id = testbed.workload().id;
    let name = workload_name(&id);
    cluster.apply(&testbed.workload()).await.unwrap();
    testbed.objects::<Job>().delete(&name, &DeleteParams::background()).await.unwrap();
    testbed.until(&cluster, &id, "gone", |seen| *seen == Seen::Gone).await;
    for _ in 0..150 {
        if testbed.objects::<KubeSecret>().get_opt(&name).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(testbed.objects::<KubeSecret>().get_opt(&name).await.unwrap().is_none(), "the Secret is still there");
    assert!(testbed.objects::<NetworkPolicy>().get_opt(&name).await.unwrap().is_some(), "the policy outlives the pods");
    cluster.apply(&testbed.workload()).await.unwrap();
    cluster.remove(&id).await.unwrap();
}

async fn quota(testbed: Testbed) {
    testbed.put::<ResourceQuota>(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cluster = testbed.cluster();
    cluster.apply(&testbed.workload()).await.unwrap();
    let id = testbed.workload().id;
    let seen = testbed.until(&cluster, &id, "failed", |seen| matches!(seen, Seen::Failed(_))).await;
    let Seen::Failed(failure) = seen else { unreachable!() };
    assert_eq!(failure.reason, FailureReason::Cluster);
    assert!(said(&failure).contains("quota") && said(&failure).contains("pods=0"), "{failure:?}");
}

async fn quota_of_secrets(testbed: Testbed) {
    testbed.put::<ResourceQuota>(json!({"metadata": {"name": "none"}, "spec": {"hard": {"secrets": "0"}}})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = testbed.cluster().apply(&testbed.workload()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &["quota of namespace"])), "{error:?}");
}

async fn limit_range(testbed: Testbed) {
    let limits = json!([{"type": "Container", "max": {"memory": "64Mi"}}]);
    testbed.put::<LimitRange>(json!({"metadata": {"name": "small"}, "spec": {"limits": limits}})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cluster = testbed.cluster();
    cluster.apply(&testbed.workload()).await.unwrap();
    let id = testbed.workload().id;
    let seen = testbed.until(&cluster, &id, "failed", |seen| matches!(seen, Seen::Failed(_))).await;
    assert!(matches!(&seen, Seen::Failed(failure) if said(failure).contains("LimitRange")), "{seen:?}");
}

async fn no_namespace(testbed: Testbed) {
    let settings = Settings { namespace: "cofferdam-e2e-nowhere".to_owned(), ..testbed.settings() };
    let cluster = settings.connect(&KubernetesClusters::new(testbed.options())).unwrap();
    let error = cluster.apply(&testbed.workload()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &["no namespace"])), "{error:?}");
    assert_eq!(cluster.see(&testbed.workload().id).await.unwrap(), Seen::Gone);
}

async fn asked(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = testbed.workload();
    workload.pod = serde_json::from_value(json!({
        "labels": {"team": "search"}, "annotations": {"example.com/note": "x"}, "tolerations": [{"key": "gpu"}],
        "volumes": [{"name": "scratch", "mount_path": "/scratch", "size": "64Mi"}], "replicas": 2,
    }))
    .unwrap();
    cluster.apply(&workload).await.unwrap();
    let name = workload_name(&workload.id);
    let job = testbed.objects::<Job>().get(&name).await.unwrap();
    assert_eq!((job.labels()["team"].as_str(), job.spec.as_ref().unwrap().parallelism), ("search", Some(2)));
    let pod = pod_of(&testbed).await;
    let spec = pod.spec.as_ref().unwrap();
    assert!(spec.volumes.iter().flatten().any(|volume| volume.name == "scratch"), "{spec:?}");
    assert_eq!((pod.labels()["team"].as_str(), pod.annotations()["example.com/note"].as_str()), ("search", "x"));
    cluster.remove(&workload.id).await.unwrap();
}

async fn rights(testbed: Testbed) {
    testbed.put::<ServiceAccount>(json!({"metadata": {"name": "deployer"}})).await;
    let request: TokenRequest =
        serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}})).unwrap();
    let token =
        testbed.objects::<ServiceAccount>().create_token_request("deployer", &PostParams::default(), &request).await;
    let token = token.unwrap().status.unwrap().token;
    // The same cluster, handed over with the token of that account.
    let own = kube::config::Kubeconfig::read_from(&testbed.path).unwrap();
    let mut cluster = own.clusters[0].cluster.clone().unwrap();
    if let Some(file) = cluster.certificate_authority.take() {
        use base64::Engine;
        let pem = std::fs::read(file).unwrap();
        cluster.certificate_authority_data = Some(base64::engine::general_purpose::STANDARD.encode(pem));
    }
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": {"token": token}}],
    });
    let yaml = Secret::new(kubeconfig.to_string());
    let settings = Settings { access: Access::Kubeconfig { yaml, context: None }, ..testbed.settings() };
    let options = Options { private: vec![Cidr::parse("127.0.0.0/8").unwrap()], ..testbed.options() };
    let cluster = settings.connect(&KubernetesClusters::new(options)).unwrap();
    let error = cluster.apply(&testbed.workload()).await.unwrap_err();
    let good =
        matches!(&error, ClusterError::Refused(words) if api::says(words, &["cannot get resource \"jobs\"", "Role"]));
    assert!(good && !error.to_string().contains(&token), "{error:?}");
    let found = cluster.check().await.unwrap();
    assert!(found.iter().any(|finding| finding.about == "jobs" && !finding.good), "{found:#?}");

    // What that error asks for, and nothing else.
    let verbs = ["get", "list", "create", "patch", "delete"];
    testbed
        .put::<Role>(json!({"metadata": {"name": "deployer"}, "rules": [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": verbs},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["get", "list"]},
        ]}))
        .await;
    testbed
        .put::<RoleBinding>(json!({
            "metadata": {"name": "deployer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": testbed.namespace}],
        }))
        .await;
    for attempt in 0.. {
        match cluster.apply(&testbed.workload()).await {
            Ok(()) => break,
            // A Role takes a moment to be seen by the authorizer.
            Err(error) => assert!(attempt < 20, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let found = cluster.check().await.unwrap();
    assert!(found.iter().all(|finding| finding.good), "{found:#?}");
    cluster.apply(&testbed.workload()).await.unwrap();
    let id = testbed.workload().id;
    assert_eq!(cluster.list().await.unwrap(), std::slice::from_ref(&id));
    pod_of(&testbed).await;
    cluster.see(&id).await.unwrap();
    assert_eq!(cluster.pods(&id).await.unwrap().len(), 1);
    cluster.remove(&id).await.unwrap();
    assert_eq!(cluster.see(&id).await.unwrap(), Seen::Gone);

    let settings = Settings {
        access: Access::Kubeconfig {
            yaml: Secret::new(kubeconfig.to_string().replace(&token, "a-token-that-is-none")),
            context: None,
        },
        ..settings
    };
    let options = Options { private: vec![Cidr::parse("127.0.0.0/8").unwrap()], ..testbed.options() };
    let error = settings.connect(&KubernetesClusters::new(options)).unwrap().see(&id).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &["(401)"])), "{error:?}");
}

async fn quantities(testbed: Testbed) {
    let mut workload = testbed.workload();
    workload.resources.memory = Some("lots".to_owned());
    let error = testbed.cluster().apply(&workload).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::Refused(words) if api::says(words, &["does not take the Job"])),
        "{error:?}"
    );
}

/// Without a node only the test writes it.
async fn statuses(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = testbed.workload();
    // Nodes, where there are some, do not take it.
    workload.architecture = "none-at-all".to_owned();
    cluster.apply(&workload).await.unwrap();
    let pod = pod_of(&testbed).await;
    let pods = testbed.objects::<Pod>();
    let status = |waiting: serde_json::Value, restarts: u32, last: serde_json::Value| {
        json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [{
            "name": "agent", "image": "x", "imageID": "", "ready": false, "restartCount": restarts,
            "state": {"waiting": waiting}, "lastState": last,
        }]}})
    };
    let crashed = json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "the end\n"}});
    for (state, reason) in [
        (
            status(json!({"reason": "ErrImagePull", "message": "401 Unauthorized"}), 0, json!({})),
            FailureReason::ImagePull,
        ),
        (
            status(json!({"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}), 0, json!({})),
            FailureReason::CannotStart,
        ),
        (status(json!({"reason": "CrashLoopBackOff"}), 2, crashed), FailureReason::Exited),
    ] {
        let started = std::time::Instant::now();
        let failure = loop {
            // Where a scheduler runs, it writes the pod's conditions too.
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&state)).await.unwrap();
            let seen = cluster.see(&workload.id).await.unwrap();
            match &seen {
                Seen::Failed(failure) | Seen::Crashed { failure, .. } if failure.reason == reason => {
                    break failure.clone();
                }
                _ => assert!(started.elapsed() < Duration::from_secs(60), "not {reason:?}: {seen:?}"),
            }
        };
        if reason == FailureReason::Exited {
            assert_eq!((failure.exit_code, failure.last_lines), (Some(3), vec!["the end".to_owned()]));
        }
    }
}
