//! Environments in the store.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_cluster::Access;
use cofferdam_contract::{AgentId, DeploymentState as State};
use cofferdam_deployments::{CreateAgent, DeployRequest, Once};
use cofferdam_environments::{EnvironmentRequest, Kind};
use serde_json::json;

use crate::rig::{On, Rig, caller, problem};

pub(crate) fn request() -> EnvironmentRequest {
    let kubeconfig = BASE64_STANDARD.encode("apiVersion: v1\nclusters: [hush-hush-cluster]\n");
    serde_json::from_value(json!({
        "images": "far.test/x", "images_pull": "near.test:5000/x/", "username": "robot", "password": "hush-hush-word",
        "kubeconfig": kubeconfig, "architecture": "arm64", "namespace": "agents", "env": {"REGION": "hush-hush-north"},
        "resources": {"memory": "256Mi"},
    }))
    .unwrap()
}

#[tokio::test]
async fn secrets_go_in_and_do_not_come_out() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let (info, new) = rig.app.environments.put(&rig.caller, "far", request()).await.unwrap();
        assert!(new && info.has_cluster && info.has_password);
        let shown = serde_json::to_string(&info).unwrap();
        assert!(!shown.contains("hush") && shown.contains("REGION"), "{shown}");
        let kept = rig.app.store.environment(&rig.caller.organization, "far").await.unwrap().unwrap();
        assert!(!format!("{kept:?}").contains("hush"), "{kept:?}");
        let open = rig.app.environments.find(&rig.caller.organization, "far").await.unwrap();
        assert!(!format!("{open:?}").contains("hush"), "{open:?}");
        let Access::Kubeconfig { yaml, .. } = &open.cluster else { panic!("{open:?}") };
        assert!(yaml.expose().contains("hush-hush-cluster"));
        assert_eq!(open.images.credentials.as_ref().unwrap().1.expose(), "hush-hush-word");
        assert_eq!(open.env["REGION"].expose(), "hush-hush-north");
        assert_eq!(open.pulled("far.test/x/default/a@sha256:1"), "near.test:5000/x/default/a@sha256:1");
        assert_eq!(open.pulled("far.test/xy@sha256:1"), "far.test/xy@sha256:1");
        assert!(matches!(open.kind, Kind::SelfDeployed));
        // Other organizations do not see it; all of them see `local`, and none can change it.
        let stranger = caller("stranger");
        assert_eq!(problem(rig.app.environments.show(&stranger, "far").await).0, 404);
        assert_eq!(rig.app.environments.list(&stranger).await.unwrap().len(), 1);
        assert_eq!(problem(rig.app.environments.put(&rig.caller, "local", request()).await).0, 409);
        let (_, new) = rig.app.environments.put(&rig.caller, "far", EnvironmentRequest::default()).await.unwrap();
        assert!(!new);
        let open = rig.app.environments.find(&rig.caller.organization, "far").await.unwrap();
        assert!(open.images.credentials.is_none(), "all of it is replaced");
        // In use, it stays.
        let id = AgentId::parse("far-one").unwrap();
        let make = CreateAgent { id: Some(id.clone()), environment: Some("far".into()), ..CreateAgent::default() };
        rig.app.deployments.create(&rig.caller, make, &Once::none()).await.unwrap();
        assert_eq!(problem(rig.app.environments.delete(&rig.caller, "far").await).0, 409);
        assert_eq!(problem(rig.app.environments.delete(&rig.caller, "none").await).0, 404);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_field() {
    let rig = Rig::new(On::Sqlite).await;
    for (body, part) in [
        (json!({"images": "https://x"}), "images"),
        (json!({"namespace": "No_Such"}), "namespace"),
        (json!({"architecture": "x86"}), "architecture"),
        (json!({"username": "a"}), "username"),
        (json!({"password": "hush"}), "username"),
        (json!({"kubeconfig": "***"}), "kubeconfig"),
        (json!({"kubeconfig": BASE64_STANDARD.encode("hush")}), "kubeconfig"),
        (json!({"kind": "cloud", "images": "x.test"}), "bucket"),
        (json!({"bucket": "b"}), "bucket"),
        (json!({"ca": "hush"}), "ca"),
        (json!({"env": {"A=B": "hush"}}), "A=B"),
        (json!({"env": {"COFFERDAM_X": "hush"}}), "COFFERDAM_"),
        (json!({"image_pull_secrets": ["a b"]}), "image_pull_secrets"),
        (json!({"allow_in_images": [""]}), "allow_in_images"),
        (json!({"resources": {"cpu": "5x"}}), "resources.cpu"),
        (json!({"allow_in_images": ["x".repeat(600)]}), "allow_in_images"),
        (json!({"kind": "cloud", "bucket": "b", "region": "r", "images": "x.test", "endpoint": "ftp://x"}), "endpoint"),
    ] {
        let request: EnvironmentRequest = serde_json::from_value(body.clone()).unwrap();
        let (status, detail) = problem(rig.app.environments.put(&rig.caller, "e", request).await);
        assert!(status == 422 && detail.contains(part) && !detail.contains("hush"), "{body}: {status} {detail}");
    }
    for body in [json!({"imagse": "x"}), json!({"kind": "other"}), json!({"resources": {"gpu": 1}})] {
        assert!(serde_json::from_value::<EnvironmentRequest>(body.clone()).is_err(), "{body}");
    }
    assert_eq!(problem(rig.app.environments.put(&rig.caller, "../x", EnvironmentRequest::default()).await).0, 422);
}

#[tokio::test]
async fn an_agent_gets_the_variables_of_all_four_places() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.app.environments.put(&rig.caller, "far", request()).await.unwrap();
    let changes = [("PIN", Some("007")), ("REGION", Some("south")), ("OWN", Some("theirs"))];
    let changes = changes.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).into();
    let names = rig.app.variables.sync(&rig.caller, &changes).await.unwrap();
    assert_eq!(names, ["OWN", "PIN", "REGION"]);
    let id = AgentId::parse("far-one").unwrap();
    let make = CreateAgent { id: Some(id.clone()), environment: Some("far".into()), ..CreateAgent::default() };
    rig.app.deployments.create(&rig.caller, make, &Once::none()).await.unwrap();
    let request = DeployRequest {
        image: Some("far.test/x/y:1".into()),
        env: [("OWN".to_owned(), "mine".to_owned())].into(),
        ..DeployRequest::default()
    };
    rig.app.deployments.deploy(&rig.caller, &id, &request, &Once::none()).await.unwrap();
    for _ in 0..500 {
        let info = rig.app.deployments.deployment(&rig.caller, &id, 1).await.unwrap();
        if info.state == State::Up {
            let workload = rig.cluster.workload(1).unwrap();
            let env = |name: &str| workload.env[name].expose().to_owned();
            assert_eq!((env("PIN"), env("REGION"), env("OWN")), ("007".into(), "south".into(), "mine".into()));
            assert_eq!((env("COFFERDAM_AGENT_ID"), env("XPANDER_AGENT_ID")), ("far-one".into(), "far-one".into()));
            assert_eq!(workload.resources.memory.as_deref(), Some("256Mi"));
            assert!(!format!("{workload:?}").contains("south"));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("it did not come up");
}
