//! Tests of a cluster's credentials before the first deployment, and of deletions where nothing was ever deployed.

use cofferdam_cluster::ClusterError;
use serde_json::json;

use super::api::{Answer, Api, NAMESPACE, core_path, id, settings, status};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

fn review(allowed: bool) -> Answer {
    let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": {}, "status": {"allowed": allowed}});
    Answer { method: "POST".into(), path: REVIEWS.into(), status: 201, body: review.to_string(), ..Answer::default() }
}

#[tokio::test]
async fn credentials_with_every_right_are_good_and_nothing_is_made() {
    let api = Api::start().await;
    api.play(vec![review(true)]);
    api.put("/version", json!({"gitVersion": "v1.36.2"}));
    let findings = api.cluster().check().await.unwrap();
    assert!(findings.iter().all(|finding| finding.good), "{findings:#?}");
    let of = |about: &str| &findings.iter().find(|finding| finding.about == about).unwrap().detail;
    assert!(of("cluster").contains("v1.36.2") && of("namespace").contains(NAMESPACE), "{findings:#?}");
    assert!(of("jobs").contains("create") && of("pods/log").contains("get"), "{findings:#?}");
    let asked = api.asked();
    for verb in ["get", "list", "create", "patch", "delete"] {
        let same = |body: &serde_json::Value| {
            let attributes = &body["spec"]["resourceAttributes"];
            attributes["verb"] == verb
                && attributes["resource"] == "networkpolicies"
                && attributes["namespace"] == NAMESPACE
        };
        assert!(asked.iter().any(|one| same(&one.body)), "{verb}");
    }
    let changes = asked.iter().filter(|one| one.method != "GET" && !one.path.contains(REVIEWS));
    assert!(changes.into_iter().all(|one| one.path.contains("dryRun=All")), "only a dry run");
}

/// kubectl honours the setting, and so does the server: the test of an environment says what it means.
#[tokio::test]
async fn a_certificate_that_does_not_count_is_warned_of() {
    let api = Api::start().await;
    api.play(vec![review(true)]);
    let mut kubeconfig = api.kubeconfig();
    let cluster = kubeconfig["clusters"][0]["cluster"].as_object_mut().unwrap();
    cluster.remove("certificate-authority-data");
    cluster.insert("insecure-skip-tls-verify".to_owned(), true.into());
    let findings = settings(&kubeconfig).connect(&api.clusters).unwrap().check().await.unwrap();
    let warned = findings.iter().filter(|finding| finding.detail.contains("insecure-skip-tls-verify"));
    assert_eq!(warned.count(), 1, "{findings:#?}");
    let findings = api.cluster().check().await.unwrap();
    assert!(findings.iter().all(|finding| finding.about != "certificate"), "{findings:#?}");
}

#[tokio::test]
async fn a_missing_right_and_a_missing_namespace_are_named() {
    let api = Api::start().await;
    let account = Answer {
        method: "PATCH".into(),
        path: "serviceaccounts/cofferdam-test".into(),
        status: 404,
        body: status(404, "NotFound", r#"namespaces "agents" not found"#).to_string(),
        ..Answer::default()
    };
    api.play(vec![review(false), account]);
    let findings = api.cluster().check().await.unwrap();
    let of = |about: &str| findings.iter().find(|finding| finding.about == about).unwrap();
    assert!(!of("secrets").good && of("secrets").detail.contains("get, list, create, patch, delete"), "{findings:#?}");
    assert!(of("secrets").detail.contains("docs/clusters.md"));
    assert!(!of("namespace").good && of("namespace").detail.contains("kubectl create namespace"), "{findings:#?}");
    assert!(of("events").good, "agents run without them: {findings:#?}");
}

#[tokio::test]
async fn credentials_that_are_not_taken_are_an_error() {
    let api = Api::start().await;
    let refused = Answer {
        method: "POST".into(),
        path: REVIEWS.into(),
        status: 401,
        body: status(401, "Unauthorized", "Unauthorized").to_string(),
        ..Answer::default()
    };
    api.play(vec![refused]);
    let error = api.cluster().check().await.unwrap_err();
    assert!(matches!(error, ClusterError::Refused(_)) && error.to_string().contains("401"), "{error}");
}

/// A cluster's answer to a test is shown, because nothing secret was sent but our credentials, which are taken out.
#[tokio::test]
async fn a_refused_test_says_why_and_never_our_token() {
    let api = Api::start().await;
    let says = format!("a policy forbids it, and you are {}", super::api::TOKEN);
    let body = status(403, "Forbidden", &says).to_string();
    let answer = |method: &str, path: &str| Answer {
        method: method.into(),
        path: path.into(),
        status: 403,
        body: body.clone(),
        ..Answer::default()
    };
    api.put("/version", json!({"gitVersion": format!("v1.36.2-{}", super::api::TOKEN)}));
    api.play(vec![review(true), answer("PATCH", "serviceaccounts")]);
    let findings = format!("{:?}", api.cluster().check().await.unwrap());
    assert!(findings.contains("a policy forbids it") && !findings.contains(super::api::TOKEN), "{findings}");
    api.play(vec![answer("POST", REVIEWS)]);
    let error = api.cluster().check().await.unwrap_err().to_string();
    assert!(error.contains("a policy forbids it") && !error.contains(super::api::TOKEN), "{error}");
}

#[tokio::test]
async fn what_is_not_there_needs_no_right_to_delete_it() {
    let api = Api::start().await;
    let forbidden = |kind: &str| Answer {
        method: "DELETE".into(),
        path: kind.into(),
        status: 403,
        body: status(403, "Forbidden", "may not delete").to_string(),
        ..Answer::default()
    };
    api.play(vec![forbidden("secrets"), forbidden("serviceaccounts"), forbidden("networkpolicies")]);
    api.cluster().remove(&id()).await.unwrap();
    // One that is there is not forgotten.
    let name = cofferdam_cluster::workload_name(&id());
    api.put(&format!("{}/{name}", core_path("secrets")), json!({"metadata": {"name": name}}));
    let error = api.cluster().remove(&id()).await.unwrap_err();
    assert!(matches!(error, ClusterError::Refused(_)), "{error}");
}
