//! Images that are uploaded elsewhere: asked for by the driver, brought by an aws-operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use cofferdam_contract::{AgentId, DeploymentState as State, FailureReason};
use cofferdam_controller::agents::{self, Carrier, CreateAgent, DeployRequest, NotCarried, Once, PushedImage};
use cofferdam_controller::environments::{self, Environment, EnvironmentRequest, Kind};
use cofferdam_controller::services::App;
use cofferdam_controller::store::DeploymentRow;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::rig::{On, Rig, fast, image};

/// Does what the number of the call says.
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
        _: &'a App,
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

/// Takes its time, and counts how many it has in hand.
#[derive(Default)]
struct Fleet {
    calls: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Carrier for Fleet {
    fn carry<'a>(
        &'a self,
        _: &'a App,
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

async fn rig(on: On, carrier: Arc<dyn Carrier>, env: &[(&str, &str)]) -> Rig {
    let rig = Rig::with(on, fast(), env).await;
    rig.app.agents.set_carrier(carrier);
    let request: EnvironmentRequest = serde_json::from_value(json!({
        "kind": "cloud", "bucket": "uploads", "region": "eu-north-1", "images": "ecr.test/agents", "ecr": true,
        "kubeconfig": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, "clusters: []"),
    }))
    .unwrap();
    environments::put(&rig.app, &rig.caller, "cloud", request).await.unwrap();
    rig
}

/// An agent of that environment whose archive was uploaded and is to run.
async fn asked(rig: &Rig, name: &str) -> AgentId {
    let id = AgentId::parse(name).unwrap();
    let make = CreateAgent { id: Some(id.clone()), environment: Some("cloud".into()), ..CreateAgent::default() };
    agents::create(&rig.app, &rig.caller, make, &Once::none()).await.unwrap();
    agents::begin_upload(&rig.app, &rig.caller, &id, &Once::none()).await.unwrap();
    agents::deploy(&rig.app, &rig.caller, &id, &DeployRequest::default(), &Once::none()).await.unwrap();
    id
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
    for on in On::all() {
        let lorry = Arc::new(Lorry { calls: AtomicUsize::new(0), fails: None });
        let mut rig = rig(on, Arc::clone(&lorry) as _, &[]).await;
        let id = asked(&rig, "far").await;
        rig.start();
        rig.start_operator();
        while lorry.calls.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.kill().await;
        rig.start();
        rig.start_operator();
        let info = settled(&rig, &id).await;
        assert_eq!((info.state, info.image), (State::Up, Some(image("one"))));
        assert_eq!(lorry.calls.load(Ordering::Relaxed), 3);
        assert!(rig.app.store.free_carriages(i64::MAX, 9).await.unwrap().is_empty(), "it is forgotten");
    }
}

#[tokio::test]
async fn what_cannot_be_brought_fails_with_its_reason() {
    let lorry = Lorry { calls: AtomicUsize::new(0), fails: Some(FailureReason::BadImage) };
    let mut rig = rig(On::Sqlite, Arc::new(lorry), &[]).await;
    let id = asked(&rig, "far").await;
    rig.start();
    rig.start_operator();
    let info = settled(&rig, &id).await;
    assert_eq!((info.state, info.reason), (State::Failed, Some(FailureReason::BadImage)));
    assert_eq!(info.detail, "The bucket is not there.");
}

#[tokio::test]
async fn where_nobody_brings_it_that_is_said() {
    let mut rig = rig(On::Sqlite, Arc::new(Fleet::default()), &[]).await;
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
        let mut rig = rig(on, Arc::clone(&fleet) as _, &[("COFFERDAM_MAX_UPLOADS", "2")]).await;
        rig.start();
        rig.start_operator();
        rig.start_operator();
        let mut ids = Vec::new();
        for number in 0..9 {
            ids.push(asked(&rig, &format!("far-{number}")).await);
        }
        for id in &ids {
            assert_eq!(settled(&rig, id).await.state, State::Up);
        }
        let (calls, most) = (fleet.calls.load(Ordering::Relaxed), fleet.most.load(Ordering::Relaxed));
        assert_eq!(calls, 9, "each is brought once");
        assert!((3..=4).contains(&most), "two at once in each of the two: {most}");
    }
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_left() {
    let fleet = Arc::new(Fleet::default());
    let mut rig = rig(On::Sqlite, Arc::clone(&fleet) as _, &[]).await;
    let id = asked(&rig, "far").await;
    rig.app.store.ask_carriage(&agents::deployment(&rig.app, &rig.caller, &id, 1).await.unwrap().id, 0).await.unwrap();
    agents::stop(&rig.app, &rig.caller, &id).await.unwrap();
    rig.start();
    assert_eq!(settled(&rig, &id).await.state, State::Stopped);
    rig.start_operator();
    while !rig.app.store.free_carriages(i64::MAX, 9).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fleet.calls.load(Ordering::Relaxed), 0);
}
