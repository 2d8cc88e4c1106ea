//! Images that are uploaded to a bucket: requested by the driver, copied by an aws-operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use cofferdam_contract::{AgentId, DeploymentState as State, FailureReason};
use cofferdam_deployments::{CreateAgent, DeployRequest, DeploymentInfo, Once};
use cofferdam_environments::{Environment, EnvironmentRequest, Kind};
use cofferdam_store::DeploymentRow;
use cofferdam_uploads::{Carrier, NotCarried, PushedImage};
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::rig::{On, Rig, Settings, image};

/// Behaves according to the number of the call.
struct Lorry {
    calls: AtomicUsize,
    fails: Option<FailureReason>,
}

fn brought() -> PushedImage {
    let reference = image("one");
    let digest = reference.split_once('@').unwrap().1.to_owned();
    PushedImage { reference, digest, architecture: "amd64".to_owned(), run_as: None, size_bytes: 1 }
}

impl Carrier for Lorry {
    fn carry<'a>(
        &'a self,
        environment: &'a Environment,
        deployment: &'a DeploymentRow,
        _: &'a AtomicU64,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>> {
        Box::pin(async move {
            assert!(matches!(&environment.kind, Kind::Cloud(cloud) if cloud.bucket == "uploads"));
            assert_eq!(deployment.state, State::Pushing, "it is written before it is done");
            let detail = "The bucket is not there.".to_owned();
            if let Some(reason) = self.fails {
                return Err(NotCarried { reason, detail, retryable: false });
            }
            match self.calls.fetch_add(1, Ordering::Relaxed) {
                // In the middle of it the process is killed.
                0 => std::future::pending().await,
                1 => Err(NotCarried { reason: FailureReason::Registry, detail, retryable: true }),
                _ => Ok(brought()),
            }
        })
    }
}

/// Is slow, and counts its concurrent calls.
#[derive(Default)]
struct Fleet {
    calls: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Carrier for Fleet {
    fn carry<'a>(
        &'a self,
        _: &'a Environment,
        _: &'a DeploymentRow,
        _: &'a AtomicU64,
    ) -> BoxFuture<'a, Result<PushedImage, NotCarried>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(150)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            Ok(brought())
        })
    }
}

async fn rig(on: On, carriages: usize) -> Rig {
    let rig = Rig::with(on, &Settings { carriages, ..Settings::default() }).await;
    let request: EnvironmentRequest = serde_json::from_value(json!({
        "kind": "cloud", "bucket": "uploads", "region": "eu-north-1", "images": "ecr.test/agents", "ecr": true,
        "kubeconfig": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "clusters: []"),
    }))
    .unwrap();
    rig.app.environments.put(&rig.caller, "cloud", request).await.unwrap();
    rig
}

/// An agent in that environment whose archive was uploaded and is to run.
async fn asked(rig: &Rig, name: &str) -> AgentId {
    let id = AgentId::parse(name).unwrap();
    let make = CreateAgent { id: Some(id.clone()), environment: Some("cloud".into()), ..CreateAgent::default() };
    rig.app.deployments.create(&rig.caller, make, &Once::none()).await.unwrap();
    rig.app.deployments.begin_upload(&rig.caller, &id, &Once::none()).await.unwrap();
    rig.app.deployments.deploy(&rig.caller, &id, &DeployRequest::default(), &Once::none()).await.unwrap();
    id
}

async fn settled(rig: &Rig, id: &AgentId) -> DeploymentInfo {
    for _ in 0..1_000 {
        let info = rig.app.deployments.deployment(&rig.caller, id, 1).await.unwrap();
        if info.state.is_settled() {
            return info;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", rig.app.deployments.deployment(&rig.caller, id, 1).await);
}

#[tokio::test]
async fn it_is_brought_again_after_a_crash_and_after_what_may_pass() {
    for on in On::all() {
        let lorry = Arc::new(Lorry { calls: AtomicUsize::new(0), fails: None });
        let carrier: Arc<dyn Carrier> = Arc::clone(&lorry) as _;
        let mut rig = rig(on, 8).await;
        let id = asked(&rig, "far").await;
        rig.start();
        rig.start_operator(&carrier);
        while lorry.calls.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.kill().await;
        rig.start();
        rig.start_operator(&carrier);
        let info = settled(&rig, &id).await;
        assert_eq!((info.state, info.image), (State::Up, Some(image("one"))));
        assert_eq!(lorry.calls.load(Ordering::Relaxed), 3);
        assert!(rig.app.store.free_carriages(i64::MAX, 9).await.unwrap().is_empty(), "it is forgotten");
    }
}

#[tokio::test]
async fn what_cannot_be_brought_fails_with_its_reason() {
    let lorry = Lorry { calls: AtomicUsize::new(0), fails: Some(FailureReason::BadImage) };
    let carrier: Arc<dyn Carrier> = Arc::new(lorry);
    let mut rig = rig(On::Sqlite, 8).await;
    let id = asked(&rig, "far").await;
    rig.start();
    rig.start_operator(&carrier);
    let info = settled(&rig, &id).await;
    assert_eq!((info.state, info.reason), (State::Failed, Some(FailureReason::BadImage)));
    assert_eq!(info.detail, "The bucket is not there.");
}

#[tokio::test]
async fn where_nobody_brings_it_that_is_said() {
    let mut rig = rig(On::Sqlite, 8).await;
    let id = asked(&rig, "far").await;
    rig.start();
    let info = settled(&rig, &id).await;
    assert_eq!((info.state, info.reason), (State::Failed, Some(FailureReason::Internal)));
    assert!(info.detail.contains("--role aws-operator"), "{}", info.detail);
}

#[tokio::test]
async fn two_operators_share_the_work_and_each_is_bounded() {
    for on in On::all() {
        let fleet = Arc::new(Fleet::default());
        let carrier: Arc<dyn Carrier> = Arc::clone(&fleet) as _;
        let mut rig = rig(on, 2).await;
        rig.start();
        rig.start_operator(&carrier);
        rig.start_operator(&carrier);
        let mut ids = Vec::new();
        for number in 0..9 {
            ids.push(asked(&rig, &format!("far-{number}")).await);
        }
        for id in &ids {
            assert_eq!(settled(&rig, id).await.state, State::Up);
        }
        let (calls, most) = (fleet.calls.load(Ordering::Relaxed), fleet.most.load(Ordering::Relaxed));
        assert_eq!(calls, 9, "each is copied once");
        assert!((3..=4).contains(&most), "two at once in each of the two: {most}");
    }
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_left() {
    let fleet = Arc::new(Fleet::default());
    let carrier: Arc<dyn Carrier> = Arc::clone(&fleet) as _;
    let mut rig = rig(On::Sqlite, 8).await;
    let id = asked(&rig, "far").await;
    rig.app
        .store
        .ask_carriage(&rig.app.deployments.deployment(&rig.caller, &id, 1).await.unwrap().id, 0)
        .await
        .unwrap();
    rig.app.deployments.stop(&rig.caller, &id).await.unwrap();
    rig.start();
    assert_eq!(settled(&rig, &id).await.state, State::Stopped);
    rig.start_operator(&carrier);
    while !rig.app.store.free_carriages(i64::MAX, 9).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fleet.calls.load(Ordering::Relaxed), 0);
}
