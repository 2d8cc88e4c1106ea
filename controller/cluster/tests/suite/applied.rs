//! The objects of a workload as they are sent; sending them again changes nothing.

use std::sync::Arc;

use cofferdam_cluster::{ClusterError, Mended, NOBODY, Workload, workload_name};
use cofferdam_contract::AgentId;
use cofferdam_core::Secret;
use http::Method;
use serde_json::{Value, json};

use super::api::{self, Answer, Api, NAMESPACE, TOKEN, core_path, id, job_path, status, workload};

fn policy_path() -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/{}", workload_name(&id()))
}

#[tokio::test]
async fn a_workload_is_a_secret_an_account_a_policy_and_then_a_job() {
    let api = Api::start().await;
    let cluster = api.cluster();
    cluster.apply(&workload()).await.unwrap();

    let name = workload_name(&id());
    let asked = api.asked();
    assert!(asked.iter().all(|asked| asked.authorization == format!("Bearer {TOKEN}")));
    let applied: Vec<_> = asked.iter().filter(|asked| asked.method == Method::PATCH).collect();
    assert!(applied.iter().all(|asked| {
        asked.content_type == "application/apply-patch+yaml" && asked.path.contains("fieldManager=cofferdam")
    }));
    let job_at = applied.iter().position(|asked| asked.path.starts_with(&job_path())).unwrap();
    for kind in ["/secrets/", "/serviceaccounts/", "/networkpolicies/"] {
        assert!(applied.iter().position(|asked| asked.path.contains(kind)).unwrap() < job_at, "{kind} after the Job");
    }

    let secret = api.object(&format!("{}/{name}", core_path("secrets"))).unwrap();
    assert_eq!((&secret["immutable"], &secret["type"]), (&json!(true), &json!("Opaque")));
    // Strings stay what they are.
    assert_eq!(secret["data"]["NUMBER"], "MDA3");
    let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": api.object(&job_path()).unwrap()["metadata"]["uid"]}]);
    assert_eq!(secret["metadata"]["ownerReferences"], owner);
    let account = api.object(&format!("{}/{name}", core_path("serviceaccounts"))).unwrap();
    assert_eq!(
        (&account["automountServiceAccountToken"], &account["metadata"]["ownerReferences"]),
        (&json!(false), &owner)
    );

    let policy = api.object(&policy_path()).unwrap();
    assert_eq!(policy["metadata"].get("ownerReferences"), None);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"].get("ingress"), None);
    assert_eq!(policy["spec"]["podSelector"], json!({"matchLabels": {"cofferdam.dev/workload": name}}));
    let [ours, dns] = policy["spec"]["egress"].as_array().unwrap().as_slice() else { panic!("{policy}") };
    assert_eq!(ours["to"][0]["namespaceSelector"]["matchLabels"], json!({"kubernetes.io/metadata.name": "cofferdam"}));
    assert_eq!(ours["to"].as_array().unwrap().len(), 1);
    assert_eq!(dns["ports"], json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]));
    // No part of it opens everything.
    for peer in [&ours["to"][0], &dns["to"][0]] {
        assert!(peer["podSelector"] != json!({}) && peer.get("podSelector").is_some(), "{peer}");
    }

    let job = api.object(&job_path()).unwrap();
    assert_eq!(job["metadata"]["labels"]["app.kubernetes.io/managed-by"], "cofferdam");
    assert_eq!(job["spec"]["podReplacementPolicy"], "Failed");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 3_600);
    assert_eq!(job["spec"].get("activeDeadlineSeconds"), None);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!((&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]), (&json!(false), &json!(false)));
    assert_eq!((&pod["restartPolicy"], &pod["serviceAccountName"]), (&json!("OnFailure"), &json!(name)));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["nodeSelector"]["kubernetes.io/arch"], "amd64");
    let user = &pod["securityContext"];
    assert_eq!((&user["runAsNonRoot"], &user["runAsUser"]), (&json!(true), &json!(NOBODY)));
    assert_eq!(user["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    assert_eq!(container["image"], workload().image);
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": name, "optional": false}}]));
    assert_eq!(container["resources"]["limits"], json!({"cpu": "500m", "memory": "256Mi"}));
    assert_eq!(container["resources"]["limits"], container["resources"]["requests"]);
    let limits = &container["securityContext"];
    assert_eq!(
        (&limits["allowPrivilegeEscalation"], &limits["capabilities"]),
        (&json!(false), &json!({"drop": ["ALL"]}))
    );
    assert!(!job.to_string().contains("a-secret-value"), "values are in the Secret alone");
}

#[tokio::test]
async fn applying_again_changes_nothing() {
    let api = Api::start().await;
    let cluster = api.cluster();
    cluster.apply(&workload()).await.unwrap();
    let objects = api.state.lock().unwrap().objects.clone();
    assert_eq!(objects.len(), 4);
    api.forget();
    cluster.apply(&workload()).await.unwrap();
    assert_eq!(api.state.lock().unwrap().objects, objects);
    assert_eq!(api.asked().iter().filter(|asked| asked.method == Method::PATCH).count(), 4);
    assert_eq!(cluster.list().await.unwrap(), [id()]);
}

#[tokio::test]
async fn what_an_interrupted_apply_left_is_finished() {
    for broken in ["/secrets/", "/serviceaccounts/", "/networkpolicies/", "/jobs/"] {
        let api = Api::start().await;
        let cluster = api.cluster();
        let error = Answer {
            method: "PATCH".to_owned(),
            path: broken.to_owned(),
            status: 503,
            body: status(503, "ServiceUnavailable", "etcd is gone").to_string(),
            ..Answer::default()
        };
        api.play(vec![error]);
        let refused = cluster.apply(&workload()).await.unwrap_err();
        assert!(refused.is_retryable() && api::says(&refused.words(), &["etcd is gone"]), "{refused:?}");
        assert_eq!(api.object(&job_path()), None, "no Job before what it needs");
        api.play(Vec::new());
        cluster.apply(&workload()).await.unwrap();
        let after = api.state.lock().unwrap().objects.clone();
        assert_eq!(after.len(), 4, "{broken}");
        assert!(after.iter().all(|(path, object)| {
            path.contains("/jobs/")
                || path.contains("networkpolicies")
                || object["metadata"]["ownerReferences"].is_array()
        }));
    }
}

#[tokio::test]
async fn a_secret_left_over_with_other_values_is_made_anew() {
    let api = Api::start().await;
    let cluster = api.cluster();
    let immutable = Answer {
        method: "PATCH".to_owned(),
        path: "/secrets/".to_owned(),
        status: 422,
        body: status(422, "Invalid", "Secret is invalid: data: Forbidden: field is immutable when `immutable` is set")
            .to_string(),
        times: Some(1),
        ..Answer::default()
    };
    api.put(&format!("{}/{}", core_path("secrets"), workload_name(&id())), json!({"metadata": {"uid": "old"}}));
    api.play(vec![immutable.clone()]);
    cluster.apply(&workload()).await.unwrap();
    assert!(api.asked().iter().any(|asked| asked.method == Method::DELETE && asked.path.contains("/secrets/")));

    // With a Job that uses it, it stays.
    api.forget();
    api.play(vec![immutable]);
    let error = cluster.apply(&workload()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &["deploy again"])), "{error:?}");
    assert!(api.asked().iter().all(|asked| asked.method != Method::DELETE));
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_asked() {
    let api = Api::start().await;
    let cluster = api.cluster();
    let mut tag = workload();
    tag.image = "registry.example/default/hello:latest".to_owned();
    let mut root = workload();
    root.run_as = Some(0);
    let mut name = workload();
    name.env.insert("A=B".to_owned(), Secret::new("a-secret-value-of-the-agent"));
    let mut large = workload();
    large.env.insert("LARGE".to_owned(), Secret::new("x".repeat(2 * 1_024 * 1_024)));
    for (workload, says) in [(tag, "digest"), (root, "root"), (name, "variable"), (large, "bytes")] {
        let error = cluster.apply(&workload).await.unwrap_err();
        assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &[says])), "{error:?}");
        assert!(!format!("{error:?}").contains("a-secret-value"), "{error:?}");
    }
    assert!(api.asked().is_empty());
}

#[tokio::test]
async fn a_job_of_somebody_else_is_left_alone() {
    let api = Api::start().await;
    let cluster = api.cluster();
    let other =
        json!({"metadata": {"name": workload_name(&id()), "uid": "x", "annotations": {"cofferdam.dev/agent": "x"}}});
    api.put(&job_path(), other.clone());
    let error = cluster.apply(&workload()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Refused(words) if api::says(words, &["not this agent's"])), "{error:?}");
    cluster.remove(&id()).await.unwrap();
    assert_eq!(api.object(&job_path()), Some(other));
    assert!(api.asked().iter().all(|asked| asked.method == Method::GET));
    assert_eq!(cluster.list().await.unwrap(), []);

    let going = json!({"metadata": {"name": workload_name(&id()), "uid": "x", "deletionTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"cofferdam.dev/organization": "default", "cofferdam.dev/agent": "hello", "cofferdam.dev/version": "3"}}});
    api.put(&job_path(), going);
    let error = cluster.apply(&workload()).await.unwrap_err();
    assert!(matches!(error, ClusterError::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn removing_takes_the_policy_away_last_and_twice_is_fine() {
    let api = Arc::new(Api::start().await);
    let cluster = api.cluster();
    cluster.apply(&workload()).await.unwrap();
    let pod = format!("{}/{}-abcde", core_path("pods"), workload_name(&id()));
    api.put(&pod, json!({"metadata": {"name": format!("{}-abcde", workload_name(&id())), "uid": "p"}}));
    let watching = Arc::clone(&api);
    let ending = pod.clone();
    let end = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let there = watching.object(&policy_path()).is_some();
        watching.state.lock().unwrap().objects.remove(&ending);
        there
    });
    cluster.remove(&id()).await.unwrap();
    assert!(end.await.unwrap(), "the policy was there as long as the pod");
    assert_eq!(api.state.lock().unwrap().objects, std::collections::BTreeMap::<String, Value>::new());
    let delete = api.asked().into_iter().find(|asked| asked.method == Method::DELETE).unwrap();
    assert!(delete.path.starts_with(&job_path()) && delete.body["propagationPolicy"] == "Background", "{delete:?}");
    cluster.remove(&id()).await.unwrap();
    assert_eq!(cluster.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_pod_that_does_not_end_is_waited_for_only_so_long() {
    let api = Api::start().await;
    let cluster = api.cluster();
    let name = format!("{}-abcde", workload_name(&id()));
    api.put(
        &format!("{}/{name}", core_path("pods")),
        json!({"metadata": {"name": name}, "spec": {"containers": [], "nodeName": "node-7"}}),
    );
    let error = cluster.remove(&id()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Conflict(words) if api::says(words, &["node-7", &name])), "{error:?}");
}

#[tokio::test]
async fn agents_of_two_organizations_do_not_meet() {
    let api = Api::start().await;
    let cluster = api.cluster();
    let mut other = workload();
    other.id.organization = cofferdam_contract::OrganizationId::parse("other").unwrap();
    let mut long = workload();
    long.id.agent = AgentId::parse(&"a".repeat(64)).unwrap();
    for workload in [workload(), other.clone(), long.clone()] {
        cluster.apply(&workload).await.unwrap();
    }
    let mut all = cluster.list().await.unwrap();
    all.sort();
    let mut expected = vec![id(), other.id.clone(), long.id];
    expected.sort();
    assert_eq!(all, expected);
    cluster.remove(&other.id).await.unwrap();
    assert_eq!(cluster.list().await.unwrap().len(), 2);
    assert!(api.object(&job_path()).is_some());
}

#[tokio::test]
async fn a_job_that_is_over_is_replaced() {
    for condition in ["Complete", "Failed"] {
        let api = Api::start().await;
        let cluster = api.cluster();
        cluster.apply(&workload()).await.unwrap();
        let mut over = api.object(&job_path()).unwrap();
        over["status"] = json!({"conditions": [{"type": condition, "status": "True"}]});
        over["metadata"]["uid"] = json!("of-the-old-one");
        api.put(&job_path(), over);
        api.forget();
        cluster.apply(&workload()).await.unwrap();
        let job = api.object(&job_path()).unwrap();
        assert!(job.get("status").is_none() && job["metadata"]["uid"] != "of-the-old-one", "{job}");
        let secret = api.object(&format!("{}/{}", core_path("secrets"), workload_name(&id()))).unwrap();
        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], job["metadata"]["uid"]);
    }
}

#[tokio::test]
async fn what_was_deleted_or_changed_by_hand_is_restored_and_named() {
    let api = Api::start().await;
    let cluster = api.cluster();
    assert_eq!(cluster.mend(&workload()).await.unwrap(), [], "without a Job there is nothing to mend");
    assert_eq!(api.state.lock().unwrap().objects.len(), 0);
    cluster.apply(&workload()).await.unwrap();
    let whole = api.state.lock().unwrap().objects.clone();
    assert_eq!(cluster.mend(&workload()).await.unwrap(), []);
    assert_eq!(api.state.lock().unwrap().objects, whole);

    let name = workload_name(&id());
    let (secret, account) =
        (format!("{}/{name}", core_path("secrets")), format!("{}/{name}", core_path("serviceaccounts")));
    let mended = async |kind, was_missing| {
        let found = cluster.mend(&workload()).await.unwrap();
        assert_eq!(found, [Mended { kind, was_missing }]);
        assert_eq!(cluster.mend(&workload()).await.unwrap(), [], "once");
    };
    for (path, kind) in [(&policy_path(), "NetworkPolicy"), (&secret, "Secret"), (&account, "ServiceAccount")] {
        api.state.lock().unwrap().objects.remove(path);
        mended(kind, true).await;
        let object = api.object(path).unwrap();
        assert_eq!((object.get("spec"), object.get("data")), (whole[path].get("spec"), whole[path].get("data")));
    }
    let mut open = whole[&policy_path()].clone();
    open["spec"]["egress"] = json!([{}]);
    api.put(&policy_path(), open);
    mended("NetworkPolicy", false).await;
    assert_eq!(api.object(&policy_path()).unwrap()["spec"], whole[&policy_path()]["spec"]);
    // The variables have changed since: what a version was started with stays.
    let mut newer = workload();
    newer.env.insert("LATER".to_owned(), Secret::new("a-later-value"));
    assert_eq!(cluster.mend(&newer).await.unwrap(), []);
    // Somebody else's Secret under our name.
    let mut other = whole[&secret].clone();
    other["data"] = json!({"API_KEY": "c3RvbGVu"});
    other["metadata"]["managedFields"] = json!([{"manager": "kubectl-create", "operation": "Update"}]);
    api.put(&secret, other);
    mended("Secret", false).await;
    assert_eq!(api.object(&secret).unwrap()["data"], whole[&secret]["data"]);
    // A Job that was made smaller, and lost its label.
    let mut job = whole[&job_path()].clone();
    job["spec"]["parallelism"] = json!(0);
    job["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/managed-by");
    api.put(&job_path(), job);
    mended("Job", false).await;
    let job = api.object(&job_path()).unwrap();
    assert_eq!(
        (&job["spec"], &job["metadata"]["labels"]),
        (&whole[&job_path()]["spec"], &whole[&job_path()]["metadata"]["labels"])
    );
}

#[tokio::test]
async fn probes_are_what_was_asked_for_and_the_sdks_where_nothing_was() {
    let container = async |workload: &Workload| {
        let api = Api::start().await;
        api.cluster().apply(workload).await.unwrap();
        let template = api.object(&job_path()).unwrap()["spec"]["template"].clone();
        let default = template["metadata"]["annotations"].get("cofferdam.dev/default-probe").cloned();
        (template["spec"]["containers"][0].clone(), default)
    };
    let (plain, default) = container(&workload()).await;
    assert_eq!((plain.get("readinessProbe"), plain.get("livenessProbe"), default), (None, None, None));

    let mut sdk = workload();
    sdk.env.insert("XPANDER_API_KEY".to_owned(), Secret::new("a-key-of-the-sdk"));
    let (container_of_sdk, default) = container(&sdk).await;
    let asked = json!({"httpGet": {"path": "/health", "port": 59_321}, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3});
    assert_eq!((&container_of_sdk["readinessProbe"], default), (&asked, Some(json!("59321"))));
    sdk.env.insert("XPANDER_STREAMING_PORT".to_owned(), Secret::new("8123"));
    assert_eq!(container(&sdk).await.0["readinessProbe"]["httpGet"]["port"], 8_123);
    sdk.health = serde_json::from_value(json!({"readiness": {"none": true}})).unwrap();
    let (none, default) = container(&sdk).await;
    assert_eq!((none.get("readinessProbe"), default), (None, None));

    let mut all = workload();
    all.start_s = 61;
    all.health = serde_json::from_value(json!({
        "readiness": {"tcp": {"port": 1_234}, "period_s": 7},
        "liveness": {"exec": {"command": ["/bin/check", "a b"]}, "failures": 5, "timeout_s": 9},
    }))
    .unwrap();
    let (container, _) = container(&all).await;
    let exec = json!({"command": ["/bin/check", "a b"]});
    assert_eq!(
        container["readinessProbe"],
        json!({"tcpSocket": {"port": 1_234}, "periodSeconds": 7, "timeoutSeconds": 2, "failureThreshold": 3})
    );
    assert_eq!(
        container["livenessProbe"],
        json!({"exec": exec, "periodSeconds": 10, "timeoutSeconds": 9, "failureThreshold": 5})
    );
    assert_eq!(
        container["startupProbe"],
        json!({"exec": exec, "periodSeconds": 2, "timeoutSeconds": 9, "failureThreshold": 31}),
        "the time that it gets to start"
    );
}
