//! Answers about what was used: the store's sums over slices of time, added up and put in order.

use std::cmp::Reverse;
use std::collections::HashMap;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_store::{UsageColumn, UsageSlice, UsageSums};

use crate::calls::when;
use crate::exchange::within;
use crate::query::{By, MAX_ROWS, Order, UsageQuery};
use crate::window::{date, start_of};
use crate::{Accounts, Content, Error};

/// Records in one slice: the store's connection is not kept from others for long.
const SLICE_RECORDS: u64 = 50_000;
/// The most groups that are added up.
const MAX_GROUPS: usize = 100_000;

/// Sums of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// In the order of what is grouped by. Times are RFC 3339 texts, days and months their first parts.
    pub group: Vec<Option<String>>,
    pub requests: u64,
    pub errors: u64,
    pub input: u64,
    pub cached: u64,
    pub cache_written: u64,
    pub reasoning: u64,
    pub output: u64,
    /// Nano-dollars.
    pub money: u64,
    pub first_token_avg_ms: Option<u64>,
    pub first_token_max_ms: Option<u64>,
    pub wall_avg_ms: u64,
    pub wall_max_ms: u64,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageTable {
    pub by: Vec<By>,
    pub rows: Vec<UsageRow>,
    /// Rows that were left out.
    pub left_out: usize,
}

impl Accounts {
    /// The texts of a call, if its organization keeps them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn content(&self, organization: &OrganizationId, id: &str) -> Result<Option<Content>, Error> {
        let found = within(self.store.model_content(organization, &id.replace('\0', " "))).await?;
        Ok(found.map(|(request, answer)| Content { request, answer }))
    }

    /// Answers a question about an organization's calls. Records that wait for the store are not in it.
    ///
    /// # Errors
    /// The question is wrong or has too many groups, or the store failed.
    pub async fn query(&self, organization: &OrganizationId, query: &UsageQuery) -> Result<UsageTable, Error> {
        query.check().map_err(Problem::malformed)?;
        let columns: Vec<UsageColumn> = query.by.iter().filter_map(|by| by.column()).collect();
        let time = query.by.iter().copied().find(|by| by.column().is_none());
        let filters: Vec<(UsageColumn, String)> =
            query.filters.iter().filter_map(|(by, value)| Some((by.column()?, value.replace('\0', " ")))).collect();
        let end = query.to_ms.unwrap_or(i64::MAX);
        let mut from = query.from_ms.unwrap_or(0);
        let mut groups: HashMap<(i64, Vec<Option<String>>), UsageSums> = HashMap::new();
        loop {
            let step = within(self.store.model_usage_step(organization, from, end, SLICE_RECORDS)).await?;
            let to = step.map_or(end, |step| step.max(from.saturating_add(1)));
            let slice = UsageSlice {
                organization,
                from_ms: from,
                to_ms: to,
                columns: &columns,
                bucket_ms: time.and_then(By::bucket_ms),
                filters: &filters,
            };
            for sums in within(self.store.model_usage(&slice)).await? {
                add(&mut groups, time, sums);
            }
            if groups.len() > MAX_GROUPS {
                let detail = format!("There are more than {MAX_GROUPS} groups; ask for less time, or group by less.");
                return Err(Problem::malformed(detail).into());
            }
            if step.is_none() {
                break;
            }
            from = to;
        }
        Ok(table(query, time, groups.into_values().collect()))
    }
}

/// Adds the sums of a slice to those of the slices before.
fn add(groups: &mut HashMap<(i64, Vec<Option<String>>), UsageSums>, time: Option<By>, mut sums: UsageSums) {
    if time == Some(By::Month) {
        sums.bucket_ms = start_of(date(sums.bucket_ms).first_of_month());
    }
    let key = (sums.bucket_ms, sums.group.clone());
    let Some(all) = groups.get_mut(&key) else {
        groups.insert(key, sums);
        return;
    };
    for (sum, more) in [
        (&mut all.requests, sums.requests),
        (&mut all.errors, sums.errors),
        (&mut all.input, sums.input),
        (&mut all.cached, sums.cached),
        (&mut all.cache_written, sums.cache_written),
        (&mut all.reasoning, sums.reasoning),
        (&mut all.output, sums.output),
        (&mut all.money, sums.money),
        (&mut all.first_tokens, sums.first_tokens),
        (&mut all.first_token_ms, sums.first_token_ms),
        (&mut all.wall_ms, sums.wall_ms),
    ] {
        *sum = sum.saturating_add(more);
    }
    all.first_token_max_ms = all.first_token_max_ms.max(sums.first_token_max_ms);
    all.wall_max_ms = all.wall_max_ms.max(sums.wall_max_ms);
}

fn table(query: &UsageQuery, time: Option<By>, mut groups: Vec<UsageSums>) -> UsageTable {
    let by_group = |one: &UsageSums, other: &UsageSums| {
        one.bucket_ms.cmp(&other.bucket_ms).then_with(|| one.group.cmp(&other.group))
    };
    let most = |sums: &UsageSums| match query.order {
        Order::Group => 0,
        Order::Requests => sums.requests,
        Order::Tokens => sums.input.saturating_add(sums.output),
        Order::Money => sums.money,
    };
    groups.sort_unstable_by(|one, other| {
        Reverse(most(one)).cmp(&Reverse(most(other))).then_with(|| by_group(one, other))
    });
    let shown = query.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    let left_out = groups.len().saturating_sub(shown);
    groups.truncate(shown);
    let rows = groups.into_iter().map(|sums| row(query, time, sums)).collect();
    UsageTable { by: query.by.clone(), rows, left_out }
}

fn row(query: &UsageQuery, time: Option<By>, sums: UsageSums) -> UsageRow {
    let start = time.map(|time| start(time, sums.bucket_ms));
    let mut columns = sums.group.into_iter();
    let value = |by: &By| match by.column() {
        Some(_) => columns.next().flatten(),
        None => start.clone(),
    };
    UsageRow {
        group: query.by.iter().map(value).collect(),
        requests: sums.requests,
        errors: sums.errors,
        input: sums.input,
        cached: sums.cached,
        cache_written: sums.cache_written,
        reasoning: sums.reasoning,
        output: sums.output,
        money: sums.money,
        first_token_avg_ms: sums.first_token_ms.checked_div(sums.first_tokens),
        first_token_max_ms: (sums.first_tokens > 0).then_some(sums.first_token_max_ms),
        wall_avg_ms: sums.wall_ms.checked_div(sums.requests).unwrap_or(0),
        wall_max_ms: sums.wall_max_ms,
    }
}

/// The start of a part of time, as people write it.
fn start(time: By, at_ms: i64) -> String {
    let day = date(at_ms);
    match time {
        By::Month => format!("{:04}-{:02}", day.year(), day.month()),
        By::Day => day.to_string(),
        _ => when(at_ms),
    }
}
