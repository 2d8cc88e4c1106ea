//! Changes that are made to the cluster outside Cofferdam.

use std::time::{Duration, Instant};

use cofferdam_cluster::{Cluster, Workload, WorkloadId};
use cofferdam_contract::{AgentId, DeploymentState as State, OrganizationId, PodSettings, Resources};

use crate::rig::{On, Rig};

#[tokio::test]
async fn a_job_that_was_deleted_by_hand_is_made_again() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    rig.cluster.delete(1);
    rig.until_there(&[1]).await;
    rig.until(1, State::Up).await;
    assert_eq!(rig.show().await.serving.unwrap().number, 1);
    assert!(rig.story().await.contains("deleted outside Cofferdam"), "{}", rig.story().await);
}

fn stray(organization: &str, agent: &str, version: u64) -> Workload {
    Workload {
        id: WorkloadId {
            organization: OrganizationId::parse(organization).unwrap(),
            agent: AgentId::parse(agent).unwrap(),
            version,
        },
        image: "x@sha256:1".into(),
        architecture: "amd64".into(),
        run_as: None,
        env: std::collections::BTreeMap::new(),
        resources: Resources::default(),
        image_pull_secrets: vec![],
        runtime_class: None,
        pod: PodSettings::default(),
        health: cofferdam_contract::Health::default(),
        start_s: 1,
        secrets: vec![],
        ttl_after_finished_s: 1,
    }
}

#[tokio::test]
async fn what_the_store_does_not_know_is_taken_away_later_and_only_of_agents_it_knows() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("one").await;
    rig.until(1, State::Up).await;
    for workload in [stray("default", "hello", 77), stray("default", "unknown", 5), stray("other", "hello", 6)] {
        rig.cluster.apply(&workload).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(rig.cluster.versions().len(), 4, "not at once");
    let begun = Instant::now();
    while rig.cluster.versions().contains(&77) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut left = rig.cluster.versions();
    left.sort_unstable();
    assert_eq!(left, [1, 5, 6], "neither what belongs there nor what is others'");
    assert_eq!(rig.version(1).await.state, State::Up);
}
