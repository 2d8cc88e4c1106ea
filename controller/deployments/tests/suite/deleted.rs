//! Agents whose cluster does not let go of them, and environments with such agents.

use std::time::{Duration, Instant};

use cofferdam_contract::{AgentId, DeploymentState as State};
use cofferdam_deployments::{CheckOutcome, CreateAgent, DeployRequest, Once};

use crate::environments::request;
use crate::rig::{On, PLACE, Rig, problem, refused, unreachable};

/// Waits until an agent is gone.
async fn until_gone(rig: &Rig, agent: &AgentId) {
    let begun = Instant::now();
    while rig.app.deployments.show(&rig.caller, agent).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{agent} is still there\n{}", rig.story().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_agent_of_which_nothing_was_made_is_deleted_whatever_its_cluster_says() {
    for on in On::all() {
        for answer in [refused as fn() -> _, unreachable] {
            let mut rig = Rig::new(on).await;
            rig.start();
            rig.cluster.answer(Some(answer));
            rig.deploy("one").await;
            rig.until(1, State::Failed).await;
            assert_eq!(rig.cluster.calls("apply"), 0, "it was asked before anything was made");
            let deleted = rig.app.deployments.delete(&rig.caller, &rig.agent, false).await.unwrap();
            assert_eq!(deleted.left_behind, None);
            until_gone(&rig, &rig.agent).await;
        }
    }
}

#[tokio::test]
async fn what_a_cluster_does_not_let_go_of_is_named_and_left_by_force_only() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.start();
        rig.deploy("one").await;
        rig.until(1, State::Up).await;
        rig.cluster.answer(Some(refused));
        let deleted = rig.app.deployments.delete(&rig.caller, &rig.agent, false).await.unwrap();
        assert_eq!(deleted.left_behind, None, "nothing is left without force");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let shown = rig.show().await;
        assert!(shown.deleting && shown.latest.unwrap().detail.contains("cannot be removed yet"));
        let deleted = rig.app.deployments.delete(&rig.caller, &rig.agent, true).await.unwrap();
        let left = deleted.left_behind.unwrap();
        assert_eq!((left.environment.as_str(), left.namespace.as_deref()), ("local", Some("cofferdam-agents")));
        assert!(left.names.len() == 1 && left.names[0].ends_with("-v1"), "{left:?}");
        until_gone(&rig, &rig.agent).await;
        assert_eq!(problem(rig.app.deployments.delete(&rig.caller, &rig.agent, true).await).0, 404);
    }
}

#[tokio::test]
async fn by_force_a_cluster_that_answers_still_loses_the_job() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    rig.app.deployments.delete(&rig.caller, &rig.agent, true).await.unwrap();
    until_gone(&rig, &rig.agent).await;
    rig.until_there(&[]).await;
}

#[tokio::test]
async fn an_environment_is_deleted_with_its_agents_by_force_only() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.app.environments.put(&rig.caller, "far", request()).await.unwrap();
    let id = AgentId::parse("far-one").unwrap();
    let make = CreateAgent { id: Some(id.clone()), environment: Some("far".into()), ..CreateAgent::default() };
    rig.app.deployments.create(&rig.caller, make, &Once::none()).await.unwrap();
    let deploy = DeployRequest { image: Some("far.test/x/y:1".into()), ..DeployRequest::default() };
    rig.app.deployments.deploy(&rig.caller, &id, &deploy, &Once::none()).await.unwrap();
    let begun = Instant::now();
    while rig.app.deployments.deployment(&rig.caller, &id, 1).await.unwrap().state != State::Up {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.cluster.answer(Some(refused));
    let deployments = &rig.app.deployments;
    assert_eq!(problem(deployments.delete_environment(&rig.caller, "far", false).await).0, 409);
    assert_eq!(problem(deployments.delete_environment(&rig.caller, "local", true).await).0, 409);
    assert_eq!(problem(deployments.delete_environment(&rig.caller, "none", true).await).0, 404);
    let deleted = deployments.delete_environment(&rig.caller, "far", true).await.unwrap();
    assert_eq!(deleted.len(), 1);
    let left = deleted[0].left_behind.as_ref().unwrap();
    assert_eq!((deleted[0].agent_id.as_str(), left.namespace.as_deref()), ("far-one", Some("agents")));
    assert_eq!(problem(rig.app.environments.show(&rig.caller, "far").await).0, 404);
    assert!(rig.app.deployments.show(&rig.caller, &rig.agent).await.is_ok(), "others stay");
}

#[tokio::test]
async fn an_environment_is_tried_out() {
    let rig = Rig::new(On::Sqlite).await;
    let tested = rig.app.deployments.test_environment(&rig.caller, "local").await.unwrap();
    assert!(tested.ok && tested.checks.len() == 2, "{tested:?}");
    assert!(tested.checks[1].detail.contains(&format!("{PLACE}/default/")), "{tested:?}");
    rig.cluster.answer(Some(refused));
    let tested = rig.app.deployments.test_environment(&rig.caller, "local").await.unwrap();
    assert!(!tested.ok && tested.checks[0].outcome == CheckOutcome::Bad, "{tested:?}");
    assert!(tested.checks[0].detail.starts_with("Forbidden") && tested.checks[0].detail.ends_with('.'), "{tested:?}");
    assert_eq!(problem(rig.app.deployments.test_environment(&rig.caller, "none").await).0, 404);
    let full = serde_json::from_value(serde_json::json!({"images": "r.test/full"})).unwrap();
    rig.app.environments.put(&rig.caller, "full", full).await.unwrap();
    let tested = rig.app.deployments.test_environment(&rig.caller, "full").await.unwrap();
    let registry = tested.checks.iter().find(|check| check.about == "registry").unwrap();
    assert_eq!((registry.outcome, registry.detail.as_str()), (CheckOutcome::Bad, "The registry is full."));
    assert!(tested.checks[0].detail.contains("kubeconfig"), "no cluster: {tested:?}");
}
