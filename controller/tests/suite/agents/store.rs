//! Rows: one suite for every database.

use cofferdam_contract::{DeploymentState as State, FailureReason, OrganizationId};
use cofferdam_controller::agents;
use cofferdam_controller::store::{KEPT_DEPLOYMENTS, MAX_EVENTS};

use super::rig::{On, Rig};

#[tokio::test]
async fn what_is_written_is_read() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        rig.deploy("one").await;
        let store = &rig.app.store;
        let mut change = store.change_agent(&rig.caller.organization, &rig.agent, None).await.unwrap().unwrap();
        let mut row = change.deployment(1).await.unwrap().unwrap();
        row.state = State::CrashLoop;
        row.reason = Some(FailureReason::OutOfMemory);
        row.detail = format!("naïve 'quoted' \0{}", "ä".repeat(4_000));
        row.exit_code = Some(-137);
        row.last_lines = vec!["a \"line\"".into(), String::new()];
        (row.size_bytes, row.received_bytes, row.up_at_ms, row.crashes) = (1 << 40, 1 << 41, 1 << 42, 3);
        row.placed = true;
        change.agent.serving = 1;
        change.put(&mut row, true).await.unwrap();
        let agent = change.commit().await.unwrap();
        assert!(agent.active && agent.dirty > 0);
        let read = store.deployment(&rig.caller.organization, &rig.agent, 1).await.unwrap().unwrap();
        assert_eq!(read, row);
        assert!(read.detail.len() <= 4_110 && read.detail.contains('\u{fffd}'));
        assert_eq!(store.deployment_by_id(&row.id).await.unwrap().unwrap(), row);
        let page = store.agents(&rig.caller.organization, "", 10).await.unwrap();
        let both = store.agents_deployments(&rig.caller.organization, &page).await.unwrap();
        assert_eq!(both[&(rig.agent.clone(), 1)], row);
        // What is abandoned has not happened.
        let mut change = store.change_agent(&rig.caller.organization, &rig.agent, None).await.unwrap().unwrap();
        change.agent.serving = 0;
        change.put(&mut row.clone(), true).await.unwrap();
        change.abandon().await.unwrap();
        assert_eq!(store.agent(&rig.caller.organization, &rig.agent).await.unwrap().unwrap().serving, 1);
        let events = store.deployment_events(&row.id, 0, 100).await.unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!((events[1].state, events[1].reason), (State::CrashLoop, Some(FailureReason::OutOfMemory)));
        assert_eq!(store.deployment_events(&row.id, 1, 100).await.unwrap(), events[1..]);
        let stranger = OrganizationId::parse("stranger").unwrap();
        assert!(store.agent(&stranger, &rig.agent).await.unwrap().is_none());
        assert!(store.change_agent(&stranger, &rig.agent, None).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn history_is_bounded() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let (store, organization) = (&rig.app.store, &rig.caller.organization);
        rig.deploy("first").await;
        for n in 0..KEPT_DEPLOYMENTS + 5 {
            let upload = agents::begin_upload(&rig.app, &rig.caller, &rig.agent, &agents::Once::none()).await.unwrap();
            agents::upload_failed(&rig.app, &upload.id, FailureReason::UploadLost, &format!("{n}")).await.unwrap();
        }
        let rows = store.deployments(organization, &rig.agent, u64::MAX, 200).await.unwrap();
        assert_eq!(rows.len() as u64, KEPT_DEPLOYMENTS + 1, "the live one among them");
        assert_eq!((rows[0].number, rows.last().unwrap().number), (KEPT_DEPLOYMENTS + 6, 1));
        let page = agents::deployments(&rig.app, &rig.caller, &rig.agent, Some(rows[0].number), 2).await.unwrap();
        assert_eq!(page.iter().map(|row| row.number).collect::<Vec<_>>(), [rows[1].number, rows[2].number]);
        // Events that say nothing new about the state end somewhere; the last state is always told.
        let mut change = store.change_agent(organization, &rig.agent, None).await.unwrap().unwrap();
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
    }
}

#[tokio::test]
async fn variables_and_hints_are_kept_by_name() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let changes = |list: &[(&str, Option<&str>)]| {
            list.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
        };
        let sync = |list: &[(&str, Option<&str>)]| {
            let (app, caller, changes) = (rig.app.clone(), rig.caller.clone(), changes(list));
            async move { agents::variables::sync(&app, &caller, &changes).await }
        };
        assert_eq!(sync(&[("B", Some("007")), ("A", Some(""))]).await.unwrap(), ["A", "B"]);
        assert_eq!(sync(&[("A", None), ("NONE", None)]).await.unwrap(), ["B"]);
        assert!(sync(&[("C", Some("x")), ("1", Some("x"))]).await.is_err());
        let stored = rig.app.store.variables(&rig.caller.organization).await.unwrap();
        assert!(stored.len() == 1 && !stored[0].sealed.contains("007"));
        for chunk in (0..600).collect::<Vec<_>>().chunks(300) {
            let many: Vec<String> = chunk.iter().map(|n| format!("V{n}")).collect();
            let many: Vec<(&str, Option<&str>)> = many.iter().map(|name| (name.as_str(), Some("x"))).collect();
            let done = sync(&many).await;
            assert_eq!(done.is_ok(), chunk[0] == 0, "{done:?}");
        }
        assert_eq!(rig.app.store.variables(&rig.caller.organization).await.unwrap().len(), 301, "all or nothing");

        let store = &rig.app.store;
        store.put_layer_hint("r/org", "sha256:1", "{}").await.unwrap();
        store.put_layer_hint("r/org", "sha256:1", "{\"a\":1}").await.unwrap();
        assert_eq!(store.layer_hint("r/org", "sha256:1").await.unwrap().as_deref(), Some("{\"a\":1}"));
        assert_eq!(store.layer_hint("r/other", "sha256:1").await.unwrap(), None);
        store.forget_layer_hints(10).await.unwrap();
        assert!(store.layer_hint("r/org", "sha256:1").await.unwrap().is_some());
        store.delete_layer_hint("r/org", "sha256:1").await.unwrap();
        assert_eq!(store.layer_hint("r/org", "sha256:1").await.unwrap(), None);
    }
}
