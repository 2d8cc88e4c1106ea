//! A version that serves, as its cluster shows it: crashes, what is no crash, and what is not known. The states are data.

use std::time::{Duration, Instant};

use cofferdam_cluster::{ClusterError, HeldBy, Seen, Words, WorkloadFailure, workload_name};
use cofferdam_contract::{AgentId, DeploymentState as State, FailureReason, Health, HttpProbe, Probe};
use cofferdam_deployments::{CreateAgent, DeployRequest, DeploymentInfo, Once, Timing};
use cofferdam_testkit::cluster::{Does, crashed, failure, ready, waiting, workload};

use crate::rig::{On, PLACE, Rig, Settings, fast, image, problem, refused, unreachable};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn shows<const N: usize>(states: [(u64, Seen); N]) -> Does {
    Does::Shows(states.into_iter().map(|(from, seen)| (ms(from), seen)).collect())
}

/// A rig whose versions have proved themselves at once.
async fn proved() -> Rig {
    Rig::with(On::Sqlite, &Settings::timing(Timing { probation: ms(0), ..fast() })).await
}

/// Waits until it is so.
async fn until(rig: &Rig, what: &str, is: impl Fn(&DeploymentInfo) -> bool) -> DeploymentInfo {
    let begun = Instant::now();
    loop {
        let info = rig.version(1).await;
        if is(&info) {
            return info;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "not {what}: {info:#?}\n{}", rig.story().await);
        tokio::time::sleep(ms(4)).await;
    }
}

#[tokio::test]
async fn a_crash_on_the_way_up_is_a_failure_at_once_whatever_the_container_does_now() {
    for now in [waiting("the node waits before it restarts the container", HeldBy::Itself), ready(60, 1)] {
        let mut rig =
            Rig::with(On::Sqlite, &Settings::timing(Timing { start: Duration::from_secs(60), ..fast() })).await;
        rig.start();
        rig.cluster.does(&image("bad"), shows([(0, crashed(FailureReason::OutOfMemory, 1, now))]));
        rig.deploy("bad").await;
        let failed = rig.until(1, State::Failed).await;
        assert_eq!((failed.reason, failed.exit_code), (Some(FailureReason::OutOfMemory), Some(3)));
        assert!(failed.last_lines.iter().any(|line| line.contains("boom")), "{failed:?}");
        assert_eq!((failed.restarts, failed.up_at_ms), (1, None));
        assert!(!rig.states(1).await.contains(&State::Up), "{}", rig.story().await);
        rig.until_there(&[]).await;
    }
}

#[tokio::test]
async fn a_crash_of_a_version_that_serves_is_said_and_its_node_restarts_it() {
    let mut rig = proved().await;
    rig.start();
    let oom = |now| crashed(FailureReason::OutOfMemory, 1, now);
    let down = waiting("the container is being restarted", HeldBy::Itself);
    rig.cluster.does(&image("one"), shows([(0, ready(60, 0)), (200, oom(down)), (500, oom(ready(60, 1)))]));
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    let crashing = rig.until(1, State::CrashLoop).await;
    assert_eq!(crashing.reason, Some(FailureReason::OutOfMemory));
    assert!(crashing.detail.contains("Its node restarts it."), "{}", crashing.detail);
    assert!(crashing.last_lines.iter().any(|line| line.contains("boom")), "{crashing:?}");
    let up = rig.until(1, State::Up).await;
    assert_eq!((up.restarts, up.reason), (1, None));
    let crash = up.last_crash.unwrap();
    assert_eq!((crash.reason, crash.exit_code), (FailureReason::OutOfMemory, Some(3)));
    // The same end is no new crash.
    tokio::time::sleep(ms(150)).await;
    assert_eq!(rig.version(1).await.state, State::Up, "{}", rig.story().await);
    assert_eq!(rig.cluster.calls("apply v1"), 1, "{}", rig.story().await);
    assert_eq!(rig.states(1).await, [State::Applying, State::Starting, State::Up, State::CrashLoop, State::Up]);
}

#[tokio::test]
async fn the_first_crash_after_coming_up_brings_the_version_before_back() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("good").await;
    rig.until(1, State::Up).await;
    let states = [(0, ready(60, 0)), (200, crashed(FailureReason::Exited, 1, ready(60, 1)))];
    rig.cluster.does(&image("bad"), shows(states));
    rig.deploy("bad").await;
    rig.until(2, State::Up).await;
    assert_eq!(rig.until(3, State::Up).await.image, Some(image("good")));
    let bad = rig.until(2, State::Failed).await;
    assert_eq!((bad.reason, bad.restarts), (Some(FailureReason::Exited), 1));
}

#[tokio::test]
async fn five_crashes_in_a_row_are_the_end() {
    let mut rig = proved().await;
    rig.start();
    let down = || waiting("the container is being restarted", HeldBy::Itself);
    let crash = |number| crashed(FailureReason::Exited, number, down());
    let states =
        [(0, ready(60, 0)), (150, crash(1)), (250, crash(2)), (350, crash(3)), (450, crash(4)), (550, crash(5))];
    rig.cluster.does(&image("one"), shows(states));
    rig.deploy("one").await;
    let failed = rig.until(1, State::Failed).await;
    assert!(failed.detail.contains("5 times"), "{}", failed.detail);
    assert_eq!((failed.restarts, rig.cluster.calls("apply v1")), (5, 1), "{}", rig.story().await);
    rig.until_there(&[]).await;
}

#[tokio::test]
async fn what_the_cluster_does_to_a_version_is_no_crash_and_is_said() {
    let unschedulable = Seen::Failed(WorkloadFailure { exit_code: None, ..failure(FailureReason::Unschedulable) });
    let suspended = waiting("the Job is suspended, by hand", HeldBy::Cluster);
    for (seen, says) in [(suspended, "Not ready: the Job is suspended"), (unschedulable, "Not ready: It ended")] {
        let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { start: ms(200), ..fast() })).await;
        rig.start();
        rig.deploy("before").await;
        rig.until(1, State::Up).await;
        rig.cluster.does(&image("one"), shows([(0, ready(60, 0)), (150, seen), (1_000, ready(60, 0))]));
        rig.deploy("one").await;
        rig.until(2, State::Up).await;
        let begun = Instant::now();
        let mut since = None;
        while begun.elapsed() < ms(700) {
            let info = rig.version(2).await;
            assert_eq!(info.state, State::Up, "{}", rig.story().await);
            if let Some(known) = info.not_ready_since_ms {
                assert!(info.detail.starts_with(says), "{}", info.detail);
                assert!(since.is_none_or(|since| since == known), "the time does not move");
                since = Some(known);
            }
            tokio::time::sleep(ms(10)).await;
        }
        assert!(since.is_some(), "{}", rig.story().await);
        let begun = Instant::now();
        while rig.version(2).await.not_ready_since_ms.is_some() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{}", rig.story().await);
            tokio::time::sleep(ms(10)).await;
        }
        let story = rig.story().await;
        assert!(story.contains(&format!("v2 Up None {says}")), "{story}");
        assert_eq!(rig.version(2).await.detail, "Serving, in pod pod-x.");
        assert_eq!((rig.cluster.calls("apply v2"), rig.show().await.latest.unwrap().number), (1, 2), "{story}");
    }
}

#[tokio::test]
async fn a_version_whose_pod_was_taken_away_waits_for_its_cluster() {
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { start: ms(200), ..fast() })).await;
    rig.start();
    rig.deploy("before").await;
    rig.until(1, State::Up).await;
    let unschedulable = Seen::Failed(WorkloadFailure { exit_code: None, ..failure(FailureReason::Unschedulable) });
    let cordoned = waiting("waiting for a node", HeldBy::Cluster);
    let states = [(0, ready(60, 0)), (150, Seen::Gone), (250, cordoned), (550, unschedulable), (1_000, ready(60, 0))];
    rig.cluster.does(&image("one"), shows(states));
    rig.deploy("one").await;
    rig.until(2, State::Up).await;
    let down = rig.until(2, State::Starting).await;
    assert!(down.not_ready_since_ms.is_some(), "{down:?}");
    // The cluster refuses for a while, as with a quota that is used up.
    rig.cluster.answer(Some(refused));
    tokio::time::sleep(ms(100)).await;
    rig.cluster.answer(None);
    let up = rig.until(2, State::Up).await;
    assert_eq!((up.not_ready_since_ms, up.restarts, up.last_crash), (None, 0, None));
    let story = rig.story().await;
    assert!(
        !story.contains("CrashLoop") && story.contains("its pod away") && story.contains("Waiting for a node"),
        "{story}"
    );
    assert_eq!(rig.show().await.latest.unwrap().number, 2, "{story}");
}

#[tokio::test]
async fn a_version_that_does_not_get_ready_by_its_own_fault_is_restarted_after_its_start_time() {
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { start: ms(250), probation: ms(0), ..fast() })).await;
    rig.start();
    rig.cluster.does(&image("one"), shows([(0, ready(60, 0)), (100, waiting("its probe fails", HeldBy::Itself))]));
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    let crashing = rig.until(1, State::CrashLoop).await;
    assert_eq!(crashing.reason, Some(FailureReason::NotReady));
    assert!(crashing.detail.contains("Its probe fails."), "{}", crashing.detail);
    let begun = Instant::now();
    while rig.cluster.calls("apply v1") < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", rig.story().await);
        tokio::time::sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_or_refuses_is_said_of_the_version_that_serves() {
    for (answer, says) in [(unreachable as fn() -> _, "no route to the cluster"), (refused, "403")] {
        let mut rig = Rig::new(On::Sqlite).await;
        rig.start();
        rig.deploy("one").await;
        rig.until(1, State::Up).await;
        rig.cluster.answer(Some(answer));
        let away = until(&rig, "away", |info| info.unreachable_since_ms.is_some()).await;
        assert_eq!(away.state, State::Up);
        assert!(away.detail.contains("cannot be checked now") && away.detail.contains(says), "{}", away.detail);
        let since = away.unreachable_since_ms;
        tokio::time::sleep(ms(100)).await;
        assert_eq!(rig.version(1).await.unreachable_since_ms, since, "the time does not move");
        // Another driver knows it too.
        rig.kill().await;
        rig.start();
        tokio::time::sleep(ms(100)).await;
        assert_eq!(rig.version(1).await.unreachable_since_ms, since);
        rig.cluster.answer(None);
        let back = until(&rig, "back", |info| info.unreachable_since_ms.is_none()).await;
        assert_eq!((back.state, back.detail.as_str()), (State::Up, "Serving, in pod pod-v1."));
        assert!(rig.story().await.contains("cannot be checked now"), "{}", rig.story().await);
    }
}

#[tokio::test]
async fn many_versions_that_serve_well_are_observed_by_few_requests() {
    const AGENTS: usize = 60;
    let watch = ms(400);
    let timing = Timing { watch, drift: Duration::from_secs(600), reconcile: Duration::from_secs(600), ..fast() };
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(timing)).await;
    rig.start();
    for number in 0..AGENTS {
        let id = AgentId::parse(&format!("many-{number}")).unwrap();
        let request = CreateAgent { id: Some(id.clone()), ..CreateAgent::default() };
        rig.app.deployments.create(&rig.caller, request, &Once::none()).await.unwrap();
        let request = DeployRequest { image: Some(format!("{PLACE}/default/hello:one")), ..DeployRequest::default() };
        rig.app.deployments.deploy(&rig.caller, &id, &request, &Once::none()).await.unwrap();
    }
    let begun = Instant::now();
    loop {
        let (agents, _) = rig.app.deployments.list(&rig.caller, "many", 100).await.unwrap();
        if agents.iter().filter(|agent| agent.state == Some(State::Up)).count() == AGENTS {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", agents.len());
        tokio::time::sleep(ms(20)).await;
    }
    tokio::time::sleep(watch * 3).await;
    let before = (rig.cluster.calls("see"), rig.cluster.calls("survey"));
    let begun = Instant::now();
    tokio::time::sleep(watch * 5).await;
    let intervals = begun.elapsed().as_millis() / watch.as_millis() + 1;
    let (seen, surveys) = (rig.cluster.calls("see") - before.0, rig.cluster.calls("survey") - before.1);
    // At most one for half an interval, however many versions there are; each look at one would make 300.
    assert!(surveys >= 5 && surveys as u128 <= 2 * intervals + 1, "{surveys} in {intervals} intervals");
    assert_eq!(seen, 0, "{surveys} surveys");
    // One that ends is looked at by itself.
    let end = |state: &mut cofferdam_testkit::cluster::State| {
        let placed = state.there.iter_mut().find(|(id, _)| id.agent.as_str() == "many-7").unwrap().1;
        placed.does = shows([(0, crashed(FailureReason::Exited, 1, ready(60, 1)))]);
    };
    end(&mut rig.cluster.state.lock().unwrap());
    let (id, begun) = (AgentId::parse("many-7").unwrap(), Instant::now());
    loop {
        let info = rig.app.deployments.deployment(&rig.caller, &id, 1).await.unwrap();
        if info.crashes == 1 {
            assert!(!info.last_crash.unwrap().detail.is_empty());
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{info:?}");
        tokio::time::sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn one_lost_answer_is_no_news() {
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { watch: ms(300), retry: ms(250), ..fast() })).await;
    rig.start();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    let asked = rig.cluster.calls("see v1");
    rig.cluster.answer(Some(unreachable));
    while rig.cluster.calls("see v1") == asked {
        tokio::time::sleep(ms(2)).await;
    }
    rig.cluster.answer(None);
    tokio::time::sleep(ms(500)).await;
    assert!(!rig.story().await.contains("cannot be checked"), "{}", rig.story().await);
}

#[tokio::test]
async fn what_was_deleted_by_hand_is_restored_and_said() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    rig.cluster.state.lock().unwrap().missing = vec!["NetworkPolicy", "Secret"];
    let begun = Instant::now();
    loop {
        let story = rig.story().await;
        let said =
            |kind| story.contains(&format!("v1 Up None The {kind} was deleted outside Cofferdam, and was restored."));
        if said("NetworkPolicy") && said("Secret") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{story}");
        tokio::time::sleep(ms(10)).await;
    }
    assert_eq!(rig.version(1).await.detail, "Serving, in pod pod-v1.");
    tokio::time::sleep(ms(200)).await;
    assert_eq!(rig.story().await.matches("was restored").count(), 2, "{}", rig.story().await);
}

#[tokio::test]
async fn only_secrets_are_taken_out_of_a_failure_and_our_own_words_stay() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    let value = zeroize::Zeroizing::new("hello".to_owned());
    rig.app.secrets.put(&rig.caller, "DB_PASSWORD", &value, &["db.test".to_owned()]).await.unwrap();
    let name = workload_name(&workload("hello", 1));
    let detail =
        Words::ours("The image hello cannot be pulled").saying(". The node says:", &format!("{name}-x: hello"));
    let last_lines = vec!["the password is hello".to_owned()];
    let failed = WorkloadFailure { detail, last_lines, ..failure(FailureReason::Exited) };
    rig.cluster.does(&image("one"), shows([(0, Seen::Failed(failed))]));
    let request = DeployRequest {
        image: Some(format!("{PLACE}/default/hello:one")),
        secrets: ["DB_PASSWORD".to_owned()].into(),
        ..DeployRequest::default()
    };
    rig.deploy_with(request).await.unwrap();
    let failed = rig.until(1, State::Failed).await;
    let wanted = format!("The image hello cannot be pulled. The node says: {name}-x: [redacted].");
    assert_eq!(failed.detail, wanted);
    assert_eq!(failed.last_lines, ["the password is [redacted]"]);
}

#[tokio::test]
async fn a_refusal_repeats_no_secret_of_its_version() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    let value = zeroize::Zeroizing::new("hello \"there\"".to_owned());
    rig.app.secrets.put(&rig.caller, "DB_PASSWORD", &value, &["db.test".to_owned()]).await.unwrap();
    rig.cluster.answer(Some(|| {
        let words = Words::ours("The cluster forbids it (403)");
        ClusterError::Refused(words.saying(". It says:", r#"data {"DB_PASSWORD": "hello \"there\""} of hello"#))
    }));
    let request = DeployRequest {
        image: Some(format!("{PLACE}/default/hello:one")),
        secrets: ["DB_PASSWORD".to_owned()].into(),
        ..DeployRequest::default()
    };
    rig.deploy_with(request).await.unwrap();
    let failed = rig.until(1, State::Failed).await;
    let wanted = r#"The cluster forbids it (403). It says: data {"DB_PASSWORD": "[redacted]"} of hello."#;
    assert_eq!(failed.detail, wanted);
    assert!(!rig.story().await.contains("there"), "{}", rig.story().await);
}

fn with(health: Health) -> DeployRequest {
    DeployRequest { image: Some(format!("{PLACE}/default/hello:one")), health, ..DeployRequest::default() }
}

#[tokio::test]
async fn the_times_of_a_deployment_are_kept_and_repeated() {
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(Timing { start: Duration::from_secs(60), ..fast() })).await;
    rig.start();
    let probe = Probe { http: Some(HttpProbe { port: 8080, path: Some("/ready".into()) }), ..Probe::default() };
    let health = Health { readiness: Some(probe), min_ready_s: Some(1), start_s: Some(2), ..Health::default() };
    let begun = Instant::now();
    rig.deploy_with(with(health.clone())).await.unwrap();
    let up = rig.until(1, State::Up).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(up.health, health);
    let placed = rig.cluster.workload(1).unwrap();
    assert_eq!((placed.health, placed.start_s), (health.clone(), 2));
    // A restart is the same version again.
    rig.cluster.does(&image("one"), Does::Waits);
    rig.app.deployments.restart(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    let failed = rig.until(2, State::Failed).await;
    assert_eq!((failed.reason, failed.health), (Some(FailureReason::NotReady), health));
    assert!(
        failed.detail.contains("Not ready within 2 s") && failed.detail.contains("health.start_s"),
        "{}",
        failed.detail
    );

    let (status, detail) = problem(rig.deploy_with(with(Health { start_s: Some(0), ..Health::default() })).await);
    assert!(status == 422 && detail.contains("health.start_s"), "{detail}");
}
