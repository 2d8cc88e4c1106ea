//! What needs an API server with its controllers and no node.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_contract::FailureReason;
use cofferdam_controller::cluster::{ClusterError, Clusters, Options, Seen, workload_name};
use cofferdam_controller::config::Secret;
use cofferdam_controller::environments::{ClusterAccess, Environment};
use cofferdam_controller::policy::Cidr;
use futures_util::FutureExt;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota, Secret as KubeSecret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Case, Place};

pub const CASES: &[Case] = &[
    ("applying again changes nothing", |place| again(place).boxed()),
    ("a version cannot be changed", |place| changed(place).boxed()),
    ("the restricted pod security standard takes our pods", |place| restricted(place).boxed()),
    ("removed, everything is gone, and can be made again", |place| removed(place).boxed()),
    ("a Job deleted by hand takes its Secret along", |place| by_hand(place).boxed()),
    ("a quota without room for pods", |place| quota(place).boxed()),
    ("a quota without room for Secrets", |place| quota_of_secrets(place).boxed()),
    ("a LimitRange that allows less", |place| limit_range(place).boxed()),
    ("a namespace that is not there", |place| no_namespace(place).boxed()),
    ("a user without rights, and with exactly those that are asked for", |place| rights(place).boxed()),
    ("quantities that are none", |place| quantities(place).boxed()),
    ("a pod's status as a kubelet writes it", |place| statuses(place).boxed()),
];

/// Uid and version of all that we make; of the Job its generation, for its status changes by itself.
async fn versions(place: &Place) -> BTreeMap<String, String> {
    let name = workload_name(&place.workload().id);
    let mut all = BTreeMap::new();
    let secret = place.objects::<KubeSecret>().get(&name).await.unwrap();
    all.insert("secret".to_owned(), format!("{:?} {:?}", secret.uid(), secret.resource_version()));
    let account = place.objects::<ServiceAccount>().get(&name).await.unwrap();
    all.insert("account".to_owned(), format!("{:?} {:?}", account.uid(), account.resource_version()));
    let policy = place.objects::<NetworkPolicy>().get(&name).await.unwrap();
    all.insert("policy".to_owned(), format!("{:?} {:?}", policy.uid(), policy.resource_version()));
    let job = place.objects::<Job>().get(&name).await.unwrap();
    let ours = job.managed_fields().iter().find(|fields| fields.manager.as_deref() == Some("cofferdam")).cloned();
    all.insert("job".to_owned(), format!("{:?} {:?} {:?}", job.uid(), job.metadata.generation, ours.unwrap().time));
    all
}

async fn again(place: Place) {
    let cluster = place.cluster();
    cluster.apply(&place.workload()).await.unwrap();
    let first = versions(&place).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    cluster.apply(&place.workload()).await.unwrap();
    // A new client, as of a controller that was started anew.
    place.cluster().apply(&place.workload()).await.unwrap();
    assert_eq!(versions(&place).await, first);
    assert_eq!(cluster.list().await.unwrap(), [place.workload().id]);
}

async fn changed(place: Place) {
    let cluster = place.cluster();
    cluster.apply(&place.workload()).await.unwrap();
    let first = versions(&place).await;
    let mut image = place.workload();
    image.image = format!("registry.example/other@sha256:{}", "a".repeat(64));
    let mut env = place.workload();
    env.env.insert("GREETING".to_owned(), Secret::new("another-secret-value"));
    for other in [image, env] {
        let error = cluster.apply(&other).await.unwrap_err();
        assert!(matches!(&error, ClusterError::Refused(text) if text.contains("deploy again")), "{error:?}");
        assert!(!error.to_string().contains("another-secret-value"), "{error:?}");
    }
    assert_eq!(versions(&place).await, first);
}

async fn pod_of(place: &Place) -> Pod {
    for _ in 0..100 {
        let pods = place.objects::<Pod>().list(&ListParams::default()).await.unwrap().items;
        if let Some(pod) = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()) {
            return pod;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no pod");
}

async fn restricted(place: Place) {
    place.cluster().apply(&place.workload()).await.unwrap();
    let pod = pod_of(&place).await;
    let spec = pod.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert!(spec.volumes.unwrap_or_default().is_empty(), "no token");
    assert_eq!(spec.containers[0].image.as_deref(), Some(place.image.as_str()));
}

async fn removed(place: Place) {
    let cluster = place.cluster();
    let id = place.workload().id;
    cluster.remove(&id).await.unwrap();
    cluster.apply(&place.workload()).await.unwrap();
    pod_of(&place).await;
    cluster.remove(&id).await.unwrap();
    assert_eq!(cluster.see(&id).await.unwrap(), Seen::Gone);
    let name = workload_name(&id);
    assert!(place.objects::<KubeSecret>().get_opt(&name).await.unwrap().is_none());
    assert!(place.objects::<ServiceAccount>().get_opt(&name).await.unwrap().is_none());
    assert!(place.objects::<NetworkPolicy>().get_opt(&name).await.unwrap().is_none());
    assert!(place.objects::<Pod>().list(&ListParams::default()).await.unwrap().items.is_empty());
    cluster.apply(&place.workload()).await.unwrap();
    assert_eq!(cluster.list().await.unwrap(), [id]);
}

async fn by_hand(place: Place) {
    let cluster = place.cluster();
    let id = place.workload().id;
    let name = workload_name(&id);
    cluster.apply(&place.workload()).await.unwrap();
    place.objects::<Job>().delete(&name, &DeleteParams::background()).await.unwrap();
    place.until(&cluster, &id, "gone", |seen| *seen == Seen::Gone).await;
    for _ in 0..150 {
        if place.objects::<KubeSecret>().get_opt(&name).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(place.objects::<KubeSecret>().get_opt(&name).await.unwrap().is_none(), "the Secret is still there");
    assert!(place.objects::<NetworkPolicy>().get_opt(&name).await.unwrap().is_some(), "the policy outlives the pods");
    cluster.apply(&place.workload()).await.unwrap();
    cluster.remove(&id).await.unwrap();
}

async fn quota(place: Place) {
    place.put::<ResourceQuota>(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cluster = place.cluster();
    cluster.apply(&place.workload()).await.unwrap();
    let id = place.workload().id;
    let seen = place.until(&cluster, &id, "failed", |seen| matches!(seen, Seen::Failed(_))).await;
    let Seen::Failed(failure) = seen else { unreachable!() };
    assert_eq!(failure.reason, FailureReason::Cluster);
    assert!(failure.detail.contains("quota") && failure.detail.contains("pods=0"), "{failure:?}");
}

async fn quota_of_secrets(place: Place) {
    place.put::<ResourceQuota>(json!({"metadata": {"name": "none"}, "spec": {"hard": {"secrets": "0"}}})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = place.cluster().apply(&place.workload()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(text) if text.contains("quota of namespace")), "{error:?}");
}

async fn limit_range(place: Place) {
    let limits = json!([{"type": "Container", "max": {"memory": "64Mi"}}]);
    place.put::<LimitRange>(json!({"metadata": {"name": "small"}, "spec": {"limits": limits}})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cluster = place.cluster();
    cluster.apply(&place.workload()).await.unwrap();
    let id = place.workload().id;
    let seen = place.until(&cluster, &id, "failed", |seen| matches!(seen, Seen::Failed(_))).await;
    assert!(matches!(&seen, Seen::Failed(failure) if failure.detail.contains("LimitRange")), "{seen:?}");
}

async fn no_namespace(place: Place) {
    let environment = Environment { namespace: "cofferdam-e2e-nowhere".to_owned(), ..place.environment() };
    let cluster = Clusters::new(place.options()).connect(&environment).unwrap();
    let error = cluster.apply(&place.workload()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(text) if text.contains("no namespace")), "{error:?}");
    assert_eq!(cluster.see(&place.workload().id).await.unwrap(), Seen::Gone);
}

async fn rights(place: Place) {
    place.put::<ServiceAccount>(json!({"metadata": {"name": "deployer"}})).await;
    let request: TokenRequest =
        serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}})).unwrap();
    let token =
        place.objects::<ServiceAccount>().create_token_request("deployer", &PostParams::default(), &request).await;
    let token = token.unwrap().status.unwrap().token;
    // The same cluster, handed over with the token of that account.
    let own = kube::config::Kubeconfig::read_from(&place.path).unwrap();
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
    let environment = Environment { cluster: ClusterAccess::Kubeconfig { yaml, context: None }, ..place.environment() };
    let options = Options { private: vec![Cidr::parse("127.0.0.0/8").unwrap()], ..place.options() };
    let cluster = Clusters::new(options).connect(&environment).unwrap();
    let error = cluster.apply(&place.workload()).await.unwrap_err();
    let good = matches!(&error, ClusterError::Refused(text) if text.contains("cannot get resource \"jobs\"") && text.contains("Role"));
    assert!(good && !error.to_string().contains(&token), "{error:?}");

    // What that error asks for, and nothing else.
    let verbs = ["get", "list", "create", "patch", "delete"];
    place
        .put::<Role>(json!({"metadata": {"name": "deployer"}, "rules": [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": verbs},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["get", "list"]},
        ]}))
        .await;
    place
        .put::<RoleBinding>(json!({
            "metadata": {"name": "deployer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": place.namespace}],
        }))
        .await;
    for attempt in 0.. {
        match cluster.apply(&place.workload()).await {
            Ok(()) => break,
            // A Role takes a moment to be seen by the authorizer.
            Err(error) => assert!(attempt < 20, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    cluster.apply(&place.workload()).await.unwrap();
    let id = place.workload().id;
    assert_eq!(cluster.list().await.unwrap(), std::slice::from_ref(&id));
    pod_of(&place).await;
    cluster.see(&id).await.unwrap();
    assert_eq!(cluster.pods(&id).await.unwrap().len(), 1);
    cluster.remove(&id).await.unwrap();
    assert_eq!(cluster.see(&id).await.unwrap(), Seen::Gone);

    let environment = Environment {
        cluster: ClusterAccess::Kubeconfig {
            yaml: Secret::new(kubeconfig.to_string().replace(&token, "a-token-that-is-none")),
            context: None,
        },
        ..environment
    };
    let options = Options { private: vec![Cidr::parse("127.0.0.0/8").unwrap()], ..place.options() };
    let error = Clusters::new(options).connect(&environment).unwrap().see(&id).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(text) if text.contains("(401)")), "{error:?}");
}

async fn quantities(place: Place) {
    let mut workload = place.workload();
    workload.resources.memory = Some("lots".to_owned());
    let error = place.cluster().apply(&workload).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(text) if text.contains("does not take the Job")), "{error:?}");
}

/// Without a node nobody but the test writes it.
async fn statuses(place: Place) {
    let cluster = place.cluster();
    let mut workload = place.workload();
    // Nodes, where there are some, do not take it.
    workload.architecture = "none-at-all".to_owned();
    cluster.apply(&workload).await.unwrap();
    let pod = pod_of(&place).await;
    let pods = place.objects::<Pod>();
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
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&state)).await.unwrap();
        let seen = place.until(
            &cluster,
            &workload.id,
            "failed",
            |seen| matches!(seen, Seen::Failed(failure) if failure.reason == reason),
        );
        let Seen::Failed(failure) = seen.await else { unreachable!() };
        if reason == FailureReason::Exited {
            assert_eq!((failure.exit_code, failure.last_lines), (Some(3), vec!["the end".to_owned()]));
        }
    }
}
