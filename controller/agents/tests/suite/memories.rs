//! The memories of agents: of whom, how much, and who can find them.

use cofferdam_agents::MAX_MEMORY_CHARS;

use crate::{caller, id, on_each, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_memories_of_his_own() {
    on_each(async |rig| {
        let organization = &rig.caller.organization;
        let own = rig.here.remember(organization, &id("a"), "", "We sell boats.").await.unwrap();
        rig.here.remember(organization, &id("a"), "ann", "Ann likes red boats.").await.unwrap();
        rig.here.remember(organization, &id("b"), "ann", "Of another agent.").await.unwrap();
        rig.here.remember(&caller("stranger").organization, &id("a"), "ann", "Of another organization.").await.unwrap();
        let of = async |person: &str| {
            let found = rig.here.recall(organization, &id("a"), person, 10).await.unwrap();
            found.into_iter().map(|memory| memory.content).collect::<Vec<_>>()
        };
        assert_eq!(of("").await, ["We sell boats."]);
        assert_eq!(of("ann").await, ["Ann likes red boats."]);
        assert!(of("bob").await.is_empty());
        assert!(of("ann' OR '1'='1").await.is_empty());
        // Another one's id forgets nothing.
        assert!(!rig.here.forget_memory(organization, &id("a"), "ann", &own).await.unwrap());
        assert!(!rig.here.forget_memory(organization, &id("b"), "", &own).await.unwrap());
        assert!(!rig.here.forget_memory(&caller("stranger").organization, &id("a"), "", &own).await.unwrap());
        assert!(rig.here.forget_memory(organization, &id("a"), "", &own).await.unwrap());
        assert!(of("").await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_with_the_most_words_comes_first() {
    on_each(async |rig| {
        let organization = &rig.caller.organization;
        for text in ["Invoices are due on Monday.", "Red invoices go to Ann.", "Nothing else."] {
            rig.here.remember(organization, &id("a"), "", text).await.unwrap();
        }
        let found = rig.here.search_memories(organization, &id("a"), "", "RED invoices", 10).await.unwrap();
        let found: Vec<_> = found.iter().map(|memory| memory.content.as_str()).collect();
        assert_eq!(found, ["Red invoices go to Ann.", "Invoices are due on Monday."]);
        assert_eq!(rig.here.search_memories(organization, &id("a"), "", "invoices", 1).await.unwrap().len(), 1);
        for nothing in ["", "  ", "%", "zebra"] {
            assert!(rig.here.search_memories(organization, &id("a"), "", nothing, 10).await.unwrap().is_empty());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memories_are_bounded() {
    on_each(async |rig| {
        let organization = &rig.caller.organization;
        for bad in ["", " \n ", "a\0b", "a\u{1b}[2Jb", &"x".repeat(MAX_MEMORY_CHARS + 1)] {
            assert_eq!(refused(rig.here.remember(organization, &id("a"), "", bad).await).0, 422, "{bad:?}");
        }
        rig.here.remember(organization, &id("a"), "", &"日".repeat(MAX_MEMORY_CHARS)).await.unwrap();
        for number in 1..1_000 {
            rig.here.remember(organization, &id("a"), "", &format!("fact {number}")).await.unwrap();
        }
        let (status, why) = refused(rig.here.remember(organization, &id("a"), "", "one more").await);
        assert_eq!(status, 429, "{why}");
        assert!(why.contains("forget some"), "{why}");
        // Another person's are counted apart, and a list has an end.
        rig.here.remember(organization, &id("a"), "ann", "one more").await.unwrap();
        assert_eq!(rig.here.recall(organization, &id("a"), "", u64::MAX).await.unwrap().len(), 1_000);
        let newest = rig.here.recall(organization, &id("a"), "", 1).await.unwrap();
        assert!(rig.here.forget_memory(organization, &id("a"), "", &newest[0].id).await.unwrap());
        rig.here.remember(organization, &id("a"), "", "one more").await.unwrap();
    })
    .await;
}
