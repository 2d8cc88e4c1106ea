//! Images that are uploaded elsewhere and brought by the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cofferdam_contract::{AgentId, DeploymentState as State, FailureReason};
use cofferdam_controller::agents::{self, Carrier, CreateAgent, DeployRequest, NotCarried, Once, PushedImage};
use cofferdam_controller::environments::{self, Environment, EnvironmentRequest, Kind};
use cofferdam_controller::services::App;
use cofferdam_controller::store::DeploymentRow;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::rig::{On, Rig, image};

/// Does what the number of the call says.
struct Lorry {
    calls: AtomicUsize,
    fails: Option<FailureReason>,
}

impl Carrier for Lorry {
    fn carry<'a>(
        &'a self,
        _: &'a App,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>> {
        Box::pin(async move {
            assert!(matches!(&environment.kind, Kind::Cloud(cloud) if cloud.bucket == "uploads"));
            assert_eq!(deployment.state, State::Pushing, "it is written before it is done");
            let detail = "The bucket is not there.".to_owned();
            if let Some(reason) = self.fails {
                return Err(NotCarried { reason, detail, retryable: false });
            }
            match self.calls.fetch_add(1, Ordering::Relaxed) {
                // In the middle of it the driver is killed.
                0 => std::future::pending().await,
                1 => Err(NotCarried { reason: FailureReason::Registry, detail, retryable: true }),
                _ => {
                    let reference = image("one");
                    let digest = reference.split_once('@').unwrap().1.to_owned();
                    let architecture = "amd64".to_owned();
                    Ok(PushedImage { reference, digest, architecture, run_as: None, size_bytes: 1 })
                }
            }
        })
    }
}

async fn rig(fails: Option<FailureReason>) -> (Rig, AgentId, Arc<Lorry>) {
    let rig = Rig::new(On::Sqlite).await;
    let lorry = Arc::new(Lorry { calls: AtomicUsize::new(0), fails });
    rig.app.agents.set_carrier(Arc::clone(&lorry) as _);
    let request: EnvironmentRequest = serde_json::from_value(json!({
        "kind": "cloud", "bucket": "uploads", "region": "eu-north-1", "images": "ecr.test/agents", "ecr": true,
        "kubeconfig": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "clusters: []"),
    }))
    .unwrap();
    environments::put(&rig.app, &rig.caller, "cloud", request).await.unwrap();
    let id = AgentId::parse("far").unwrap();
    let make = CreateAgent { id: Some(id.clone()), environment: Some("cloud".into()), ..CreateAgent::default() };
    agents::create(&rig.app, &rig.caller, make, &Once::none()).await.unwrap();
    agents::begin_upload(&rig.app, &rig.caller, &id, &Once::none()).await.unwrap();
    agents::deploy(&rig.app, &rig.caller, &id, &DeployRequest::default(), &Once::none()).await.unwrap();
    (rig, id, lorry)
}

async fn settled(rig: &Rig, id: &AgentId) -> agents::DeploymentInfo {
    for _ in 0..1_000 {
        let info = agents::deployment(&rig.app, &rig.caller, id, 1).await.unwrap();
        if info.state.is_settled() {
            return info;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", agents::deployment(&rig.app, &rig.caller, id, 1).await);
}

#[tokio::test]
async fn it_is_brought_again_after_a_crash_and_after_what_may_pass() {
    let (mut rig, id, lorry) = rig(None).await;
    rig.start();
    while lorry.calls.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.kill().await;
    rig.start();
    let info = settled(&rig, &id).await;
    assert_eq!((info.state, info.image), (State::Up, Some(image("one"))));
    assert_eq!(lorry.calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_cannot_be_brought_fails_with_its_reason() {
    let (mut rig, id, _) = rig(Some(FailureReason::BadImage)).await;
    rig.start();
    let info = settled(&rig, &id).await;
    assert_eq!((info.state, info.reason), (State::Failed, Some(FailureReason::BadImage)));
    assert_eq!(info.detail, "The bucket is not there.");
}
