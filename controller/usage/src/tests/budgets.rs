//! One process: what is held, settled and refused, in which window.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn holds_are_settled_given_back_and_refused() {
    on_each(async |world| {
        for alone in [false, true] {
            let accounts = world.configured(|config| config.alone = alone);
            let day =
                named(if alone { "alone" } else { "shared" }, &budget(Per::Key, Unit::Tokens, "1000", Window::Day));
            let budgets = [Arc::clone(&day)];
            let first = hold(&accounts, "k", &budgets, 600).await.unwrap();
            let said = refused(hold(&accounts, "k", &budgets, 401).await);
            assert_eq!((said.budget.as_str(), said.unit, said.window), (day.name.as_str(), Unit::Tokens, Window::Day));
            assert_eq!((said.limit.as_str(), said.retry_after_s), ("1000", Some(30)));
            // What is more than the whole budget never fits.
            assert_eq!(refused(hold(&accounts, "k", &budgets, 1_001).await).retry_after_s, None);
            let second = hold(&accounts, "k", &budgets, 400).await.unwrap();
            // Another key has an account of its own.
            drop(hold(&accounts, "other", &budgets, 1_000).await.unwrap());
            drop(second);
            first.settle(tokens(100), world.record(&who("k")));
            let rest = hold(&accounts, "k", &budgets, 900).await.unwrap();
            refused(hold(&accounts, "k", &budgets, 1).await);
            // More than was held counts in full, and the next call is refused.
            rest.settle(tokens(950), world.record(&who("k")));
            refused(hold(&accounts, "k", &budgets, 1).await);
            accounts.flush().await.unwrap();
            assert_eq!(world.used(&day).await, [1_050, 0]);
            refused(hold(&accounts, "k", &budgets, 1).await);
        }
    })
    .await;
}

#[tokio::test]
async fn all_budgets_or_none() {
    on_each(async |world| {
        let accounts = world.accounts();
        let wide = named("wide", &budget(Per::Organization, Unit::Requests, "10", Window::Minute));
        let narrow = named("narrow", &budget(Per::Key, Unit::Tokens, "100", Window::Month));
        let money = named("money", &budget(Per::Organization, Unit::Money, "0.50", Window::Day));
        let mut only = budget(Per::Key, Unit::Requests, "1", Window::Day).as_ref().clone();
        (only.name, only.spec.only, only.spec.models) =
            ("only".into(), Some("k2".into()), Some(vec!["claude*".into()]));
        let budgets = [Arc::clone(&wide), Arc::clone(&narrow), Arc::clone(&money), Arc::new(only)];
        let most = Amounts { requests: 1, tokens: 60, money: 300_000_000 };
        let ask = async |key: &str, models: &[&str]| accounts.hold(&who(key), models, &budgets, most).await;
        let one = ask("k", &["gpt-5"]).await.unwrap();
        assert_eq!(refused(ask("k", &["gpt-5"]).await).budget, "narrow");
        assert_eq!(refused(ask("k2", &["gpt-5"]).await).limit, "0.50");
        one.settle(Amounts { requests: 1, tokens: 10, money: 1_000 }, world.record(&who("k")));
        // `only` counts that key's calls of that model.
        let two = ask("k2", &["alias", "anthropic/claude"]).await.unwrap();
        two.settle(Amounts { requests: 1, tokens: 1, money: 0 }, world.record(&who("k2")));
        let three = ask("k2", &["claude-5"]).await.unwrap();
        three.settle(Amounts { requests: 1, tokens: 1, money: 0 }, world.record(&who("k2")));
        assert_eq!(refused(ask("k2", &["claude-5"]).await).budget, "only");
        accounts.flush().await.unwrap();
        assert_eq!(world.used(&wide).await, [3]);
        assert_eq!(world.used(&narrow).await, [10, 2]);
        assert_eq!(world.used(&money).await, [1_000]);
        // The same budget twice is one.
        drop(accounts.hold(&who("k"), &[], &[Arc::clone(&wide), wide], most).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn windows_end_and_calls_settle_where_they_were_held() {
    on_each(async |world| {
        let accounts = world.accounts();
        for window in [Window::Minute, Window::Day, Window::Month] {
            let budget = named(window.as_str(), &budget(Per::Key, Unit::Tokens, "100", window));
            let budgets = [Arc::clone(&budget)];
            let across = hold(&accounts, "k", &budgets, 100).await.unwrap();
            assert_eq!(refused(hold(&accounts, "k", &budgets, 1).await).retry_after_s, Some(30));
            world.pass(30_000);
            let next = hold(&accounts, "k", &budgets, 100).await.unwrap();
            across.settle(tokens(70), world.record(&who("k")));
            accounts.flush().await.unwrap();
            assert_eq!(world.used(&budget).await, [0]);
            next.settle(tokens(5), world.record(&who("k")));
            accounts.flush().await.unwrap();
            assert_eq!(world.used(&budget).await, [5]);
            world.pass(-30_000);
            assert_eq!(world.used(&budget).await, [70]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_tasks_budget_lasts_as_long_as_the_task() {
    on_each(async |world| {
        let accounts = world.accounts();
        let budget = budget(Per::Task, Unit::Money, "1", Window::Task);
        let task = |task: &str| Who { task: Some(task.to_owned()), ..who("k") };
        let most = Amounts { requests: 1, tokens: 1, money: 600_000_000 };
        let ask = async |who: &Who| accounts.hold(who, &[], std::slice::from_ref(&budget), most).await;
        ask(&task("t\0\n")).await.unwrap().settle(most, world.record(&task("t\0\n")));
        world.pass(29 * 24 * 3_600_000);
        assert_eq!(refused(ask(&task("t\0\n")).await).retry_after_s, None);
        drop(ask(&task("u")).await.unwrap());
        // Calls of no task have no such budget.
        drop((ask(&who("k")).await.unwrap(), ask(&who("k")).await.unwrap()));
        accounts.flush().await.unwrap();
        accounts.clean().await.unwrap();
        assert_eq!(world.used(&budget).await, [600_000_000, 0]);
        world.pass(33 * 24 * 3_600_000);
        accounts.clean().await.unwrap();
        assert_eq!(world.used(&budget).await, [] as [u64; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_changed_limit_holds_at_once() {
    on_each(async |world| {
        for alone in [false, true] {
            let accounts = world.configured(|config| config.alone = alone);
            let of =
                |limit: &str| [named(&format!("limit{alone}"), &budget(Per::Key, Unit::Tokens, limit, Window::Day))];
            let settle = async |limit: &str, amount: u64| {
                hold(&accounts, "k", &of(limit), amount)
                    .await
                    .map(|held| held.settle(tokens(amount), world.record(&who("k"))))
            };
            settle("1000", 100).await.unwrap();
            assert!(settle("150", 51).await.is_err());
            settle("150", 50).await.unwrap();
            assert!(settle("150", 1).await.is_err());
            settle("200", 50).await.unwrap();
            assert!(settle("0", 1).await.is_err());
            accounts.flush().await.unwrap();
            assert_eq!(world.used(&of("1000")[0]).await, [200]);
            // What was leased ahead under the old limit is given back.
            let other = world.accounts();
            let rest = hold(&other, "k", &of("1000"), if alone { 1 } else { 800 }).await;
            assert!(rest.is_ok(), "{alone}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_calls_asks_the_store_seldom() {
    on_each(async |world| {
        let accounts = world.configured(|config| (config.clock, config.alone) = (Clock::System, true));
        let budgets = [budget(Per::Key, Unit::Tokens, "10", Window::Day)];
        let _all = hold(&accounts, "k", &budgets, 10).await.unwrap();
        let start = std::time::Instant::now();
        for _ in 0..2_000 {
            refused(hold(&accounts, "k", &budgets, 1).await);
        }
        let asked = accounts.asked.load(Ordering::SeqCst);
        let allowed = 3 + start.elapsed().as_millis() / 100;
        assert!(u128::from(asked) <= allowed, "{asked} of {allowed}");
    })
    .await;
}
