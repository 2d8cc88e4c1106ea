//! Questions about what was used.

use super::*;
use crate::{By, CallQuery, Content, Ending, Order, UsageQuery};

/// One call every half an hour, from two keys, for forty days.
async fn fill(world: &World, accounts: &Arc<Accounts>) {
    for number in 0..1_920_i64 {
        let key = if number % 3 == 0 { "a" } else { "b" };
        let mut record = world.record(&Who { agent: (number % 2 == 0).then(|| "bot".to_owned()), ..who(key) });
        record.at_ms = start() + number * 1_800_000;
        record.id = Record::new_id(record.at_ms).unwrap();
        record.ending = if number % 10 == 0 { Ending::Error } else { Ending::Ok };
        record.first_token_ms = (number % 4 == 0).then_some(40);
        record.wall_ms = u32::try_from(number).unwrap();
        record.money = 500_000_000;
        accounts.record(record);
    }
    accounts.flush().await.unwrap();
}

#[tokio::test]
async fn groups_filters_and_orders() {
    on_each(async |world| {
        let accounts = world.accounts();
        assert_eq!(accounts.query(&organization(), &UsageQuery::default()).await.unwrap().rows.len(), 0);
        fill(world, &accounts).await;
        let ask = async |query: UsageQuery| accounts.query(&organization(), &query).await.unwrap();
        let all = ask(UsageQuery::default()).await;
        let row = &all.rows[0];
        assert_eq!((all.rows.len(), row.requests, row.errors, row.money), (1, 1_920, 192, 960_000_000_000));
        assert_eq!(
            (row.input, row.cached, row.cache_written, row.reasoning, row.output),
            (192_000, 19_200, 9_600, 13_440, 38_400)
        );
        assert_eq!(
            (row.first_token_avg_ms, row.first_token_max_ms, row.wall_avg_ms, row.wall_max_ms),
            (Some(40), Some(40), 959, 1_919)
        );
        let months = ask(UsageQuery { by: vec![By::Key, By::Month], ..UsageQuery::default() }).await;
        let groups: Vec<(String, u64)> = months
            .rows
            .iter()
            .map(|row| {
                (
                    row.group.iter().map(|part| part.clone().unwrap_or_default()).collect::<Vec<_>>().join(" "),
                    row.requests,
                )
            })
            .collect();
        let expected =
            [("a 2026-11", 1), ("a 2026-12", 496), ("b 2026-12", 992), ("a 2027-01", 143), ("b 2027-01", 288)];
        assert_eq!(groups, expected.map(|(group, requests)| (group.to_owned(), requests)));
        let by = vec![By::Day, By::Agent];
        let query = UsageQuery { by, order: Order::Requests, limit: Some(3), ..UsageQuery::default() };
        let days = ask(query).await;
        assert_eq!((days.rows.len(), days.left_out), (3, 78));
        assert_eq!(days.rows[0].group, [Some("2026-12-01".to_owned()), None]);
        let filters = vec![(By::Agent, "bot".to_owned()), (By::Ending, "error".to_owned())];
        let (from_ms, to_ms) = (Some(start()), Some(start() + 3_600_000 * 24));
        let hours = ask(UsageQuery { by: vec![By::Hour], filters, from_ms, to_ms, ..UsageQuery::default() }).await;
        assert_eq!(hours.rows.iter().map(|row| row.requests).sum::<u64>(), 5);
        assert_eq!(hours.rows[0].group, [Some("2026-11-30T23:00:00Z".to_owned())]);
        assert!(months.csv().starts_with("key,month,requests,errors,"));
        assert_eq!(months.csv().lines().count(), 6);
        let stranger = OrganizationId::parse("stranger").unwrap();
        assert_eq!(accounts.query(&stranger, &UsageQuery::default()).await.unwrap().rows.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn single_records_come_newest_first_page_by_page() {
    on_each(async |world| {
        let accounts = world.accounts();
        fill(world, &accounts).await;
        // Several in one millisecond, at a page's end.
        for _ in 0..7 {
            accounts.record(world.record(&Who { task: Some("=t".to_owned()), ..who("c") }));
        }
        accounts.flush().await.unwrap();
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let query =
                CallQuery { limit: Some(5), after, to_ms: Some(start() + 40 * 1_800_000), ..CallQuery::default() };
            let page = accounts.calls(&organization(), &query).await.unwrap();
            assert!(page.calls.len() <= 5);
            seen.extend(page.calls.into_iter().map(|call| (call.at_ms, call.id)));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (47, 10));
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
        let filters = vec![(By::Key, "c".to_owned()), (By::Task, "=t".to_owned())];
        let query = CallQuery { filters, ..CallQuery::default() };
        let page = accounts.calls(&organization(), &query).await.unwrap();
        assert!(page.calls.len() == 7 && page.next.is_none());
        let csv = page.csv();
        assert!(csv.starts_with("id,at,key,") && csv.lines().count() == 8 && csv.contains(",'=t,chat,"), "{csv}");
        let stranger = OrganizationId::parse("stranger").unwrap();
        assert_eq!(accounts.calls(&stranger, &query).await.unwrap().calls, []);
        let bad = CallQuery { limit: Some(1_001), ..CallQuery::default() };
        assert!(accounts.calls(&organization(), &bad).await.is_err());
        for after in ["", "x", "9", "x.y", "99999999999999999999.a"] {
            let bad = CallQuery { after: Some(after.to_owned()), ..CallQuery::default() };
            assert!(accounts.calls(&organization(), &bad).await.is_err(), "{after}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_record_and_its_texts_belong_to_their_organization() {
    on_each(async |world| {
        let accounts = world.accounts();
        let content = Content { request: "q".to_owned(), answer: "a".to_owned() };
        let record = Record { content: Some(content.clone()), estimated: true, ..world.record(&who("k")) };
        accounts.record(record.clone());
        accounts.flush().await.unwrap();
        let found = accounts.call(&organization(), &record.id).await.unwrap().unwrap();
        assert_eq!((&*found.id, &*found.ending, found.money, found.estimated), (&*record.id, "ok", record.money, true));
        assert_eq!(accounts.content(&organization(), &record.id).await.unwrap(), Some(content));
        let stranger = OrganizationId::parse("stranger").unwrap();
        assert_eq!(accounts.call(&stranger, &record.id).await.unwrap(), None);
        assert_eq!(accounts.content(&stranger, &record.id).await.unwrap(), None);
        assert_eq!(accounts.call(&organization(), "call_\0").await.unwrap(), None);
    })
    .await;
}

#[test]
fn questions_are_checked() {
    let good = UsageQuery { by: vec![By::Key, By::Day], ..UsageQuery::default() };
    assert_eq!(good.check(), Ok(()));
    for bad in [
        UsageQuery { by: vec![By::Hour, By::Day], ..UsageQuery::default() },
        UsageQuery { by: vec![By::Key, By::Key], ..UsageQuery::default() },
        UsageQuery { filters: vec![(By::Day, "x".to_owned())], ..UsageQuery::default() },
        UsageQuery { from_ms: Some(2), to_ms: Some(1), ..UsageQuery::default() },
        UsageQuery { limit: Some(10_001), ..UsageQuery::default() },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
    assert_eq!("served".parse(), Ok(By::Served));
    assert!("x".parse::<By>().unwrap_err().contains("month"));
}
