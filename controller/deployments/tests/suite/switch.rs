//! A version comes up, replaces another, is removed.

use std::time::{Duration, Instant};

use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_deployments::{CreateAgent, DeployRequest, Once, Timing};

use crate::rig::{On, PLACE, Rig, Settings, image, problem};
use cofferdam_testkit::cluster::Does;

#[tokio::test]
async fn the_new_version_is_ready_before_the_old_one_goes() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.cluster.state.lock().unwrap().serves = true;
        rig.start();
        let one = rig.deploy("one").await;
        assert_eq!((one.number, one.state, one.requested), (1, State::Applying, true));
        rig.until(1, State::Up).await;
        assert_eq!(rig.cluster.workload(1).unwrap().image, image("one"));
        rig.cluster.does(&image("two"), Does::Ready(Duration::from_millis(200)));
        rig.deploy("two").await;
        rig.until(2, State::Starting).await;
        assert_eq!(rig.show().await.serving.unwrap().number, 1);
        rig.until(2, State::Up).await;
        rig.until(1, State::Stopped).await;
        rig.until_there(&[2]).await;
        assert_eq!(rig.states(1).await, [State::Applying, State::Starting, State::Up, State::Stopping, State::Stopped]);
        let info = rig.show().await;
        assert_eq!((info.serving.unwrap().number, info.state), (2, Some(State::Up)));
        rig.unbroken();
        rig.shut_down().await;
    }
}

#[tokio::test]
async fn a_version_that_fails_leaves_the_old_one_alone() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.cluster.state.lock().unwrap().serves = true;
        rig.start();
        rig.deploy("good").await;
        rig.until(1, State::Up).await;
        rig.cluster.does(&image("bad"), Does::Fails(FailureReason::ImagePull));
        let secret = [("API_TOKEN".to_owned(), "hush-hush-token".to_owned())];
        let request = DeployRequest {
            image: Some(format!("{PLACE}/default/hello:bad")),
            env: secret.into(),
            ..DeployRequest::default()
        };
        rig.deploy_with(request).await.unwrap();
        let failed = rig.until(2, State::Failed).await;
        assert_eq!((failed.reason, failed.exit_code), (Some(FailureReason::ImagePull), Some(3)));
        assert_eq!(failed.last_lines, ["starting", "the token is [redacted]", "Traceback: boom"]);
        rig.until_there(&[1]).await;
        // Never ready in time.
        rig.cluster.does(&image("slow"), Does::Waits);
        rig.deploy("slow").await;
        let failed = rig.until(3, State::Failed).await;
        assert_eq!(failed.reason, Some(FailureReason::NotReady));
        assert!(failed.detail.contains("the image is being pulled"), "{}", failed.detail);
        rig.until_there(&[1]).await;
        assert_eq!(rig.show().await.serving.unwrap().number, 1);
        rig.unbroken();
    }
}

#[tokio::test]
async fn stop_start_restart_rollback_delete() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.start();
        let (app, caller, id) = (rig.app.clone(), rig.caller.clone(), rig.agent.clone());
        assert_eq!(problem(app.deployments.start(&caller, &id, &Once::none()).await).0, 409, "nothing to start");
        rig.deploy("one").await;
        rig.until(1, State::Up).await;
        let same = app.deployments.start(&caller, &id, &Once::none()).await.unwrap();
        assert_eq!(same.number, 1, "it runs already");
        let again = app.deployments.restart(&caller, &id, &Once::none()).await.unwrap();
        assert_eq!((again.number, again.image), (2, Some(image("one"))));
        rig.until(2, State::Up).await;
        rig.until_there(&[2]).await;
        assert_eq!(
            problem(app.deployments.rollback(&caller, &id, None, &Once::none()).await).0,
            409,
            "only one version"
        );

        rig.deploy("two").await;
        rig.until(3, State::Up).await;
        let back = app.deployments.rollback(&caller, &id, None, &Once::none()).await.unwrap();
        assert_eq!((back.number, back.image), (4, Some(image("one"))));
        rig.until(4, State::Up).await;
        rig.until_there(&[4]).await;
        let there = app.deployments.rollback(&caller, &id, Some(3), &Once::none()).await.unwrap();
        assert_eq!(there.image, Some(image("two")));
        rig.until(5, State::Up).await;
        assert_eq!(problem(app.deployments.rollback(&caller, &id, Some(77), &Once::none()).await).0, 404);

        let stopping = app.deployments.stop(&caller, &id).await.unwrap().unwrap();
        assert_eq!((stopping.number, stopping.state), (5, State::Stopping));
        rig.until(5, State::Stopped).await;
        rig.until_there(&[]).await;
        assert!(rig.show().await.serving.is_none());
        assert!(app.deployments.stop(&caller, &id).await.unwrap().is_none(), "twice is fine");
        let started = app.deployments.start(&caller, &id, &Once::none()).await.unwrap();
        assert_eq!((started.number, started.image), (6, Some(image("two"))));
        rig.until(6, State::Up).await;
        // Stopped because it is bad: a rollback leaves it, too.
        app.deployments.stop(&caller, &id).await.unwrap();
        rig.until(6, State::Stopped).await;
        let back = app.deployments.rollback(&caller, &id, None, &Once::none()).await.unwrap();
        assert_eq!((back.number, back.image), (7, Some(image("one"))));
        rig.until(7, State::Up).await;

        app.deployments.delete(&caller, &id, false).await.unwrap();
        let begun = Instant::now();
        while app.deployments.show(&caller, &id).await.is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", rig.story().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(rig.cluster.versions(), [0_u64; 0]);
        assert_eq!(problem(app.deployments.delete(&caller, &id, false).await).0, 404);
        // The name is free again, and nothing of the old one comes back.
        let request = CreateAgent { id: Some(id.clone()), ..CreateAgent::default() };
        app.deployments.create(&caller, request, &Once::none()).await.unwrap();
        assert_eq!(rig.deploy("new").await.number, 1);
        rig.until(1, State::Up).await;
    }
}

#[tokio::test]
async fn of_two_at_once_the_one_asked_for_last_serves() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.start();
        rig.cluster.does(&image("slow"), Does::Ready(Duration::from_millis(700)));
        rig.deploy("slow").await;
        rig.until(1, State::Starting).await;
        rig.deploy("next").await;
        rig.until(2, State::Up).await;
        let given_up = rig.until(1, State::Failed).await;
        assert_eq!(given_up.reason, Some(FailureReason::Superseded));
        rig.until_there(&[2]).await;
        // Many at the same time: numbers are distinct, and the highest turn wins.
        let deploys = (0..8).map(|n| {
            let (app, caller, id) = (rig.app.clone(), rig.caller.clone(), rig.agent.clone());
            let request =
                DeployRequest { image: Some(format!("{PLACE}/default/hello:n{n}")), ..DeployRequest::default() };
            tokio::spawn(async move { app.deployments.deploy(&caller, &id, &request, &Once::none()).await })
        });
        let mut numbers = Vec::new();
        for deploy in deploys.collect::<Vec<_>>() {
            numbers.push(deploy.await.unwrap().unwrap().number);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (3..=10).collect::<Vec<_>>());
        rig.until(10, State::Up).await;
        rig.until_there(&[10]).await;
        for number in 3..10 {
            let info = rig.version(number).await;
            assert!(matches!(info.state, State::Failed | State::Stopped | State::Stopping), "{info:?}");
        }
    }
}

/// The time from the request to the applied Job, with the image already pushed.
#[tokio::test]
async fn deploying_takes_no_time_of_ours() {
    for on in On::all() {
        let mut rig = Rig::with(on, &Settings::timing(Timing::default())).await;
        rig.start();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut took = Vec::new();
        for n in 1..=10 {
            let begun = Instant::now();
            rig.deploy(&format!("t{n}")).await;
            while rig.cluster.calls(&format!("apply v{n}")) == 0 {
                assert!(begun.elapsed() < Duration::from_secs(5), "{}", rig.story().await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        eprintln!("{on:?}: from `deploy` to the Job: median {:?}, worst {:?}", took[5], took[9]);
        assert!(took[5] < Duration::from_millis(300), "{took:?}");
    }
}
