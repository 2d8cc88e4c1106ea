//! A store that fails: nothing counts twice, nothing is lost, and what waits is bounded.

use super::*;

async fn requests(accounts: &Accounts) -> u64 {
    accounts
        .query(&organization(), &crate::UsageQuery::default())
        .await
        .unwrap()
        .rows
        .iter()
        .map(|row| row.requests)
        .sum()
}

#[tokio::test]
async fn a_flush_whose_outcome_is_unknown_counts_once() {
    on_each(async |world| {
        let accounts = world.accounts();
        let budgets = [budget(Per::Key, Unit::Tokens, "1000", Window::Day)];
        let call = async |key: &str, most: u64| {
            hold(&accounts, key, &budgets, most).await.map(|held| held.settle(tokens(most), world.record(&who(key))))
        };
        call("k", 100).await.unwrap();
        accounts.fault.set(Fault::UNKNOWN);
        assert!(accounts.flush().await.is_err());
        // More comes in before it is sent again.
        world.pass(1_500);
        let held = hold(&accounts, "k", &budgets, 50).await.unwrap();
        held.settle(tokens(50), world.record(&who("k")));
        call("l", 10).await.unwrap();
        accounts.flush().await.unwrap();
        accounts.flush().await.unwrap();
        assert_eq!((world.used(&budgets[0]).await, requests(&accounts).await), (vec![150, 10], 3));
        // A grant whose outcome is unknown is not lost either.
        accounts.fault.set(Fault::UNKNOWN);
        assert!(matches!(call("m", 900).await, Err(HoldError::Unavailable(_))));
        world.pass(1_500);
        call("m", 1_000).await.unwrap();
        call("k", 850).await.unwrap();
        assert!(call("k", 1).await.is_err());
        accounts.flush().await.unwrap();
        assert_eq!(world.used(&budgets[0]).await, [1_000, 1_000, 10]);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_while_the_store_is_down_and_what_waits_is_bounded() {
    on_each(async |world| {
        let accounts = world.configured(|config| config.max_waiting = 100);
        let budgets = [budget(Per::Key, Unit::Tokens, "1000000", Window::Day)];
        let warm = hold(&accounts, "k", &budgets, 1_000).await.unwrap();
        warm.settle(tokens(1_000), world.record(&who("k")));
        accounts.flush().await.unwrap();
        accounts.fault.set(Fault::DOWN);
        let mut running = Vec::new();
        for _ in 0..99 {
            assert!(accounts.flush().await.is_err());
            running.push(accounts.hold(&who("k"), &[], &[], tokens(1)).await.unwrap());
            accounts.record(world.record(&who("k")));
        }
        accounts.room().unwrap();
        accounts.record(world.record(&who("k")));
        assert!(accounts.room().is_err());
        assert!(matches!(hold(&accounts, "k", &[], 1).await, Err(HoldError::Unavailable(_))));
        // One more is refused by us and finds no room; those that have begun do.
        accounts.record(world.record(&who("k")));
        running.into_iter().for_each(|held| held.settle(tokens(1), world.record(&who("k"))));
        assert_eq!((accounts.queue.waiting(), accounts.metrics.lost.get()), (199, 1));
        accounts.fault.set(0);
        accounts.flush().await.unwrap();
        assert_eq!((accounts.queue.waiting(), requests(&accounts).await), (0, 200));
        accounts.room().unwrap();
    })
    .await;
}

#[tokio::test]
async fn without_the_store_budgets_are_unavailable_and_not_free() {
    on_each(async |world| {
        let accounts = world.accounts();
        let budgets = [budget(Per::Key, Unit::Tokens, "1000", Window::Day)];
        accounts.fault.set(Fault::DOWN);
        for _ in 0..3 {
            assert!(matches!(hold(&accounts, "k", &budgets, 1).await, Err(HoldError::Unavailable(_))));
        }
        assert_eq!(accounts.metrics.flush_failures.get(), 1);
        accounts.fault.set(0);
        world.pass(1_001);
        drop(hold(&accounts, "k", &budgets, 1_000).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn hostile_words_do_not_stop_a_flush() {
    on_each(async |world| {
        let accounts = world.accounts();
        let nasty = "a\0\u{1f}'\"; DROP TABLE model_usage; --\u{feff}\n".repeat(100);
        let who = Who { agent: Some(nasty.clone()), task: Some(nasty.clone()), ..who("k") };
        let budgets = [budget(Per::Agent, Unit::Tokens, "1000", Window::Day)];
        let mut record = world.record(&who);
        (record.asked, record.served, record.input, record.money) =
            (nasty.clone(), Some(nasty.clone()), u64::MAX, u64::MAX);
        record.content = Some(crate::Content { request: nasty.clone(), answer: "é".repeat(100_000) });
        let id = record.id.clone();
        let held = accounts.hold(&who, &[&nasty], &budgets, tokens(5)).await.unwrap();
        held.settle(Amounts { requests: u64::MAX, tokens: u64::MAX, money: u64::MAX }, record);
        accounts.flush().await.unwrap();
        assert_eq!(requests(&accounts).await, 1);
        let content = accounts.content(&organization(), &id).await.unwrap().unwrap();
        assert!(content.request.len() + content.answer.len() <= crate::MAX_CONTENT_BYTES);
        let stranger = OrganizationId::parse("stranger").unwrap();
        assert_eq!(accounts.content(&stranger, &id).await.unwrap(), None);
        // The sums stay in their bounds, however often that happens.
        for _ in 0..30_000 {
            let cost = Amounts { requests: 1, tokens: u64::MAX, money: 0 };
            let takes = accounts.ledger.takes(&who, &[], &budgets, tokens(0), world.now()).unwrap();
            accounts.ledger.settle(&takes, cost, false);
        }
        accounts.flush().await.unwrap();
        accounts.flush().await.unwrap();
        assert!(world.used(&budgets[0]).await[0] >= 2_000_000_000_000_000_000);
    })
    .await;
}

#[tokio::test]
async fn old_records_and_contents_are_deleted() {
    on_each(async |world| {
        let accounts = world.configured(|config| (config.keep_days, config.content_keep_days) = (10, 1));
        let mut ids = Vec::new();
        for _ in 0..600 {
            let mut record = world.record(&who("k"));
            record.content = Some(crate::Content { request: "q".into(), answer: "a".into() });
            ids.push(record.id.clone());
            accounts.record(record);
        }
        accounts.flush().await.unwrap();
        let kept = async || {
            accounts.clean().await.unwrap();
            (requests(&accounts).await, accounts.content(&organization(), &ids[0]).await.unwrap().is_some())
        };
        assert_eq!(kept().await, (600, true));
        world.pass(2 * 24 * 3_600_000);
        assert_eq!(kept().await, (600, false));
        world.pass(9 * 24 * 3_600_000);
        assert_eq!(kept().await, (0, false));
    })
    .await;
}
