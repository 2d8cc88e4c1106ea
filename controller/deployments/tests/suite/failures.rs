//! Crashes; clusters that are unreachable, refuse, or do not exist.

use std::time::Duration;

use cofferdam_cluster::{ClusterError, Seen};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_deployments::Timing;
use cofferdam_deployments::{CreateAgent, DeployRequest, Once};

use crate::rig::{On, PLACE, Rig, Settings, fast, image, problem, refused, unreachable};
use cofferdam_testkit::cluster::{Does, crashed, ready};

#[tokio::test]
async fn a_version_that_crashes_soon_is_rolled_back_by_itself() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.start();
        rig.deploy("good").await;
        rig.until(1, State::Up).await;
        rig.cluster.does(&image("bad"), Does::Crashes(Duration::from_millis(400)));
        rig.deploy("bad").await;
        rig.until(2, State::Up).await;
        let back = rig.until(3, State::Up).await;
        assert_eq!(back.image, Some(image("good")));
        let crashed = rig.until(2, State::Failed).await;
        assert_eq!((crashed.reason, crashed.exit_code), (Some(FailureReason::Exited), Some(3)));
        assert!(crashed.last_lines.iter().any(|line| line.contains("boom")), "{crashed:?}");
        assert!(rig.states(2).await.contains(&State::CrashLoop), "{}", rig.story().await);
        rig.until_there(&[3]).await;
        // A crashed version is no target for a rollback.
        rig.deploy("third").await;
        rig.until(4, State::Up).await;
        let back = rig.app.deployments.rollback(&rig.caller, &rig.agent, None, &Once::none()).await.unwrap();
        assert_eq!(back.image, Some(image("good")));
    }
}

/// A version that is there shows something else from now on.
fn now_shows(rig: &Rig, version: u64, seen: Seen) {
    let mut state = rig.cluster.state.lock().unwrap();
    let placed = state.there.iter_mut().find(|(id, _)| id.version == version).unwrap().1;
    placed.does = Does::Shows(vec![(Duration::ZERO, seen)]);
}

/// Version 1 of `good` was replaced by version 2 of `shaky`, which serves.
async fn good_then_shaky() -> Rig {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("good").await;
    rig.until(1, State::Up).await;
    rig.deploy("shaky").await;
    rig.until(2, State::Up).await;
    rig.until_there(&[2]).await;
    rig
}

#[tokio::test]
async fn an_automatic_rollback_that_was_superseded_is_tried_again() {
    let rig = good_then_shaky().await;
    rig.cluster.does(&image("good"), Does::Waits);
    rig.cluster.does(&image("broken"), Does::Fails(FailureReason::Exited));
    for round in 1..=2_u32 {
        now_shows(&rig, 2, crashed(FailureReason::Exited, round, ready(60, round)));
        let back = u64::from(round) * 2 + 1;
        rig.until(back, State::Starting).await;
        // Somebody tries to help, in vain.
        assert_eq!(rig.deploy("broken").await.number, back + 1);
        rig.until(back + 1, State::Failed).await;
        let given_up = rig.until(back, State::Failed).await;
        assert_eq!(given_up.reason, Some(FailureReason::Superseded));
        assert_eq!(given_up.detail, format!("Superseded by version {}, which was asked to run later.", back + 1));
        rig.until(2, State::Up).await;
    }
    rig.cluster.does(&image("good"), Does::Ready(Duration::ZERO));
    now_shows(&rig, 2, crashed(FailureReason::Exited, 3, ready(60, 3)));
    assert_eq!(rig.until(7, State::Up).await.image, Some(image("good")));
    rig.until(2, State::Failed).await;
}

#[tokio::test]
async fn automatic_rollbacks_that_fail_end() {
    let rig = good_then_shaky().await;
    rig.cluster.does(&image("good"), Does::Fails(FailureReason::Exited));
    for round in 1..=4_u32 {
        now_shows(&rig, 2, crashed(FailureReason::Exited, round, ready(60, round)));
        let begun = std::time::Instant::now();
        while rig.version(2).await.crashes < u64::from(round) || rig.version(2).await.state != State::Up {
            assert!(begun.elapsed() < Duration::from_secs(15), "{}", rig.story().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(rig.show().await.latest.unwrap().number, 4, "{}", rig.story().await);
}

#[tokio::test]
async fn without_a_version_to_go_back_to_it_is_made_again_and_given_up_in_the_end() {
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { retry: Duration::from_millis(1), ..fast() })).await;
    rig.start();
    rig.cluster.does(&image("bad"), Does::Crashes(Duration::from_millis(200)));
    rig.deploy("bad").await;
    let failed = rig.until(1, State::Failed).await;
    assert!(failed.detail.contains("5 times"), "{}", failed.detail);
    assert_eq!(rig.cluster.calls("apply v1"), 5, "{}", rig.story().await);
    rig.until_there(&[]).await;
    assert!(rig.show().await.serving.is_none());
}

#[tokio::test]
async fn a_version_that_has_served_for_long_is_made_again() {
    let timing = Timing { probation: Duration::from_millis(80), ..fast() };
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(timing)).await;
    rig.start();
    rig.deploy("old").await;
    rig.until(1, State::Up).await;
    rig.cluster.does(&image("new"), Does::Crashes(Duration::from_millis(300)));
    rig.deploy("new").await;
    rig.until(2, State::Up).await;
    rig.until(2, State::CrashLoop).await;
    rig.until(2, State::Up).await;
    assert!(rig.cluster.calls("apply v2") >= 2, "{}", rig.story().await);
}

#[tokio::test]
async fn a_cluster_that_is_away_is_waited_for_but_not_for_ever() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.start();
        rig.cluster.answer(Some(unreachable));
        rig.deploy("one").await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let waits = rig.version(1).await;
        assert_eq!(waits.state, State::Applying);
        assert!(waits.detail.contains("No route to the cluster"), "{}", waits.detail);
        rig.cluster.answer(None);
        rig.until(1, State::Up).await;
        // While it is away, what serves stays what it is.
        rig.cluster.answer(Some(unreachable));
        rig.deploy("two").await;
        let failed = rig.until(2, State::Failed).await;
        assert_eq!(failed.reason, Some(FailureReason::Cluster));
        assert_eq!(rig.version(1).await.state, State::Up);
        rig.cluster.answer(None);
        rig.until_there(&[1]).await;
    }
}

#[tokio::test]
async fn a_cluster_that_refuses_is_not_asked_again() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.cluster.answer(Some(refused));
    rig.deploy("one").await;
    let failed = rig.until(1, State::Failed).await;
    assert_eq!(failed.reason, Some(FailureReason::Cluster));
    assert!(failed.detail.contains("403"), "{}", failed.detail);
    // The first question was refused, so that nothing was made.
    assert_eq!((rig.cluster.calls("see"), rig.cluster.calls("apply")), (1, 0));
    // Once it is allowed, it is started as it is.
    rig.cluster.answer(None);
    let started = rig.app.deployments.start(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    assert_eq!(started.image, Some(image("one")));
    rig.until(2, State::Up).await;
}

#[tokio::test]
async fn one_cluster_that_hangs_does_not_keep_others_waiting() {
    let mut rig = Rig::new(On::Sqlite).await;
    let hanging = std::sync::Arc::new(cofferdam_testkit::cluster::FakeCluster::default());
    hanging.state.lock().unwrap().slow = Duration::from_secs(3_600);
    rig.clusters.others.lock().unwrap().insert("agents".into(), hanging);
    let request = super::environments::request();
    rig.app.environments.put(&rig.caller, "far", request).await.unwrap();
    for n in 0..40 {
        let id = cofferdam_contract::AgentId::parse(&format!("far-{n}")).unwrap();
        let request = CreateAgent { id: Some(id.clone()), environment: Some("far".into()), ..CreateAgent::default() };
        rig.app.deployments.create(&rig.caller, request, &Once::none()).await.unwrap();
        let request = DeployRequest { image: Some("far.test/x/y:1".into()), ..DeployRequest::default() };
        rig.app.deployments.deploy(&rig.caller, &id, &request, &Once::none()).await.unwrap();
    }
    rig.start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = std::time::Instant::now();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    rig.shut_down().await;
}

#[tokio::test]
async fn without_a_cluster_the_image_is_kept_until_there_is_one() {
    let mut rig = Rig::with(On::Sqlite, &Settings { has_cluster: false, ..Settings::default() }).await;
    rig.start();
    rig.deploy("one").await;
    let failed = rig.until(1, State::Failed).await;
    assert_eq!(failed.reason, Some(FailureReason::NoCluster));
    assert!(failed.detail.contains("KUBECONFIG") && failed.detail.contains("`start`"), "{}", failed.detail);
    assert_eq!(failed.image, Some(image("one")));
    assert_eq!(rig.cluster.calls(""), 0);
    let started = rig.app.deployments.start(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    assert_eq!((started.number, started.image), (2, Some(image("one"))));
    rig.until(2, State::Failed).await;
    // Nothing is left that would have to be removed.
    rig.app.deployments.delete(&rig.caller, &rig.agent, false).await.unwrap();
    for _ in 0..500 {
        if rig.app.deployments.show(&rig.caller, &rig.agent).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{}", rig.story().await);
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    let request = |secrets: &[&str]| DeployRequest {
        image: Some(format!("{PLACE}/default/hello:one")),
        secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
        ..DeployRequest::default()
    };
    let (status, detail) = problem(rig.deploy_with(request(&["DB_PASSWORD"])).await);
    assert!(status == 422 && detail.contains("secret missing") && detail.contains("DB_PASSWORD"), "{detail}");
    let value = zeroize::Zeroizing::new("hush-hush-token".to_owned());
    let hosts = ["db.test".to_owned()];
    rig.app.secrets.put(&rig.caller, "DB_PASSWORD", &value, &hosts).await.unwrap();
    rig.deploy_with(request(&["DB_PASSWORD"])).await.unwrap();
    rig.until(1, State::Up).await;
    assert_eq!(rig.cluster.workload(1).unwrap().env["DB_PASSWORD"].expose(), "hush-hush-token");
    // Gone by the time of the next start.
    rig.app.secrets.delete(&rig.caller, "DB_PASSWORD").await.unwrap();
    rig.app.deployments.restart(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    let failed = rig.until(2, State::Failed).await;
    assert_eq!(failed.reason, Some(FailureReason::CannotStart));
    assert!(failed.detail.contains("DB_PASSWORD"), "{}", failed.detail);
    assert_eq!(rig.show().await.serving.unwrap().number, 1);
}

#[tokio::test]
async fn a_conflict_is_tried_again() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.cluster.answer(Some(|| ClusterError::Conflict("it changed".into())));
    rig.start();
    rig.deploy("one").await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    rig.cluster.answer(None);
    rig.until(1, State::Up).await;
}
