//! The driver is killed at every step of a switch, and another one continues.

use std::time::Duration;

use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_deployments::Once;

use cofferdam_logs::LogQuery;
use cofferdam_testkit::cluster::{Does, workload};

use crate::rig::{App, On, Rig, Settings, image, room};

/// Kills the driver when the cluster's calls reach that point, or after a while if they never do.
async fn killed_at(rig: &mut Rig, point: usize) -> bool {
    rig.cluster.state.lock().unwrap().stop_at = Some(point);
    let reached = tokio::time::timeout(Duration::from_millis(900), rig.cluster.reached.notified()).await.is_ok();
    rig.kill().await;
    rig.cluster.state.lock().unwrap().stop_at = None;
    reached
}

#[tokio::test]
async fn a_switch_is_finished_by_whoever_comes_next() {
    for on in On::all() {
        // On PostgreSQL each takes a lease's length.
        let points = if on == On::Sqlite { 12 } else { 6 };
        for point in 1..=points {
            let mut rig = Rig::new(on).await;
            rig.start();
            rig.deploy("one").await;
            rig.until(1, State::Up).await;
            rig.cluster.state.lock().unwrap().serves = true;
            let passed = rig.cluster.points();
            rig.deploy("two").await;
            killed_at(&mut rig, passed + point).await;
            rig.start();
            rig.until(2, State::Up).await;
            rig.until(1, State::Stopped).await;
            rig.until_there(&[2]).await;
            rig.unbroken();
            assert_eq!(rig.show().await.serving.unwrap().number, 2);
            rig.shut_down().await;
        }
    }
}

#[tokio::test]
async fn lines_that_a_version_writes_while_it_is_removed_outlive_a_killed_controller() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    let id = workload("hello", 1);
    let pod = rig.cluster.pod(&id, "pod-v1", 0);
    pod.write("it serves");
    while !log(&rig.app, &rig).await.contains("it serves") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.app.deployments.stop(&rig.caller, &rig.agent).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let point = rig.cluster.points() + 1;
    rig.cluster.state.lock().unwrap().stop_at = Some(point);
    tokio::time::timeout(Duration::from_secs(15), rig.cluster.reached.notified()).await.unwrap();
    // With the process, what it has not stored is gone.
    rig.kill().await;
    rig.app.logs.leave(&rig.caller.organization, &rig.agent);
    rig.cluster.state.lock().unwrap().stop_at = None;
    pod.write("it was asked to end");
    let next = room(rig.app.database.clone(), &rig.folder, &rig.clusters, &Settings::default()).await;
    rig.start_on(&next);
    rig.until(1, State::Stopped).await;
    pod.write("goodbye");
    pod.end();
    let begun = std::time::Instant::now();
    loop {
        let log = log(&next, &rig).await;
        if ["it serves", "it was asked to end", "goodbye"].iter().all(|text| log.matches(text).count() == 1) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.cluster.remove_pods(&id);
}

/// The whole log, as server-sent events.
async fn log(app: &App, rig: &Rig) -> String {
    let query = LogQuery { follow: Some("false".into()), ..LogQuery::default() }.understand(None).unwrap();
    let mut follower = app.logs.follow(&rig.caller.organization, &rig.agent, query).unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = follower.next().await {
        all.extend_from_slice(&bytes);
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_driver_that_is_killed_at_any_moment_loses_nothing() {
    for round in 0..24_u64 {
        let mut rig = Rig::new(On::Sqlite).await;
        rig.cluster.does(&image("bad"), Does::Crashes(Duration::from_millis(25)));
        rig.cluster.state.lock().unwrap().slow = Duration::from_millis(round % 3);
        rig.start();
        rig.deploy("good").await;
        rig.until(1, State::Up).await;
        rig.deploy("bad").await;
        // Somewhere in the middle of applying, looking, switching, crashing, going back.
        for n in 0..4 {
            tokio::time::sleep(Duration::from_millis((round * 7 + n * 13) % 41)).await;
            rig.kill().await;
            rig.start();
        }
        // Whatever was seen of it: the good one serves again, as itself or as version 3.
        let begun = std::time::Instant::now();
        loop {
            let info = rig.show().await;
            let serving = info.serving.map(|row| (row.state, row.image));
            let bad = rig.version(2).await;
            if serving == Some((State::Up, Some(image("good")))) && bad.state == State::Failed {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "round {round}: {}", rig.story().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let serving = rig.show().await.serving.unwrap().number;
        rig.until_there(&[serving]).await;
        rig.shut_down().await;
    }
}

#[tokio::test]
async fn stopping_and_deleting_are_finished_too() {
    for point in 1..=4 {
        let mut rig = Rig::new(On::Sqlite).await;
        rig.start();
        rig.deploy("one").await;
        rig.until(1, State::Up).await;
        let passed = rig.cluster.points();
        rig.app.deployments.delete(&rig.caller, &rig.agent, false).await.unwrap();
        killed_at(&mut rig, passed + point).await;
        rig.start();
        let begun = std::time::Instant::now();
        while rig.app.deployments.show(&rig.caller, &rig.agent).await.is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{point}: {}", rig.story().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(rig.cluster.versions(), [0_u64; 0]);
    }
}

#[tokio::test]
async fn what_is_asked_for_while_nobody_drives_is_done_when_somebody_does() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.cluster.does(&image("one"), Does::Fails(FailureReason::OutOfMemory));
        rig.deploy("one").await;
        rig.deploy("two").await;
        rig.app.deployments.stop(&rig.caller, &rig.agent).await.unwrap();
        rig.app.deployments.start(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
        rig.start();
        let up = rig.until(3, State::Up).await;
        assert_eq!(up.image, Some(image("two")));
        rig.until_there(&[3]).await;
        assert_eq!(rig.cluster.calls("apply"), 1, "the others were never begun");
    }
}
