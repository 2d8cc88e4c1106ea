//! Numbers of log lines.

use cofferdam_contract::AgentId;

use super::{on_each, organization};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_numbers_are_handed_out_once() {
    on_each(async |_, store| {
        let (organization, agent) = (organization(), AgentId::parse("a").unwrap());
        let first = store.reserve_log_lines(&organization, &agent, 10, 0).await.unwrap();
        let work = (0..8).map(|_| {
            let (store, organization, agent) = (store.clone(), organization.clone(), agent.clone());
            tokio::spawn(async move { store.reserve_log_lines(&organization, &agent, 100, 0).await.unwrap() })
        });
        let mut firsts: Vec<u64> =
            futures_util::future::join_all(work).await.into_iter().map(|done| done.unwrap()).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, (0..8).map(|n| first + 10 + n * 100).collect::<Vec<_>>());
        assert_eq!(store.reserve_log_lines(&organization, &agent, 5, first + 10_000).await.unwrap(), first + 10_001);
        assert_eq!(store.reserve_log_lines(&organization, &agent, 5, 3).await.unwrap(), first + 10_006);
    })
    .await;
}
