//! Time and memory of many calls, in a process of its own. The bounds are wide: they are there for what grows without end.
//! `COFFERDAM_USAGE_CALLS` asks for another number of calls, such as a million.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;
use cofferdam_core::now_ms;
use cofferdam_store::Store;
use cofferdam_testkit::database::On;
use cofferdam_usage::{
    Accounts, Amounts, Budget, BudgetSpec, By, Ending, Limit, Per, Record, Unit, UsageConfig, UsageMetrics, UsageQuery,
    Who, Window,
};
use tokio_util::sync::CancellationToken;

/// Calls between two flushes: 4,000 calls in a second.
const FLUSH: u64 = 800;

/// Memory of this process, in KiB.
fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

fn cpu_ms() -> u128 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u128>().unwrap() + fields[12].parse::<u128>().unwrap()) * 10
}

fn budget(name: &str, per: Per, unit: Unit, limit: &str, window: Window) -> Arc<Budget> {
    let spec = BudgetSpec { per, only: None, unit, limit: Limit::new(limit), window, models: None };
    Arc::new(Budget { name: name.to_owned(), organization: OrganizationId::default_organization(), spec })
}

fn record(number: u64, who: &Who) -> Record {
    Record {
        id: format!("call_{number:032x}"),
        at_ms: now_ms() - 86_400_000 + i64::try_from(number * 80).unwrap(),
        who: who.clone(),
        door: "chat",
        asked: "gpt-5".to_owned(),
        served: Some("gpt-5".to_owned()),
        upstream: Some("openai".to_owned()),
        provider: Some("openai"),
        shared: true,
        tries: 1,
        input: 100,
        cached: 10,
        cache_written: 0,
        reasoning: 0,
        output: 20,
        money: 900,
        first_token_ms: Some(30),
        wall_ms: 50,
        ending: Ending::Ok,
        estimated: false,
        content: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_are_quick_and_leave_nothing_in_memory() {
    let calls: u64 = std::env::var("COFFERDAM_USAGE_CALLS").map_or(100_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&On::Sqlite.database(&folder).await).await.unwrap();
    let organization = OrganizationId::default_organization();
    let config = UsageConfig { alone: true, ..UsageConfig::default() };
    let accounts = Accounts::new(store, config, UsageMetrics::default());
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(Arc::clone(&accounts).keep(stop.clone()));
    let month = budget("month", Per::Key, Unit::Tokens, "1000000000", Window::Month);
    let budgets = [
        budget("organization", Per::Organization, Unit::Money, "1000000", Window::Month),
        Arc::clone(&month),
        budget("task", Per::Task, Unit::Requests, "1000000", Window::Minute),
    ];
    let most = Amounts { requests: 1, tokens: 1_000, money: 1_000 };
    let cost = Amounts { requests: 1, tokens: 120, money: 900 };
    let (mut holding, mut waiting, mut flushing, mut flush_cpu, mut first) = (Vec::new(), 0, 0, 0, 0);
    for number in 0..calls {
        if number % FLUSH == 0 {
            let (start, cpu) = (Instant::now(), cpu_ms());
            accounts.flush().await.unwrap();
            flushing += start.elapsed().as_micros();
            flush_cpu += cpu_ms() - cpu;
            if number == 20 * FLUSH {
                first = resident_kib();
            }
        }
        let who = Who {
            organization: organization.clone(),
            key: "key_1".to_owned(),
            agent: Some("bot".to_owned()),
            task: Some(format!("task{}", number / 1_000)),
        };
        let record = record(number, &who);
        let start = Instant::now();
        let mut held = accounts.hold(&who, &["gpt-5", "openai/gpt-5"], &budgets, most).await.unwrap();
        held.running(record.clone(), 100);
        held.settle(cost, record);
        let took = start.elapsed().as_nanos();
        waiting += u64::from(took > 500_000);
        if number % 10 == 0 {
            holding.push(took);
        }
    }
    accounts.flush().await.unwrap();
    let last = resident_kib();
    holding.sort_unstable();
    let median = holding[holding.len() / 2];
    println!(
        "{calls} calls: hold and settle of three budgets {median} ns in the median, {waiting} calls waited for the store; \
         a flush of {FLUSH} {} us, {} us of CPU a record; {first} KiB after {} calls, {last} KiB at the end",
        flushing / u128::from(calls / FLUSH),
        flush_cpu * 1_000 / u128::from(calls),
        20 * FLUSH,
    );
    let spent = accounts.spent(&organization, &[month]).await.unwrap();
    assert_eq!((spent.len(), spent[0].used, spent[0].held), (1, calls * 120, 0));
    for (name, by) in [("nothing", vec![]), ("day and model", vec![By::Day, By::Model]), ("task", vec![By::Task])] {
        let start = Instant::now();
        let table = accounts.query(&organization, &UsageQuery { by, ..UsageQuery::default() }).await.unwrap();
        println!("grouped by {name}: {} rows in {} ms", table.rows.len(), start.elapsed().as_millis());
        assert_eq!(table.rows.iter().map(|row| row.requests).sum::<u64>(), calls);
    }
    let start = Instant::now();
    let filters = vec![(By::Task, "task7".to_owned())];
    let table = accounts.query(&organization, &UsageQuery { filters, ..UsageQuery::default() }).await.unwrap();
    println!("one task: {} ms", start.elapsed().as_millis());
    assert_eq!(table.rows[0].requests, 1_000);
    assert!(last < first + 24 * 1_024, "{first} KiB, {last} KiB");
    assert!(median < 100_000);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), keeping).await.unwrap().unwrap();
}
