//! Pod settings of a deployment: allowed by the environment, kept with the version, shown by a dry run.

use cofferdam_contract::{DeploymentState as State, FailureReason, PodSettings};
use cofferdam_deployments::{CreateAgent, DeployRequest, Once};
use cofferdam_environments::EnvironmentRequest;
use serde_json::json;

use crate::environments::request;
use crate::rig::{On, PLACE, Rig, problem};

fn pod() -> PodSettings {
    serde_json::from_value(json!({"labels": {"team": "search"}, "priority_class": "low",
        "volumes": [{"name": "data", "mount_path": "/data", "claim": "shared"}]}))
    .unwrap()
}

fn allowing(pods: serde_json::Value) -> EnvironmentRequest {
    let mut request = request();
    request.settings.pods = serde_json::from_value(pods).unwrap();
    request
}

#[tokio::test]
async fn a_pod_gets_what_its_environment_allows_and_only_while_it_does() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    let asks = |image: &str| DeployRequest { image: Some(image.into()), pod: pod(), ..DeployRequest::default() };
    let (status, detail) = problem(rig.deploy_with(asks(&format!("{PLACE}/default/hello:one"))).await);
    assert!(status == 403 && detail.contains("pods.labels"), "{status} {detail}");
    let bad = PodSettings { labels: [("cofferdam.dev/agent".to_owned(), "x".to_owned())].into(), ..pod() };
    let bad = DeployRequest { pod: bad, ..asks(&format!("{PLACE}/default/hello:one")) };
    assert_eq!(problem(rig.deploy_with(bad).await).0, 422);

    let all = json!({"labels": ["team"], "priority_classes": ["low"], "claims": ["shared"]});
    rig.app.environments.put(&rig.caller, "far", allowing(all)).await.unwrap();
    let make = CreateAgent { environment: Some("far".into()), ..CreateAgent::default() };
    rig.agent = rig.app.deployments.create(&rig.caller, make, &Once::none()).await.unwrap().id;
    rig.deploy_with(asks("far.test/x/y:1")).await.unwrap();
    let up = rig.until(1, State::Up).await;
    assert_eq!((up.pod, rig.cluster.workload(1).unwrap().pod), (pod(), pod()));
    // A restart keeps it; an environment that no longer allows it has the last word.
    rig.app.deployments.restart(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    assert_eq!(rig.until(2, State::Up).await.pod, pod());
    rig.app.environments.put(&rig.caller, "far", allowing(json!({"labels": ["team"]}))).await.unwrap();
    rig.app.deployments.restart(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    let failed = rig.until(3, State::Failed).await;
    assert_eq!(failed.reason, Some(FailureReason::CannotStart));
    assert!(
        failed.detail.contains("pods.priority_classes") || failed.detail.contains("pods.claims"),
        "{}",
        failed.detail
    );
    assert_eq!(rig.show().await.serving.unwrap().number, 2, "what serves is not touched");
    let bad = allowing(json!({"claims": ["not a name"]}));
    assert_eq!(problem(rig.app.environments.put(&rig.caller, "far", bad).await).0, 422);
}

#[tokio::test]
async fn a_dry_run_shows_the_objects_and_changes_nothing() {
    let rig = Rig::new(On::Sqlite).await;
    let request = DeployRequest {
        image: Some(format!("{PLACE}/default/hello:one")),
        env: [("TOKEN".to_owned(), "hush-hush".to_owned())].into(),
        ..DeployRequest::default()
    };
    let shown = rig.app.deployments.dry_run(&rig.caller, &rig.agent, &request).await.unwrap();
    let text = serde_json::to_string(&shown).unwrap();
    assert!(text.contains("TOKEN") && text.contains("COFFERDAM_AGENT_ID") && !text.contains("hush"), "{text}");
    assert!(text.contains("-v1\"") && shown.image.contains("@sha256:") && !shown.image.contains("sha256:0000000000"));
    let unknown = DeployRequest::default();
    let shown = rig.app.deployments.dry_run(&rig.caller, &rig.agent, &unknown).await.unwrap();
    assert!(shown.image.starts_with(&format!("{PLACE}/default/hello@sha256:0000")), "{}", shown.image);
    let refused = DeployRequest { pod: pod(), ..DeployRequest::default() };
    assert_eq!(problem(rig.app.deployments.dry_run(&rig.caller, &rig.agent, &refused).await).0, 403);
    assert!(rig.show().await.latest.is_none() && rig.cluster.points() == 0, "nothing was made and no cluster asked");
}
