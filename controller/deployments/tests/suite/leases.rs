//! Several drivers on one store.

use std::time::Duration;

use cofferdam_contract::{AgentId, DeploymentState as State};
use cofferdam_deployments::{CreateAgent, DeployRequest, Once};

use cofferdam_core::Caller;

use crate::rig::{App, On, PLACE, Rig, Settings, room};

#[tokio::test]
async fn an_agent_has_one_driver_and_another_when_that_is_gone() {
    if !On::all().contains(&On::Postgresql) {
        return;
    }
    let mut rig = Rig::new(On::Postgresql).await;
    let other = room(rig.app.database.clone(), &rig.folder, &rig.clusters, &Settings::default()).await;
    rig.start();
    rig.start_on(&other);
    let ids: Vec<AgentId> = (0..20).map(|n| AgentId::parse(&format!("many-{n}")).unwrap()).collect();
    for id in &ids {
        let request = CreateAgent { id: Some(id.clone()), ..CreateAgent::default() };
        rig.app.deployments.create(&rig.caller, request, &Once::none()).await.unwrap();
        let request = DeployRequest { image: Some(format!("{PLACE}/default/{id}:1")), ..DeployRequest::default() };
        // Asked for here and there.
        let app = if id.as_str().ends_with('1') { &other } else { &rig.app };
        app.deployments.deploy(&rig.caller, id, &request, &Once::none()).await.unwrap();
    }
    let up = |app: App, caller: Caller, number: u64| {
        let ids = ids.clone();
        async move {
            for _ in 0..2_000 {
                let mut all = true;
                for id in &ids {
                    let info = app.deployments.show(&caller, id).await.unwrap();
                    all &= info.serving.is_some_and(|row| row.number == number && row.state == State::Up);
                }
                if all {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("not all came up");
        }
    };
    up(rig.app.clone(), rig.caller.clone(), 1).await;
    assert_eq!(rig.cluster.calls("apply"), 20, "each by one of them, once");
    // Both are killed; a third waits for their leases to run out and goes on.
    rig.kill().await;
    for id in &ids {
        other.deployments.restart(&rig.caller, id, &Once::none()).await.unwrap();
    }
    rig.start_on(&other);
    up(other, rig.caller.clone(), 2).await;
    rig.shut_down().await;
}

#[tokio::test]
async fn who_has_lost_the_lease_writes_nothing() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        rig.deploy("one").await;
        let (store, organization, id) = (&rig.app.store, &rig.caller.organization, &rig.agent);
        let now =
            i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis())
                .unwrap();
        assert!(store.claim_agent(organization, id, "a", now, now + 60_000).await.unwrap());
        assert!(!store.claim_agent(organization, id, "b", now, now + 60_000).await.unwrap());
        assert!(store.claim_agents("b", now, now + 60_000, 10).await.unwrap().is_empty());
        assert!(store.change_agent(organization, id, Some("b")).await.unwrap().is_none());
        store.change_agent(organization, id, Some("a")).await.unwrap().unwrap().abandon().await.unwrap();
        assert_eq!(store.dirty_agents("a").await.unwrap().len(), 1);
        let seen = store.agent(organization, id).await.unwrap().unwrap().dirty;
        store.clean_agent(organization, id, "a", seen - 1).await.unwrap();
        store.clean_agent(organization, id, "b", seen).await.unwrap();
        assert_eq!(store.dirty_agents("a").await.unwrap().len(), 1, "changed meanwhile, or not theirs");
        store.clean_agent(organization, id, "a", seen).await.unwrap();
        assert!(store.dirty_agents("a").await.unwrap().is_empty());
        // It has run out: whoever comes next has it, and the first may neither write nor prolong.
        assert!(store.claim_agent(organization, id, "b", now + 60_001, now + 120_000).await.unwrap());
        assert!(store.change_agent(organization, id, Some("a")).await.unwrap().is_none());
        assert!(store.prolong("a", now, now + 90_000).await.unwrap().is_empty());
        assert_eq!(store.prolong("b", now, now + 130_000).await.unwrap().len(), 1);
        store.release_agent(organization, id, "a").await.unwrap();
        assert!(store.change_agent(organization, id, Some("b")).await.unwrap().is_some());
        store.release_agents(Some("b")).await.unwrap();
        assert!(store.claim_agent(organization, id, "c", now, now + 1).await.unwrap());
    }
}
