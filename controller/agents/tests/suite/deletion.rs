//! Deleting agents: nothing of one is found in the next with its id.

use std::time::Duration;

use crate::{edit, id, on_each, refused};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_same_id_has_nothing_of_the_old_one() {
    on_each(async |rig| {
        rig.make("a", "old").await;
        rig.here.publish(&rig.caller, &id("a"), edit("old 2")).await.unwrap();
        rig.here.remember(&rig.caller.organization, &id("a"), "", "an old secret").await.unwrap();
        // Both processes have its versions in memory.
        for agents in [&rig.here, &rig.elsewhere] {
            for version in ["1", "2"] {
                assert!(agents.version(&rig.caller.organization, &id("a"), version).await.unwrap().is_some());
            }
            agents.active(&rig.caller.organization, &id("a")).await.unwrap();
        }
        assert!(rig.here.delete(&rig.caller, &id("a")).await.unwrap());
        assert!(!rig.here.delete(&rig.caller, &id("a")).await.unwrap());
        assert_eq!(rig.active("a").await, None);
        assert_eq!(refused(rig.here.show(&rig.caller, &id("a")).await).0, 404);
        rig.make("a", "new").await;
        let of = async |agents: &std::sync::Arc<cofferdam_agents::Agents>, version| {
            let found = agents.version(&rig.caller.organization, &id("a"), version).await.unwrap();
            found.map(|found| found.definition.instructions.clone())
        };
        assert_eq!(of(&rig.here, "1").await.as_deref(), Some("new"));
        assert_eq!(of(&rig.here, "2").await, None);
        // The other process is at most a second behind.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(of(&rig.elsewhere, "1").await.as_deref(), Some("new"));
        assert_eq!(of(&rig.elsewhere, "2").await, None);
        assert!(rig.here.recall(&rig.caller.organization, &id("a"), "", 10).await.unwrap().is_empty());
        assert_eq!(rig.numbers("a").await, [1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_a_number_and_nothing_else() {
    on_each(async |rig| {
        rig.make("a", "one").await;
        for wrong in
            ["", "-1", "0", "x", "1 ", "1;--", "18446744073709551616", "18446744073709551615", "9223372036854775807"]
        {
            let found = rig.here.version(&rig.caller.organization, &id("a"), wrong).await.unwrap();
            assert!(found.is_none(), "{wrong:?}");
        }
    })
    .await;
}
