//! Processes that end without a word while calls are with an upstream: the records say so, and the budgets have counted what
//! was held; a process that was only slow is counted with what its calls did cost, once.

use super::*;
use crate::{By, UsageQuery};

/// A call of `key` that has been with an upstream for a second, and is written down.
async fn long_call(world: &World, accounts: &Arc<Accounts>, budgets: &[Arc<Budget>], most: u64) -> (Held, Record) {
    let mut held = hold(accounts, "k", budgets, most).await.unwrap();
    let record = world.record(&who("k"));
    held.running(record.clone(), 40);
    world.pass(1_000);
    accounts.flush().await.unwrap();
    (held, record)
}

/// As a process that is killed.
fn kill(accounts: Arc<Accounts>, calls: impl IntoIterator<Item = Held>) {
    calls.into_iter().for_each(std::mem::forget);
    drop(accounts);
}

/// Endings with their numbers, and requests, errors, input and output of all.
async fn endings(world: &World) -> (Vec<(String, u64)>, [u64; 4]) {
    let query = |by| UsageQuery { by, ..UsageQuery::default() };
    let accounts = world.accounts();
    let table = accounts.query(&organization(), &query(vec![By::Ending])).await.unwrap();
    let endings = table.rows.iter().map(|row| (row.group[0].clone().unwrap(), row.requests)).collect();
    let all = &accounts.query(&organization(), &query(vec![])).await.unwrap().rows[0];
    (endings, [all.requests, all.errors, all.input, all.output])
}

fn one(ending: &str) -> Vec<(String, u64)> {
    vec![(ending.to_owned(), 1)]
}

fn monthly(unit: Unit, limit: &str) -> Arc<Budget> {
    budget(Per::Organization, unit, limit, Window::Month)
}

#[tokio::test]
async fn a_call_of_a_killed_process_is_recorded_and_counted_as_it_was_held() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let tokens_of = monthly(Unit::Tokens, "1000");
        let budgets = [Arc::clone(&tokens_of), named("requests", &monthly(Unit::Requests, "10"))];
        let killed = world.accounts();
        let (held, record) = long_call(world, &killed, &budgets, 300).await;
        assert_eq!(endings(world).await, (one("running"), [1, 0, 0, 0]));
        assert_eq!(world.used(&tokens_of).await, [0]);
        kill(killed, [held]);
        let other = world.accounts();
        world.pass(31_000);
        // From the moment on in which it is dead, whether that is written or not.
        refused(hold(&other, "k", &budgets, 701).await);
        let rest = hold(&other, "k", &budgets, 700).await.unwrap();
        for _ in 0..2 {
            other.bury().await.unwrap();
            assert_eq!(endings(world).await, (one("lost"), [1, 1, 40, 260]));
            assert_eq!((world.used(&tokens_of).await, world.used(&budgets[1]).await), (vec![300], vec![1]));
        }
        let row = other.store.model_call(&organization(), &record.id).await.unwrap().unwrap();
        assert!(row.estimated && row.ending == "lost" && row.upstream.as_deref() == Some("openai"), "{row:?}");
        refused(hold(&other, "k", &budgets, 1).await);
        rest.settle(tokens(700), world.record(&who("k")));
        other.flush().await.unwrap();
        assert_eq!(world.used(&tokens_of).await, [1_000]);
    })
    .await;
}

#[tokio::test]
async fn alone_a_new_process_counts_what_an_earlier_one_held_at_once() {
    on_each(async |world| {
        let alone = || world.configured(|config| config.alone = true);
        let budgets = [monthly(Unit::Tokens, "1000")];
        let killed = alone();
        // Ten of them, and one that no budget counts.
        let mut calls = Vec::new();
        for _ in 0..10 {
            calls.push(long_call(world, &killed, &budgets, 50).await.0);
        }
        calls.push(long_call(world, &killed, &[], 50).await.0);
        kill(killed, calls);
        let next = alone();
        next.tick().await.unwrap();
        assert_eq!(endings(world).await, (vec![("lost".to_owned(), 11)], [11, 11, 440, 110]));
        assert_eq!(world.used(&budgets[0]).await, [500]);
        refused(hold(&next, "k", &budgets, 501).await);
        drop(hold(&next, "k", &budgets, 500).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_slow_process_is_counted_with_what_its_calls_did_cost() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let budgets = [monthly(Unit::Tokens, "1000")];
        let slow = world.accounts();
        let (first, record) = long_call(world, &slow, &budgets, 300).await;
        let (second, other_record) = long_call(world, &slow, &budgets, 200).await;
        let other = world.accounts();
        for turn in 0..2 {
            // It is taken for dead, twice.
            world.pass(31_000);
            let rest = hold(&other, "k", &budgets, 500).await.unwrap();
            other.bury().await.unwrap();
            assert_eq!(endings(world).await.0, [("lost".to_owned(), 2)]);
            assert_eq!(world.used(&budgets[0]).await, [500], "{turn}");
            // It was only slow, and says so.
            slow.flush_for(crate::exchange::Purpose::Beat).await.unwrap();
            assert_eq!(endings(world).await.0, [("running".to_owned(), 2)]);
            assert_eq!(world.used(&budgets[0]).await, [0]);
            refused(hold(&slow, "k", &budgets, 1).await);
            drop(rest);
            other.flush().await.unwrap();
        }
        world.pass(31_000);
        other.bury().await.unwrap();
        first.settle(tokens(120), record);
        second.settle(tokens(230), other_record);
        slow.flush().await.unwrap();
        slow.flush().await.unwrap();
        other.bury().await.unwrap();
        assert_eq!(world.used(&budgets[0]).await, [350]);
        assert_eq!(endings(world).await, (vec![("ok".to_owned(), 2)], [2, 0, 200, 40]));
        drop(hold(&other, "k", &budgets, 650).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_slow_process_asks_for_all_its_accounts_before_it_spends() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let budgets = [budget(Per::Key, Unit::Tokens, "1000", Window::Month)];
        let slow = world.accounts();
        for key in ["a", "b"] {
            drop(hold(&slow, key, &budgets, 600).await.unwrap());
        }
        slow.flush().await.unwrap();
        world.pass(30_001);
        let other = world.accounts();
        let all = hold(&other, "b", &budgets, 1_000).await.unwrap();
        // It has said that it lives, and of the other account what it has.
        drop(hold(&slow, "a", &budgets, 600).await.unwrap());
        refused(hold(&slow, "b", &budgets, 1).await);
        drop(all);
    })
    .await;
}

#[tokio::test]
async fn a_flush_of_a_running_call_whose_outcome_is_unknown_counts_once() {
    on_each(async |world| {
        world.pass(-3_600_000);
        let budgets = [monthly(Unit::Tokens, "1000")];
        let accounts = world.accounts();
        for fault in [Fault::UNKNOWN, Fault::DOWN] {
            let (mut held, record) = long_call(world, &accounts, &budgets, 300).await;
            // With another upstream now, and the store does not say that it knows.
            held.running(Record { upstream: Some("other".to_owned()), ..record.clone() }, 40);
            accounts.fault.set(fault);
            assert!(accounts.flush().await.is_err());
            held.settle(tokens(100), record);
            assert!(fault == Fault::UNKNOWN || accounts.flush().await.is_err());
            accounts.fault.set(0);
            accounts.flush().await.unwrap();
            accounts.flush().await.unwrap();
        }
        assert_eq!(world.used(&budgets[0]).await, [200]);
        assert_eq!(endings(world).await, (vec![("ok".to_owned(), 2)], [2, 0, 200, 40]));
        kill(accounts, []);
        world.pass(31_000);
        world.accounts().bury().await.unwrap();
        assert_eq!(world.used(&budgets[0]).await, [200]);
    })
    .await;
}

#[tokio::test]
async fn short_calls_are_not_written_while_they_run_and_what_is_given_back_is() {
    on_each(async |world| {
        let accounts = world.configured(|config| config.alone = true);
        let budgets = [monthly(Unit::Tokens, "1000000000")];
        for number in 0..5_000 {
            let mut held = hold(&accounts, "k", &budgets, 300).await.unwrap();
            held.running(world.record(&who("k")), 40);
            if number % 100 == 0 {
                accounts.flush().await.unwrap();
                world.pass(700);
            }
        }
        accounts.flush().await.unwrap();
        assert!(accounts.calls.is_empty());
        let table = accounts.query(&organization(), &UsageQuery::default()).await.unwrap();
        assert_eq!((table.rows.len(), world.used(&budgets[0]).await), (0, vec![0]));
        // One that was long and is given back does not run any more.
        drop(long_call(world, &accounts, &budgets, 300).await);
        accounts.flush().await.unwrap();
        assert_eq!(endings(world).await, (one("cancelled"), [1, 1, 0, 0]));
        kill(accounts, []);
        let next = world.configured(|config| config.alone = true);
        next.tick().await.unwrap();
        assert_eq!(world.used(&budgets[0]).await, [0]);
    })
    .await;
}

#[tokio::test]
async fn calls_that_run_when_the_process_ends_are_written_first() {
    on_each(async |world| {
        let alone = || world.configured(|config| config.alone = true);
        let budgets = [monthly(Unit::Tokens, "1000")];
        let ends = alone();
        let mut held = hold(&ends, "k", &budgets, 300).await.unwrap();
        held.running(world.record(&who("k")), 40);
        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        Arc::clone(&ends).keep(stop).await;
        assert_eq!(endings(world).await, (one("running"), [1, 0, 0, 0]));
        kill(ends, [held]);
        alone().tick().await.unwrap();
        assert_eq!((endings(world).await, world.used(&budgets[0]).await), ((one("lost"), [1, 1, 40, 260]), vec![300]));
    })
    .await;
}
