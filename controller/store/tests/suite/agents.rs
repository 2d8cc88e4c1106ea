//! Agents, deployments, events, variables, layer hints and leases.

use cofferdam_contract::{AgentId, DeploymentId, DeploymentState as State, FailureReason};
use cofferdam_store::{
    AgentChange, AgentRow, DeploymentRow, ImageSource, Inserted, KEPT_DEPLOYMENTS, MAX_EVENTS, OnceKey, OnceRow, Spec,
    Store, VariableRow, Wanted,
};

use super::{on_each, organization, stranger};

fn id() -> AgentId {
    AgentId::parse("hello").unwrap()
}

pub(crate) fn agent() -> AgentRow {
    AgentRow {
        organization: organization(),
        id: id(),
        name: "naïve 'quoted'".into(),
        environment: "local".into(),
        serverless: false,
        wanted: Wanted::Run,
        last_number: 0,
        last_turn: 0,
        serving: 0,
        active: false,
        dirty: 0,
        lease_owner: String::new(),
        lease_until_ms: 0,
        created_at: 5,
        updated_at: 5,
    }
}

pub(crate) fn deployment(id: &str) -> DeploymentRow {
    DeploymentRow {
        id: DeploymentId::parse(id).unwrap(),
        organization: organization(),
        agent: self::id(),
        number: 0,
        turn: 0,
        state: State::Uploading,
        reason: None,
        detail: String::new(),
        exit_code: None,
        last_lines: Vec::new(),
        source: ImageSource::Image { reference: "r.example/hello:1".into() },
        image: String::new(),
        architecture: String::new(),
        run_as: None,
        size_bytes: 0,
        received_bytes: 0,
        spec: Spec::default(),
        placed: false,
        attempts: 0,
        retry_at_ms: 0,
        since_ms: 7,
        up_at_ms: 0,
        crashes: 0,
        observed: cofferdam_store::Observed::default(),
        events: 0,
        created_at: 7,
        updated_at: 7,
    }
}

async fn change(store: &Store) -> AgentChange {
    store.change_agent(&organization(), &id(), None).await.unwrap().unwrap()
}

/// An agent with one deployment, of which an event was recorded.
async fn create(store: &Store) {
    assert_eq!(store.insert_agent(&agent(), None, 10).await.unwrap(), Inserted::Done);
    let mut change = change(store).await;
    let mut row = deployment("dep_first");
    change.insert(&mut row, Some("v1.x.y")).await.unwrap();
    change.put(&mut row, true).await.unwrap();
    change.commit().await.unwrap();
}

#[tokio::test]
async fn what_is_written_is_read() {
    on_each(async |_, store| {
        create(store).await;
        let mut change = change(store).await;
        let mut row = change.deployment(1).await.unwrap().unwrap();
        row.state = State::CrashLoop;
        row.reason = Some(FailureReason::OutOfMemory);
        row.detail = format!("naïve 'quoted' \0{}", "ä".repeat(4_000));
        row.exit_code = Some(-137);
        row.run_as = Some(1_000);
        row.last_lines = vec!["a \"line\"".into(), String::new()];
        (row.size_bytes, row.received_bytes, row.up_at_ms, row.crashes) = (1 << 40, 1 << 41, 1 << 42, 3);
        row.placed = true;
        change.agent.serving = 1;
        change.put(&mut row, true).await.unwrap();
        let agent = change.commit().await.unwrap();
        assert!(agent.active && agent.dirty > 0);
        let read = store.deployment(&organization(), &id(), 1).await.unwrap().unwrap();
        assert_eq!(read, row);
        assert!(read.detail.len() <= 4_110 && read.detail.contains('\u{fffd}'));
        assert_eq!(store.deployment_by_id(&row.id).await.unwrap().unwrap(), row);
        assert_eq!(store.deployment_variables(&row.id).await.unwrap().as_deref(), Some("v1.x.y"));
        let page = store.agents(&organization(), "", 10).await.unwrap();
        let both = store.agents_deployments(&organization(), &page).await.unwrap();
        assert_eq!(both[&(id(), 1)], row);
        // An abandoned change has not happened.
        let mut change = self::change(store).await;
        change.agent.serving = 0;
        change.put(&mut row.clone(), true).await.unwrap();
        change.abandon().await.unwrap();
        assert_eq!(store.agent(&organization(), &id()).await.unwrap().unwrap().serving, 1);
        let events = store.deployment_events(&row.id, 0, 100).await.unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].state, events[0].reason), (State::Uploading, None));
        assert_eq!((events[1].state, events[1].reason), (State::CrashLoop, Some(FailureReason::OutOfMemory)));
        assert_eq!(store.deployment_events(&row.id, 1, 100).await.unwrap(), events[1..]);
        assert!(store.agent(&stranger(), &id()).await.unwrap().is_none());
        assert!(store.change_agent(&stranger(), &id(), None).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn history_is_bounded() {
    on_each(async |_, store| {
        create(store).await;
        for n in 0..KEPT_DEPLOYMENTS + 5 {
            let mut change = change(store).await;
            let mut row = deployment(&format!("dep_{n}"));
            change.insert(&mut row, None).await.unwrap();
            (row.state, row.reason, row.detail) = (State::Failed, Some(FailureReason::UploadLost), n.to_string());
            change.put(&mut row, true).await.unwrap();
            change.commit().await.unwrap();
        }
        let rows = store.deployments(&organization(), &id(), u64::MAX, 200).await.unwrap();
        assert_eq!(rows.len() as u64, KEPT_DEPLOYMENTS + 1, "the live one among them");
        assert_eq!((rows[0].number, rows.last().unwrap().number), (KEPT_DEPLOYMENTS + 6, 1));
        let page = store.deployments(&organization(), &id(), rows[0].number, 2).await.unwrap();
        assert_eq!(page.iter().map(|row| row.number).collect::<Vec<_>>(), [rows[1].number, rows[2].number]);
        // Events within a state are bounded; the last state is always recorded.
        let mut change = change(store).await;
        let mut row = change.deployment(1).await.unwrap().unwrap();
        for n in 0..MAX_EVENTS + 20 {
            row.detail = format!("waits {n}");
            change.put(&mut row, true).await.unwrap();
        }
        row.state = State::Failed;
        change.put(&mut row, true).await.unwrap();
        let agent = change.commit().await.unwrap();
        assert!(!agent.active, "nothing is left to do");
        let events = store.deployment_events(&row.id, 0, 1_000).await.unwrap();
        assert_eq!(events.len() as u64, MAX_EVENTS + 1);
        assert_eq!(events.last().unwrap().state, State::Failed);
        // Nothing is left of a deleted agent.
        self::change(store).await.delete_agent().await.unwrap();
        assert_eq!(store.agents(&organization(), "", 9).await.unwrap().len(), 0);
        assert_eq!(store.deployment_by_id(&row.id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_is_used_once() {
    on_each(async |_, store| {
        let key = OnceKey { name: "k".into(), request: "r1".into() };
        assert_eq!(store.insert_agent(&agent(), Some(&key), 10).await.unwrap(), Inserted::Done);
        let before = OnceRow { request: "r1".into(), agent: "hello".into(), number: 0 };
        let other = OnceKey { request: "r2".into(), ..key.clone() };
        assert_eq!(store.insert_agent(&agent(), Some(&other), 10).await.unwrap(), Inserted::Before(before.clone()));
        assert_eq!(store.insert_agent(&agent(), None, 10).await.unwrap(), Inserted::Taken);
        assert_eq!(store.once(&organization(), "k").await.unwrap(), Some(before));
        let mut change = change(store).await;
        let key = OnceKey { name: "l".into(), request: "r3".into() };
        assert_eq!(change.once(&key, 4).await.unwrap(), None);
        let again = change.once(&key, 5).await.unwrap();
        assert_eq!(again, Some(OnceRow { request: "r3".into(), agent: "hello".into(), number: 4 }));
        change.commit().await.unwrap();
        store.forget_once(i64::MAX).await.unwrap();
        assert_eq!(store.once(&organization(), "l").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn variables_and_hints_are_kept_by_name() {
    on_each(async |_, store| {
        let row = |name: &str, sealed: &str| VariableRow { name: name.into(), sealed: sealed.into(), updated_at: 5 };
        let sync = async |set: &[VariableRow], delete: &[&str]| {
            let delete: Vec<String> = delete.iter().map(|name| (*name).to_owned()).collect();
            store.sync_variables(&organization(), set, &delete, 3).await.unwrap()
        };
        assert!(sync(&[row("B", "x"), row("A", "y")], &[]).await);
        assert_eq!(store.variables(&organization()).await.unwrap(), [row("A", "y"), row("B", "x")]);
        assert!(sync(&[row("B", "z")], &["A", "NONE"]).await);
        assert_eq!(store.variables(&organization()).await.unwrap(), [row("B", "z")]);
        assert!(!sync(&[row("C", "x"), row("D", "x"), row("E", "x")], &[]).await, "one too many");
        assert_eq!(store.variables(&organization()).await.unwrap(), [row("B", "z")], "all or nothing");
        assert_eq!(store.variables(&stranger()).await.unwrap(), []);

        store.put_layer_hint("r/org", "sha256:1", "{}").await.unwrap();
        store.put_layer_hint("r/org", "sha256:1", "{\"a\":1}").await.unwrap();
        assert_eq!(store.layer_hint("r/org", "sha256:1").await.unwrap().as_deref(), Some("{\"a\":1}"));
        assert_eq!(store.layer_hint("r/other", "sha256:1").await.unwrap(), None);
        store.forget_layer_hints(10).await.unwrap();
        assert!(store.layer_hint("r/org", "sha256:1").await.unwrap().is_some());
        store.delete_layer_hint("r/org", "sha256:1").await.unwrap();
        assert_eq!(store.layer_hint("r/org", "sha256:1").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_agent_has_one_driver_until_its_lease_runs_out() {
    on_each(async |_, store| {
        create(store).await;
        let key = (organization(), id());
        assert_eq!(store.claim_agents("one", 100, 200, 10).await.unwrap(), std::slice::from_ref(&key));
        assert_eq!(store.claim_agents("two", 150, 300, 10).await.unwrap(), []);
        assert!(!store.claim_agent(&key.0, &key.1, "two", 150, 300).await.unwrap());
        assert_eq!(store.prolong("one", 150, 250).await.unwrap(), std::slice::from_ref(&key));
        assert_eq!(store.prolong("one", 250, 350).await.unwrap(), [], "it has run out");
        assert_eq!(store.claim_agents("two", 250, i64::MAX, 10).await.unwrap(), std::slice::from_ref(&key));
        assert_eq!(store.dirty_agents("two").await.unwrap(), std::slice::from_ref(&key));
        assert!(store.change_agent(&key.0, &key.1, Some("one")).await.unwrap().is_none(), "no longer its driver");
        let agent = store.change_agent(&key.0, &key.1, Some("two")).await.unwrap().unwrap().commit().await.unwrap();
        store.clean_agent(&key.0, &key.1, "two", agent.dirty + 1).await.unwrap();
        assert_eq!(store.dirty_agents("two").await.unwrap().len(), 1, "it has changed since");
        store.clean_agent(&key.0, &key.1, "two", agent.dirty).await.unwrap();
        assert_eq!(store.dirty_agents("two").await.unwrap(), []);
        store.release_agent(&key.0, &key.1, "two").await.unwrap();
        assert!(store.claim_agent(&key.0, &key.1, "one", 260, 300).await.unwrap());
        store.release_agents(Some("two")).await.unwrap();
        assert!(!store.claim_agent(&key.0, &key.1, "two", 270, 300).await.unwrap());
        store.release_agents(None).await.unwrap();
        assert!(store.claim_agent(&key.0, &key.1, "two", 270, 300).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_carriage_has_one_operator_until_its_lease_runs_out() {
    on_each(async |_, store| {
        let (a, b) = (DeploymentId::parse("dep_a").unwrap(), DeploymentId::parse("dep_b").unwrap());
        assert_eq!(store.ask_carriage(&a, 100).await.unwrap(), 100);
        assert_eq!(store.ask_carriage(&b, 110).await.unwrap(), 110);
        assert_eq!(store.ask_carriage(&a, 120).await.unwrap(), 100, "requested before");
        store.see_carriages(130).await.unwrap();
        assert_eq!(store.ask_carriage(&a, 140).await.unwrap(), 130);
        assert_eq!(store.free_carriages(140, 10).await.unwrap(), [a.clone(), b.clone()]);
        assert!(store.claim_carriage(&a, "one", 140, 200).await.unwrap());
        assert!(!store.claim_carriage(&a, "two", 150, 200).await.unwrap());
        assert_eq!(store.free_carriages(150, 10).await.unwrap(), std::slice::from_ref(&b));
        assert_eq!(store.prolong_carriages("one", 150, 250).await.unwrap(), std::slice::from_ref(&a));
        store.leave_carriage(&a, "one", 300).await.unwrap();
        assert_eq!(store.free_carriages(299, 10).await.unwrap(), std::slice::from_ref(&b));
        assert!(store.claim_carriage(&a, "two", 300, 400).await.unwrap());
        store.leave_carriages(None).await.unwrap();
        assert!(store.claim_carriage(&a, "one", 310, 400).await.unwrap());
        store.end_carriage(&a).await.unwrap();
        assert_eq!(store.free_carriages(i64::MAX, 10).await.unwrap(), [b]);
    })
    .await;
}
