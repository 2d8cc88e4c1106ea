//! Single records: the newest first, page by page, and one by its id.

use std::borrow::Cow;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_store::{CallSlice, ModelCallRow, UsageColumn};
use jiff::Timestamp;

use crate::budget::cut;
use crate::csv::{guard, line};
use crate::exchange::within;
use crate::money::dollars;
use crate::query::By;
use crate::{Accounts, Error};

/// The most records of a page.
pub const MAX_CALLS: usize = 1_000;
/// Records in one slice: the store's connection is not kept from others for long.
const SLICE_RECORDS: u64 = 20_000;
/// The most slices that one page looks at; the next page goes on where it ended.
const MAX_SLICES: usize = 50;

/// A question about single records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallQuery {
    /// From this time on, as Unix time in milliseconds; `None` from the oldest record on.
    pub from_ms: Option<i64>,
    /// Before this time; `None` up to now.
    pub to_ms: Option<i64>,
    /// Values that records must have. Not of times.
    pub filters: Vec<(By, String)>,
    /// `next` of the page before.
    pub after: Option<String>,
    /// The most records; `None` for [`MAX_CALLS`].
    pub limit: Option<usize>,
}

/// A page of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallPage {
    /// The newest first, without their texts.
    pub calls: Vec<ModelCallRow>,
    /// The next page's `after`; `None` on the last page. A page may have few records, or none, and a next one.
    pub next: Option<String>,
}

/// The columns of a page as CSV.
const COLUMNS: [&str; 20] = [
    "id",
    "at",
    "key",
    "agent",
    "task",
    "door",
    "model",
    "upstream",
    "served",
    "tries",
    "input_tokens",
    "cached_tokens",
    "cache_written_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "first_token_ms",
    "wall_ms",
    "ending",
    "estimated",
];

impl CallPage {
    /// Writes the page with a line of names.
    pub fn csv(&self) -> String {
        let mut text = String::with_capacity(200 * (self.calls.len() + 1));
        line(&mut text, COLUMNS.map(Cow::Borrowed).into_iter());
        for call in &self.calls {
            let said = |text: &Option<String>| guard(text.as_deref().unwrap_or_default()).into_owned();
            let cells: [String; 20] = [
                guard(&call.id).into_owned(),
                when(call.at_ms),
                guard(&call.key).into_owned(),
                said(&call.agent),
                said(&call.task),
                call.door.to_string(),
                guard(&call.asked).into_owned(),
                said(&call.upstream),
                said(&call.served),
                call.tries.to_string(),
                call.input.to_string(),
                call.cached.to_string(),
                call.cache_written.to_string(),
                call.output.to_string(),
                call.reasoning.to_string(),
                dollars(call.money),
                call.first_token_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                call.wall_ms.to_string(),
                call.ending.to_string(),
                call.estimated.to_string(),
            ];
            line(&mut text, cells.map(Cow::Owned).into_iter());
        }
        text
    }
}

/// A time as people write it.
pub fn when(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map(|time| time.to_string()).unwrap_or_default()
}

impl CallQuery {
    fn check(&self) -> Result<(), String> {
        if let Some((by, _)) = self.filters.iter().find(|(by, _)| by.column().is_none()) {
            return Err(format!("`{}` is no filter; use from and to.", by.name()));
        }
        if self.filters.len() > By::ALL.len() {
            return Err("Too many filters.".to_owned());
        }
        if self.from_ms.zip(self.to_ms).is_some_and(|(from, to)| from > to) {
            return Err("`from` is after `to`.".to_owned());
        }
        if self.limit.is_some_and(|limit| limit == 0 || limit > MAX_CALLS) {
            return Err(format!("`limit` is 1 to {MAX_CALLS}."));
        }
        Ok(())
    }

    /// The place before which the page begins: a time, and an id at that time.
    fn place(&self) -> Result<(i64, String), String> {
        let end = self.to_ms.unwrap_or(i64::MAX);
        let Some(after) = &self.after else { return Ok((end, String::new())) };
        let wrong = || "`after` is `next` of the page before.".to_owned();
        let (at_ms, id) = after.split_once('.').ok_or_else(wrong)?;
        let at_ms = at_ms.parse::<i64>().map_err(|_| wrong())?;
        // Another `to` than that of the page before counts too.
        Ok(if at_ms < end { (at_ms, clean(id)) } else { (end, String::new()) })
    }
}

/// A text as the store's queries take it.
fn clean(text: &str) -> String {
    cut(text, 256).replace('\0', " ")
}

impl Accounts {
    /// An organization's records, the newest first. Those that wait for the store are not among them.
    ///
    /// # Errors
    /// The question is wrong, or the store failed.
    pub async fn calls(&self, organization: &OrganizationId, query: &CallQuery) -> Result<CallPage, Error> {
        query.check().map_err(Problem::malformed)?;
        let filters: Vec<(UsageColumn, String)> =
            query.filters.iter().filter_map(|(by, value)| Some((by.column()?, clean(value)))).collect();
        let start = query.from_ms.unwrap_or(0);
        let limit = query.limit.unwrap_or(MAX_CALLS).min(MAX_CALLS);
        let (mut at_ms, mut id) = query.place().map_err(Problem::malformed)?;
        let mut calls: Vec<ModelCallRow> = Vec::new();
        for _ in 0..MAX_SLICES {
            let last = if id.is_empty() { at_ms.saturating_sub(1) } else { at_ms };
            let step = within(self.store.model_calls_step(organization, start, last, SLICE_RECORDS)).await?;
            let from_ms = step.map_or(start, |step| step.min(at_ms));
            let room = limit.saturating_sub(calls.len());
            let before = (at_ms, id.as_str());
            // One more than there is room for says that there are more.
            let slice = CallSlice { organization, from_ms, before, filters: &filters, limit: room as u64 + 1 };
            let found = within(self.store.model_calls(&slice)).await?;
            let more = found.len() > room;
            calls.extend(found.into_iter().take(room));
            if more {
                let next = calls.last().map(|call| format!("{}.{}", call.at_ms, call.id));
                return Ok(CallPage { calls, next });
            }
            if step.is_none() {
                return Ok(CallPage { calls, next: None });
            }
            // All of `from_ms` and later is done: an empty id comes before every other one of its time.
            (at_ms, id) = (from_ms, String::new());
        }
        Ok(CallPage { calls, next: Some(format!("{at_ms}.{id}")) })
    }

    /// One record of the organization's, without its texts.
    ///
    /// # Errors
    /// The store failed.
    pub async fn call(&self, organization: &OrganizationId, id: &str) -> Result<Option<ModelCallRow>, Error> {
        within(self.store.model_call(organization, &clean(id))).await
    }
}
