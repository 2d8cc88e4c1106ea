//! Definitions of agents, their versions and memories, on each database.

use cofferdam_contract::AgentId;
use cofferdam_contract::work::{AgentDefinition, AgentKind, AgentStatus};
use cofferdam_store::{Defined, DefinedRow, MemoryAdded, MemoryRow, VersionRow};

use super::{on_each, organization, stranger};

fn id(text: &str) -> AgentId {
    AgentId::parse(text).unwrap()
}

fn agent(name: &str) -> DefinedRow {
    DefinedRow {
        organization: organization(),
        id: id(name),
        name: format!("The 'agent' {name}"),
        kind: AgentKind::Serverless,
        status: AgentStatus::Active,
        active_version: 1,
        draft_version: 0,
        last_version: 1,
        revision: 1,
        created_at: 5,
        updated_at: 5,
    }
}

fn version(number: u64, status: AgentStatus) -> VersionRow {
    VersionRow {
        version: number,
        status,
        definition: AgentDefinition {
            instructions: format!("Version {number}: \"naïve\" \u{1f980}"),
            ..Default::default()
        },
        digest: format!("digest {number}"),
        note: String::new(),
        created_by: "key_a".into(),
        created_at_ms: 7,
        updated_at_ms: 7,
    }
}

#[tokio::test]
async fn an_agent_has_versions_in_its_organization_alone() {
    on_each(async |_, store| {
        let row = agent("a");
        assert_eq!(store.define_agent(&row, &version(1, AgentStatus::Active), 2).await.unwrap(), Defined::Done);
        assert_eq!(store.define_agent(&row, &version(1, AgentStatus::Active), 2).await.unwrap(), Defined::Taken);
        assert_eq!(store.define_agent(&agent("b"), &version(1, AgentStatus::Active), 2).await.unwrap(), Defined::Done);
        assert_eq!(store.define_agent(&agent("c"), &version(1, AgentStatus::Active), 2).await.unwrap(), Defined::Full);
        assert_eq!(
            store.defined_agent(&organization(), &id("c")).await.unwrap(),
            None,
            "nothing is left of a refused one"
        );
        assert_eq!(store.defined_agent(&organization(), &id("a")).await.unwrap().unwrap(), row);
        assert_eq!(store.defined_agent(&stranger(), &id("a")).await.unwrap(), None);
        let first = store.agent_version(&organization(), &id("a"), 1).await.unwrap().unwrap();
        assert_eq!(first, version(1, AgentStatus::Active));
        assert_eq!(store.agent_version(&stranger(), &id("a"), 1).await.unwrap(), None);
        assert!(store.change_definition(&stranger(), &id("a")).await.unwrap().is_none());
        let listed = store.defined_agents(&organization(), "a", 10).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b"]);
        let views = store.agents_with_versions(&organization(), &id("a"), 1).await.unwrap();
        assert_eq!(views, [(row, Some(first))]);
        // The deployments' code sees it, too, as one that is not deployed.
        assert!(store.agent(&organization(), &id("a")).await.unwrap().unwrap().serverless);
    })
    .await;
}

#[tokio::test]
async fn a_change_is_whole_or_nothing() {
    on_each(async |_, store| {
        store.define_agent(&agent("a"), &version(1, AgentStatus::Active), 10).await.unwrap();
        let mut change = store.change_definition(&organization(), &id("a")).await.unwrap().unwrap();
        change.add(&version(2, AgentStatus::Draft)).await.unwrap();
        change.abandon().await.unwrap();
        assert_eq!(store.agent_version(&organization(), &id("a"), 2).await.unwrap(), None);
        assert_eq!(store.defined_agent(&organization(), &id("a")).await.unwrap().unwrap().revision, 1);
        let mut change = store.change_definition(&organization(), &id("a")).await.unwrap().unwrap();
        change.add(&version(2, AgentStatus::Draft)).await.unwrap();
        change.agent.draft_version = 2;
        change.agent.last_version = 2;
        let row = change.commit().await.unwrap();
        assert_eq!((row.revision, row.draft_version, row.active_version), (2, 2, 1));
        // Only a draft can be changed.
        let mut change = store.change_definition(&organization(), &id("a")).await.unwrap().unwrap();
        for number in [1, 2] {
            let other = AgentDefinition { instructions: "other".into(), ..Default::default() };
            change.redraft(number, &other, "d", "").await.unwrap();
        }
        change.commit().await.unwrap();
        let versions = store.agent_versions(&organization(), &id("a"), 100, 10).await.unwrap();
        assert_eq!(versions[0].definition.instructions, "other");
        assert_eq!(versions[1], version(1, AgentStatus::Active));
        assert_eq!(store.agent_versions(&organization(), &id("a"), 2, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn old_versions_go_and_the_active_one_stays() {
    on_each(async |_, store| {
        store.define_agent(&agent("a"), &version(1, AgentStatus::Active), 10).await.unwrap();
        let mut change = store.change_definition(&organization(), &id("a")).await.unwrap().unwrap();
        for number in 2..=9 {
            change.add(&version(number, AgentStatus::Inactive)).await.unwrap();
        }
        change.trim(3).await.unwrap();
        change.commit().await.unwrap();
        let left = store.agent_versions(&organization(), &id("a"), 100, 100).await.unwrap();
        assert_eq!(left.iter().map(|version| version.version).collect::<Vec<_>>(), [9, 8, 7, 1]);
    })
    .await;
}

#[tokio::test]
async fn changes_at_the_same_time_follow_one_another() {
    on_each(async |_, store| {
        store.define_agent(&agent("a"), &version(1, AgentStatus::Active), 10).await.unwrap();
        let publish = async |_: u64| {
            let mut change = store.change_definition(&organization(), &id("a")).await.unwrap().unwrap();
            let (before, number) = (change.agent.active_version, change.agent.last_version + 1);
            change.set_status(before, AgentStatus::Inactive).await.unwrap();
            change.add(&version(number, AgentStatus::Active)).await.unwrap();
            (change.agent.last_version, change.agent.active_version) = (number, number);
            change.commit().await.unwrap();
        };
        futures_util::future::join_all((0..8).map(publish)).await;
        let row = store.defined_agent(&organization(), &id("a")).await.unwrap().unwrap();
        assert_eq!((row.active_version, row.last_version, row.revision), (9, 9, 9));
        let versions = store.agent_versions(&organization(), &id("a"), 100, 100).await.unwrap();
        let active: Vec<u64> = versions
            .iter()
            .filter(|version| version.status == AgentStatus::Active)
            .map(|version| version.version)
            .collect();
        assert_eq!(active, [9], "one version is active, whoever comes");
    })
    .await;
}

#[tokio::test]
async fn memories_are_of_an_agent_and_a_person() {
    on_each(async |_, store| {
        for name in ["a", "b"] {
            store.define_agent(&agent(name), &version(1, AgentStatus::Active), 10).await.unwrap();
        }
        let row = |id: &str, person: &str, content: &str| MemoryRow {
            id: id.into(),
            person: person.into(),
            content: content.into(),
            created_at_ms: 0,
            updated_at_ms: 0,
        };
        let put =
            async |agent: &str, row: MemoryRow| store.put_memory(&organization(), &id(agent), &row, 2).await.unwrap();
        assert_eq!(put("a", row("m1", "ann", "tea")).await, MemoryAdded::Done);
        assert_eq!(put("a", row("m2", "", "ours")).await, MemoryAdded::Done);
        assert_eq!(put("a", row("m3", "ann", "milk")).await, MemoryAdded::Done);
        assert_eq!(put("a", row("m4", "ann", "more")).await, MemoryAdded::Full);
        assert_eq!(put("a", row("m1", "ann", "coffee")).await, MemoryAdded::Done, "one that is there may change");
        // Another's id changes nothing.
        put("b", row("m1", "ann", "stolen")).await;
        put("a", row("m1", "bob", "stolen")).await;
        let of = async |agent: &str, person: &str| {
            let found = store.memories(&organization(), &id(agent), person, 10).await.unwrap();
            let mut texts: Vec<String> = found.into_iter().map(|row| row.content).collect();
            texts.sort_unstable();
            texts
        };
        assert_eq!(of("a", "ann").await, ["coffee", "milk"]);
        assert_eq!(of("a", "").await, ["ours"]);
        assert_eq!((of("b", "ann").await.len(), of("a", "bob").await.len()), (0, 0));
        assert!(store.memories(&stranger(), &id("a"), "ann", 10).await.unwrap().is_empty());
        let forget = async |person: &str| store.delete_memory(&organization(), &id("a"), person, "m1").await.unwrap();
        assert!(!forget("bob").await && !forget("").await && forget("ann").await && !forget("ann").await);
        // They go with their agent, and another one with its id begins anew.
        assert!(!store.delete_defined_agent(&stranger(), &id("a")).await.unwrap());
        assert!(store.delete_defined_agent(&organization(), &id("a")).await.unwrap());
        assert!(!store.delete_defined_agent(&organization(), &id("a")).await.unwrap());
        store.define_agent(&agent("a"), &version(1, AgentStatus::Active), 10).await.unwrap();
        assert!(of("a", "ann").await.is_empty() && of("a", "").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_container_may_have_a_definition_and_takes_it_along() {
    on_each(async |_, store| {
        let row = cofferdam_store::AgentRow { id: id("box"), ..super::agents::agent() };
        store.insert_agent(&row, None, 10).await.unwrap();
        assert!(!store.delete_defined_agent(&organization(), &id("box")).await.unwrap(), "it is deployed, not defined");
        let mut change = store.change_definition(&organization(), &id("box")).await.unwrap().unwrap();
        assert_eq!(change.agent.kind, AgentKind::Container);
        change.add(&version(1, AgentStatus::Active)).await.unwrap();
        (change.agent.last_version, change.agent.active_version) = (1, 1);
        change.commit().await.unwrap();
        let change = store.change_agent(&organization(), &id("box"), None).await.unwrap().unwrap();
        change.delete_agent().await.unwrap();
        assert_eq!(store.agent_version(&organization(), &id("box"), 1).await.unwrap(), None);
        assert_eq!(
            store.define_agent(&agent("box"), &version(1, AgentStatus::Active), 10).await.unwrap(),
            Defined::Done
        );
    })
    .await;
}
