//! Drafts, publishing, rolling back: one version is active, and no version changes that was active once.

use std::sync::Arc;

use cofferdam_agents::{Edit, NewAgent, diff};
use cofferdam_contract::work::AgentStatus;
use serde_json::json;

use crate::{caller, definition, edit, id, on_each, refused, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_used_once_it_is_published() {
    on_each(async |rig| {
        let made = rig.make("a", "one").await;
        assert_eq!((made.status, made.active_version, made.draft_version), (AgentStatus::Active, Some(1), None));
        let draft = rig.here.draft(&rig.caller, &id("a"), edit("two")).await.unwrap();
        assert_eq!((draft.version, draft.active_version, draft.draft_version), (Some(2), Some(1), Some(2)));
        assert_eq!(rig.active("a").await, Some(("1".into(), "one".into())));
        // A draft can be tried, and changed.
        let tried = rig.here.version(&rig.caller.organization, &id("a"), "2").await.unwrap().unwrap();
        assert_eq!(tried.definition.instructions, "two");
        let draft = rig.here.draft(&rig.caller, &id("a"), edit("three")).await.unwrap();
        assert_eq!((draft.version, draft.definition.instructions.as_str()), (Some(2), "three"));
        let published = rig.here.publish(&rig.caller, &id("a"), Edit::default()).await.unwrap();
        assert_eq!((published.active_version, published.draft_version), (Some(2), None));
        assert_eq!(rig.active("a").await, Some(("2".into(), "three".into())));
        let old = rig.here.show_version(&rig.caller, &id("a"), 1).await.unwrap();
        assert_eq!((old.status, old.definition.instructions.as_str()), (AgentStatus::Inactive, "one"));
        // There is nothing left to publish.
        assert_eq!(refused(rig.here.publish(&rig.caller, &id("a"), Edit::default()).await).0, 409);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_changes_nothing() {
    on_each(async |rig| {
        let made = rig.make("a", "one").await;
        let again = rig.here.publish(&rig.caller, &id("a"), edit("one")).await.unwrap();
        assert_eq!((again.revision, again.version), (made.revision, Some(1)));
        // Neither does a draft of what is active, or the draft that there is.
        let none = rig.here.draft(&rig.caller, &id("a"), edit("one")).await.unwrap();
        assert_eq!((none.revision, none.draft_version), (made.revision, None));
        let draft = rig.here.draft(&rig.caller, &id("a"), edit("two")).await.unwrap();
        let same = rig.here.draft(&rig.caller, &id("a"), edit("two")).await.unwrap();
        assert_eq!(same.revision, draft.revision);
        assert_eq!(rig.numbers("a").await, [2, 1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_changed_without_a_new_version() {
    on_each(async |rig| {
        rig.make("a", "one").await;
        let named = Edit { name: Some("Other".into()), ..Edit::default() };
        let drafted = rig.here.draft(&rig.caller, &id("a"), named.clone()).await.unwrap();
        // The definition is shown with it.
        assert_eq!((drafted.name.as_str(), drafted.definition.instructions.as_str()), ("Other", "one"));
        let third = Edit { name: Some("Third".into()), ..edit("one") };
        let published = rig.here.publish(&rig.caller, &id("a"), third).await.unwrap();
        assert_eq!((published.name.as_str(), published.version), ("Third", Some(1)));
        assert_eq!(rig.numbers("a").await, [1]);
        for bad in ["", " ", "a\0b", "a\nb", &"x".repeat(201)] {
            let bad = Edit { name: Some(bad.into()), ..edit("one") };
            assert_eq!(refused(rig.here.publish(&rig.caller, &id("a"), bad).await).0, 422);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_run_one_after_another() {
    on_each(async |rig| {
        rig.make("a", "one").await;
        let mut all = tokio::task::JoinSet::new();
        for number in 0..16_u32 {
            let agents = Arc::clone(if number % 2 == 0 { &rig.here } else { &rig.elsewhere });
            let caller = rig.caller.clone();
            all.spawn(async move { agents.publish(&caller, &id("a"), edit(&format!("text {number}"))).await.unwrap() });
        }
        let mut versions: Vec<u64> = all.join_all().await.into_iter().filter_map(|view| view.version).collect();
        versions.sort_unstable();
        assert_eq!(versions, (2..=17).collect::<Vec<_>>());
        let listed = rig.here.versions(&rig.caller, &id("a"), None, 100).await.unwrap();
        let active: Vec<u64> =
            listed.iter().filter(|one| one.status == AgentStatus::Active).map(|one| one.version).collect();
        assert_eq!(active, [17]);
        let agent = rig.here.show(&rig.caller, &id("a")).await.unwrap();
        assert_eq!((agent.version, agent.revision), (Some(17), 17));
        // The same definition at once makes one version.
        let mut all = tokio::task::JoinSet::new();
        for agents in [&rig.here, &rig.elsewhere, &rig.here, &rig.elsewhere] {
            let (agents, caller) = (Arc::clone(agents), rig.caller.clone());
            all.spawn(async move { agents.publish(&caller, &id("a"), edit("last")).await.unwrap().version });
        }
        assert!(all.join_all().await.into_iter().all(|version| version == Some(18)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_another_revision_is_refused() {
    on_each(async |rig| {
        let made = rig.make("a", "one").await;
        let of = |revision, text| Edit { revision: Some(revision), ..edit(text) };
        let two = rig.here.publish(&rig.caller, &id("a"), of(made.revision, "two")).await.unwrap();
        let (status, why) = refused(rig.elsewhere.publish(&rig.caller, &id("a"), of(made.revision, "three")).await);
        assert_eq!(status, 409);
        assert!(why.contains(&format!("revision {}", two.revision)), "{why}");
        assert_eq!(refused(rig.here.draft(&rig.caller, &id("a"), of(99, "three")).await).0, 409);
        assert_eq!(refused(rig.here.draft(&rig.caller, &id("a"), of(u64::MAX, "three")).await).0, 409);
        // A refused change leaves no trace.
        let now = rig.here.show(&rig.caller, &id("a")).await.unwrap();
        assert_eq!((now.revision, now.definition.instructions.as_str()), (two.revision, "two"));
        // One of several that begin with one revision wins.
        let mut all = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (agents, caller) = (Arc::clone(&rig.here), rig.caller.clone());
            let edit = of(now.revision, format!("text {number}").leak());
            all.spawn(async move { agents.draft(&caller, &id("a"), edit).await.is_ok() });
        }
        assert_eq!(all.join_all().await.into_iter().filter(|won| *won).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_one_call() {
    on_each(async |rig| {
        rig.make("a", "one").await;
        rig.here.publish(&rig.caller, &id("a"), edit("two")).await.unwrap();
        let back = rig.here.activate(&rig.caller, &id("a"), Some(1)).await.unwrap();
        assert_eq!((back.version, back.definition.instructions.as_str()), (Some(1), "one"));
        assert_eq!(rig.active("a").await, Some(("1".into(), "one".into())));
        for none in [0, 3, u64::MAX >> 1] {
            assert_eq!(refused(rig.here.activate(&rig.caller, &id("a"), Some(none)).await).0, 404);
        }
        // The next version has a number of its own.
        let next = rig.here.publish(&rig.caller, &id("a"), edit("three")).await.unwrap();
        assert_eq!(next.version, Some(3));
        let (one, three) = (says("one"), says("three"));
        assert_eq!(diff(&one, &three).len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_switched_off_and_on() {
    on_each(async |rig| {
        rig.make("a", "one").await;
        rig.elsewhere.active(&rig.caller.organization, &id("a")).await.unwrap().unwrap();
        let off = rig.here.deactivate(&rig.caller, &id("a")).await.unwrap();
        assert_eq!(off.status, AgentStatus::Inactive);
        assert_eq!(rig.active("a").await, None);
        // Another process sees it within a second.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        assert!(rig.elsewhere.active(&rig.caller.organization, &id("a")).await.unwrap().is_none());
        let on = rig.here.activate(&rig.caller, &id("a"), None).await.unwrap();
        assert_eq!((on.status, on.version), (AgentStatus::Active, Some(1)));
        // Publishing what it had switches it on as well, without a new version.
        rig.here.deactivate(&rig.caller, &id("a")).await.unwrap();
        let on = rig.here.publish(&rig.caller, &id("a"), edit("one")).await.unwrap();
        assert_eq!((on.status, on.version), (AgentStatus::Active, Some(1)));
        assert!(rig.active("a").await.is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_not_used_and_not_switched_off() {
    on_each(async |rig| {
        let new = NewAgent { name: "A draft".into(), definition: says("x"), draft: true, ..NewAgent::default() };
        let made = rig.here.create(&rig.caller, new).await.unwrap();
        assert_eq!((made.id.as_str(), made.status, made.draft_version), ("a-draft", AgentStatus::Draft, Some(1)));
        assert_eq!(rig.active("a-draft").await, None);
        assert_eq!(refused(rig.here.deactivate(&rig.caller, &made.id).await).0, 409);
        let active = rig.here.activate(&rig.caller, &made.id, None).await.unwrap();
        assert_eq!((active.status, active.version), (AgentStatus::Active, Some(1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_trimmed_and_the_active_one_stays() {
    on_each(async |rig| {
        rig.make("a", "text 1").await;
        for number in 2..=106 {
            rig.here.publish(&rig.caller, &id("a"), edit(&format!("text {number}"))).await.unwrap();
        }
        let numbers = rig.numbers("a").await;
        assert_eq!((numbers.len(), numbers[0], numbers[100]), (101, 106, 6));
        let page = rig.here.versions(&rig.caller, &id("a"), Some(50), 10).await.unwrap();
        assert_eq!(page.iter().map(|one| one.version).collect::<Vec<_>>(), (40..50).rev().collect::<Vec<_>>());
        // The active one is the oldest, and stays.
        rig.here.activate(&rig.caller, &id("a"), Some(6)).await.unwrap();
        rig.here.draft(&rig.caller, &id("a"), edit("a draft")).await.unwrap();
        assert_eq!(rig.active("a").await, Some(("6".into(), "text 6".into())));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_sees_its_own_agents() {
    on_each(async |rig| {
        rig.make("a", "one").await;
        let stranger = caller("stranger");
        assert_eq!(refused(rig.here.show(&stranger, &id("a")).await).0, 404);
        assert_eq!(refused(rig.here.publish(&stranger, &id("a"), edit("mine")).await).0, 404);
        assert_eq!(refused(rig.here.draft(&stranger, &id("a"), edit("mine")).await).0, 404);
        assert_eq!(refused(rig.here.activate(&stranger, &id("a"), Some(1)).await).0, 404);
        assert_eq!(refused(rig.here.deactivate(&stranger, &id("a")).await).0, 404);
        assert_eq!(refused(rig.here.versions(&stranger, &id("a"), None, 5).await).0, 404);
        assert_eq!(refused(rig.here.show_version(&stranger, &id("a"), 1).await).0, 404);
        assert!(!rig.here.delete(&stranger, &id("a")).await.unwrap());
        assert!(rig.here.active(&stranger.organization, &id("a")).await.unwrap().is_none());
        assert!(rig.here.list(&stranger, "", 10).await.unwrap().is_empty());
        assert_eq!(rig.active("a").await, Some(("1".into(), "one".into())));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_made_from_the_name_and_taken_once() {
    on_each(async |rig| {
        let named = |name: &str| NewAgent { name: name.into(), definition: says("x"), ..NewAgent::default() };
        let first = rig.here.create(&rig.caller, named("Sales analyst")).await.unwrap();
        let second = rig.here.create(&rig.caller, named("Sales analyst")).await.unwrap();
        assert_eq!(first.id.as_str(), "sales-analyst");
        assert!(second.id.as_str().starts_with("sales-analyst-"), "{}", second.id);
        assert!(rig.here.create(&rig.caller, named("日本")).await.unwrap().id.as_str().starts_with("agent-"));
        let taken = NewAgent { id: Some(first.id), ..named("x") };
        assert_eq!(refused(rig.here.create(&rig.caller, taken).await).0, 409);
        let full = definition(json!({"limits": {"steps": 0}}));
        assert_eq!(refused(rig.here.create(&rig.caller, NewAgent { definition: full, ..named("y") }).await).0, 422);
    })
    .await;
}
