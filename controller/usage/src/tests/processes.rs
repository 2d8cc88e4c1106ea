//! Several processes over one store: exact sums, nothing refused while there is something left, and processes that end
//! without a word.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::*;

struct Running(CancellationToken, Vec<tokio::task::JoinHandle<()>>);

impl Running {
    fn start(accounts: &[Arc<Accounts>]) -> Self {
        let stop = CancellationToken::new();
        let keep = |accounts: &Arc<Accounts>| tokio::spawn(Arc::clone(accounts).keep(stop.clone()));
        let tasks = accounts.iter().map(keep).collect();
        Self(stop, tasks)
    }

    async fn end(self) {
        self.0.cancel();
        for task in self.1 {
            task.await.unwrap();
        }
    }
}

fn live(world: &World) -> Arc<Accounts> {
    world.configured(|config| config.clock = Clock::System)
}

/// Amounts that the store has as used in the window of today.
async fn used(world: &World, budget: &Arc<Budget>) -> Vec<u64> {
    let states = live(world).spent(&organization(), std::slice::from_ref(budget)).await.unwrap();
    states.iter().map(|state| state.used).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_at_once_spend_exactly_the_limit() {
    on_each(async |world| {
        let accounts = [live(world), live(world), live(world)];
        let running = Running::start(&accounts);
        let requests = named("requests", &budget(Per::Organization, Unit::Requests, "900", Window::Month));
        let tokens_of = named("tokens", &budget(Per::Organization, Unit::Tokens, "1000000", Window::Month));
        let budgets = [Arc::clone(&requests), Arc::clone(&tokens_of)];
        let mut calls = Vec::new();
        for number in 0..1_500_usize {
            let (accounts, budgets) = (Arc::clone(&accounts[number % 3]), budgets.clone());
            let record = world.record(&who("k"));
            calls.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis((number / 10) as u64)).await;
                let held = match hold(&accounts, "k", &budgets, 1_000).await {
                    Ok(held) => held,
                    Err(HoldError::Refused(_)) => return 0,
                    Err(other) => panic!("{other:?}"),
                };
                tokio::time::sleep(Duration::from_millis((number % 7) as u64)).await;
                held.settle(tokens(1_000), record);
                1
            }));
        }
        let mut granted = 0;
        for call in calls {
            granted += call.await.unwrap();
        }
        assert_eq!(granted, 900);
        // A refusal is remembered for a moment.
        tokio::time::sleep(Duration::from_millis(150)).await;
        // What is left of the other budget can be had by one, wherever its parts are.
        let rest = std::slice::from_ref(&tokens_of);
        let all = hold(&accounts[0], "k", rest, 100_000).await.unwrap();
        refused(hold(&accounts[1], "k", rest, 1).await);
        all.settle(tokens(100_000), world.record(&who("k")));
        running.end().await;
        assert_eq!((used(world, &requests).await, used(world, &tokens_of).await), (vec![900], vec![1_000_000]));
        let table = accounts[0].query(&organization(), &crate::UsageQuery::default()).await.unwrap();
        assert_eq!(table.rows[0].requests, 901);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_of_a_crowd_at_an_unused_budget_is_refused() {
    on_each(async |world| {
        for alone in [true, false] {
            for round in 0..10_u64 {
                let accounts = world.configured(|config| (config.clock, config.alone) = (Clock::System, alone));
                let running = Running::start(std::slice::from_ref(&accounts));
                let name = format!("{alone}-{round}");
                let budgets = [named(&name, &budget(Per::Organization, Unit::Tokens, "1000000000", Window::Month))];
                let calls: Vec<_> = (0..24_u64)
                    .map(|number| {
                        let (accounts, budgets) = (Arc::clone(&accounts), budgets.clone());
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(number % 5)).await;
                            drop(hold(&accounts, "k", &budgets, 250).await.unwrap());
                        })
                    })
                    .collect();
                for call in calls {
                    call.await.unwrap();
                }
                running.end().await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn costs_that_differ_from_holds_add_up() {
    on_each(async |world| {
        let accounts = [live(world), live(world)];
        let running = Running::start(&accounts);
        let budget = budget(Per::Organization, Unit::Tokens, "1000000000", Window::Month);
        let mut calls = Vec::new();
        let mut expected = 0;
        for number in 0..2_000_u64 {
            let (accounts, budget, record) =
                (Arc::clone(&accounts[(number % 2) as usize]), Arc::clone(&budget), world.record(&who("k")));
            // Some fail, some cost more than they held.
            let cost = if number % 5 == 0 { None } else { Some(number * 37 % 1_500) };
            expected += cost.unwrap_or(0);
            calls.push(tokio::spawn(async move {
                let held = hold(&accounts, "k", &[budget], 1_000).await.unwrap();
                tokio::task::yield_now().await;
                match cost {
                    Some(cost) => held.settle(tokens(cost), record),
                    None => drop(held),
                }
            }));
        }
        for call in calls {
            call.await.unwrap();
        }
        running.end().await;
        assert_eq!(used(world, &budget).await, [expected]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn spare_elsewhere_comes_within_half_a_second() {
    on_each(async |world| {
        let accounts = [live(world), live(world)];
        let running = Running::start(&accounts);
        let budgets = [budget(Per::Organization, Unit::Tokens, "1000", Window::Month)];
        // Both have a part that does not suffice for 800.
        let (one, two) = tokio::join!(hold(&accounts[0], "k", &budgets, 400), hold(&accounts[1], "k", &budgets, 500));
        drop((one.unwrap(), two.unwrap()));
        let (one, two) = tokio::join!(hold(&accounts[0], "k", &budgets, 800), hold(&accounts[1], "k", &budgets, 800));
        assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
        let started = Instant::now();
        refused(hold(&accounts[1], "k", &budgets, 300).await);
        assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
        drop((one, two));
        // A refusal is remembered for a moment.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let started = Instant::now();
        let all = hold(&accounts[1], "k", &budgets, 1_000).await.unwrap();
        assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
        drop(all);
        running.end().await;
        // Everything was given back at the end.
        drop(hold(&world.accounts(), "k", &budgets, 1_000).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_shares_of_a_process_that_was_killed_expire() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let budgets = [budget(Per::Organization, Unit::Tokens, "1000", Window::Month)];
        let killed = world.accounts();
        let first = hold(&killed, "k", &budgets, 100).await.unwrap();
        first.settle(tokens(100), world.record(&who("k")));
        killed.flush().await.unwrap();
        // Running calls and what was not flushed are lost with it.
        let running = hold(&killed, "k", &budgets, 300).await.unwrap();
        hold(&killed, "k", &budgets, 200).await.unwrap().settle(tokens(200), world.record(&who("k")));
        std::mem::forget(running);
        drop(killed);
        let other = world.accounts();
        refused(hold(&other, "k", &budgets, 900).await);
        drop(hold(&other, "k", &budgets, 100).await.unwrap());
        world.pass(31_000);
        let all = hold(&other, "k", &budgets, 900).await.unwrap();
        refused(hold(&other, "k", &budgets, 1).await);
        all.settle(tokens(900), world.record(&who("k")));
        other.flush().await.unwrap();
        world.pass(-31_000);
        assert_eq!(world.used(&budgets[0]).await, [1_000]);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_was_taken_for_dead_asks_before_it_spends() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let budgets = [budget(Per::Organization, Unit::Tokens, "1000", Window::Month)];
        let asleep = world.accounts();
        drop(hold(&asleep, "k", &budgets, 600).await.unwrap());
        world.pass(30_001);
        let all = hold(&world.accounts(), "k", &budgets, 1_000).await;
        // It was seen 30 s ago: its share is another's now.
        let all = all.unwrap();
        refused(hold(&asleep, "k", &budgets, 1).await);
        drop(all);
    })
    .await;
}

#[tokio::test]
async fn alone_a_new_process_has_what_an_earlier_one_leased() {
    on_each(async |world| {
        let budgets = [budget(Per::Organization, Unit::Tokens, "1000", Window::Month)];
        let killed = world.configured(|config| config.alone = true);
        std::mem::forget(hold(&killed, "k", &budgets, 900).await.unwrap());
        let next = world.configured(|config| config.alone = true);
        drop(hold(&next, "k", &budgets, 1_000).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn accounts_that_nobody_uses_are_given_back_and_forgotten() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let accounts = world.accounts();
        let budgets = [budget(Per::Key, Unit::Tokens, "1000", Window::Month)];
        for key in 0..50 {
            let key = format!("k{key}");
            hold(&accounts, &key, &budgets, 10).await.unwrap().settle(tokens(10), world.record(&who(&key)));
        }
        accounts.flush().await.unwrap();
        assert_eq!(accounts.ledger.len(), 50);
        world.pass(61_000);
        accounts.ledger.sweep(world.now(), false);
        accounts.flush().await.unwrap();
        accounts.ledger.sweep(world.now(), false);
        assert_eq!(accounts.ledger.len(), 0);
        drop(hold(&world.accounts(), "k1", &budgets, 990).await.unwrap());
    })
    .await;
}
