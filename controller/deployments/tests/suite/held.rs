//! Versions that their cluster holds up: their times count from when it lets go, and neither its quota, nor its silence, nor
//! a Job that had to be created again rolls a version back. The states are data.

use std::time::{Duration, Instant};

use cofferdam_cluster::{HeldBy, Seen, WorkloadFailure};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_deployments::Timing;
use cofferdam_testkit::cluster::{Does, failure, ready, waiting};
use futures_util::future::join_all;

use crate::rig::{On, Rig, Settings, fast, image, unreachable};

/// Beside other tests a step takes a while: the times of the states below are multiplied by it.
const SLOWER: u64 = 3;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn shows(states: Vec<(u64, Seen)>) -> Does {
    Does::Shows(states.into_iter().map(|(from, seen)| (ms(from * SLOWER), seen)).collect())
}

/// A rig with an earlier version to go back to. A version has 300 ms, multiplied as well, to come up.
async fn rig() -> Rig {
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { start: ms(300 * SLOWER), ..fast() })).await;
    rig.start();
    rig.deploy("before").await;
    rig.until(1, State::Up).await;
    rig
}

fn quota() -> Seen {
    Seen::Failed(WorkloadFailure { exit_code: None, ..failure(FailureReason::Cluster) })
}

fn by_cluster() -> Seen {
    waiting("waiting for a node", HeldBy::Cluster)
}

fn by_itself() -> Seen {
    waiting("the container runs and is not ready", HeldBy::Itself)
}

/// Waits until the version serves well again, and returns all that happened.
async fn serves_again(rig: &Rig) -> String {
    let begun = Instant::now();
    loop {
        let info = rig.version(2).await;
        let story = rig.story().await;
        if info.state == State::Up && info.not_ready_since_ms.is_none() && begun.elapsed() > ms(1_200 * SLOWER) {
            return story;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{info:#?}\n{story}");
        tokio::time::sleep(ms(20)).await;
    }
}

#[tokio::test]
async fn a_version_that_was_held_up_has_its_whole_time_again() {
    // Held up twice as long as a version may take, then two thirds of its time for itself.
    let after = |held: Vec<(u64, Seen)>| {
        let mut states = vec![(0, ready(60, 0))];
        states.extend(held);
        states.extend([(800, by_itself()), (1_000, ready(60, 0))]);
        states
    };
    let cases = [
        ("a quota", vec![(150, quota())]),
        ("a drain", vec![(150, by_cluster())]),
        ("a Job that is created again", vec![(150, Seen::Gone), (250, quota())]),
        ("its own trouble before", vec![(150, by_itself()), (300, by_cluster()), (400, quota())]),
    ];
    let played = cases.map(|(name, held)| async move {
        let rig = rig().await;
        rig.cluster.does(&image("one"), shows(after(held)));
        rig.deploy("one").await;
        rig.until(2, State::Up).await;
        let story = serves_again(&rig).await;
        assert!(!story.contains("CrashLoop") && !story.contains("Rolling back"), "{name}: {story}");
        assert_eq!(rig.show().await.latest.unwrap().number, 2, "{name}: {story}");
    });
    join_all(played).await;
}

#[tokio::test]
async fn a_time_in_which_the_cluster_did_not_answer_does_not_count() {
    let rig = rig().await;
    let states = vec![(0, ready(60, 0)), (150, by_itself()), (1_000, ready(60, 0))];
    rig.cluster.does(&image("one"), shows(states));
    rig.deploy("one").await;
    rig.until(2, State::Up).await;
    let begun = Instant::now();
    while rig.version(2).await.not_ready_since_ms.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", rig.story().await);
        tokio::time::sleep(ms(5)).await;
    }
    rig.cluster.answer(Some(unreachable));
    tokio::time::sleep(ms(600 * SLOWER)).await;
    rig.cluster.answer(None);
    let story = serves_again(&rig).await;
    assert!(!story.contains("CrashLoop"), "{story}");
}

#[tokio::test]
async fn a_version_that_stays_unready_after_its_cluster_let_go_has_crashed() {
    for held in [vec![(150, quota())], vec![(150, Seen::Gone), (250, by_cluster())]] {
        let rig = rig().await;
        let mut states = vec![(0, ready(60, 0))];
        states.extend(held);
        states.push((500, by_itself()));
        rig.cluster.does(&image("one"), shows(states));
        rig.deploy("one").await;
        rig.until(2, State::Up).await;
        rig.until(3, State::Up).await;
        let story = rig.story().await;
        assert!(story.contains("v2 CrashLoop") && story.contains("Rolling back to version 1"), "{story}");
    }
}

#[tokio::test]
async fn a_new_version_has_its_time_from_when_the_cluster_lets_go_and_the_cluster_has_as_much() {
    let rig = rig().await;
    let states = vec![(0, by_cluster()), (200, by_itself()), (400, ready(60, 0))];
    rig.cluster.does(&image("one"), shows(states));
    rig.deploy("one").await;
    rig.until(2, State::Up).await;
    for (number, tag, seen) in [(3, "held", by_cluster()), (4, "slow", by_itself())] {
        rig.cluster.does(&image(tag), shows(vec![(0, seen)]));
        rig.deploy(tag).await;
        let failed = rig.until(number, State::Failed).await;
        assert_eq!(failed.reason, Some(FailureReason::NotReady), "{failed:?}");
    }
    assert_eq!(rig.version(2).await.state, State::Up);
}
