//! Single records of calls, newest first, one slice of time at once: a slice has a bounded number of records, also where a
//! filter fits few of them.

use std::borrow::Cow;

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Row, query_as, query_scalar};

use super::usage::ModelCallRow;
use super::usage_query::UsageColumn;
use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// The records that are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSlice<'a> {
    pub organization: &'a OrganizationId,
    /// From this time on, in milliseconds.
    pub from_ms: i64,
    /// Before this record, by time and id.
    pub before: (i64, &'a str),
    pub filters: &'a [(UsageColumn, String)],
    pub limit: u64,
}

impl FromRow<'_, AnyRow> for ModelCallRow {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            organization: row.id("organization")?,
            at_ms: row.try_get("at_ms")?,
            key: row.try_get("api_key")?,
            agent: row.try_get("agent")?,
            task: row.try_get("task")?,
            door: Cow::Owned(row.try_get("door")?),
            asked: row.try_get("asked")?,
            served: row.try_get("served")?,
            upstream: row.try_get("upstream")?,
            tries: row.count("tries")?,
            input: row.count("input")?,
            cached: row.count("cached")?,
            cache_written: row.count("cache_written")?,
            reasoning: row.count("reasoning")?,
            output: row.count("output")?,
            money: row.count("money")?,
            first_token_ms: row.try_get::<Option<i64>, _>("first_token_ms")?.map(crate::columns::unsigned),
            wall_ms: row.count("wall_ms")?,
            ending: Cow::Owned(row.try_get("ending")?),
            estimated: row.flag("estimated")?,
            content: None,
        })
    }
}

/// The columns of a record.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, organization, at_ms, api_key, agent, task, door, asked, served, upstream, tries, input, cached, \
             cache_written, reasoning, output, money, first_token_ms, wall_ms, ending, estimated FROM model_usage ",
            $rest
        )
    };
}

/// The statement. Nothing in it is a caller's text.
fn statement(slice: &CallSlice<'_>) -> String {
    let mut sql =
        select!("WHERE organization = $1 AND at_ms >= $2 AND at_ms <= $3 AND (at_ms < $3 OR id < $4)").to_owned();
    for (number, (column, _)) in slice.filters.iter().enumerate() {
        sql.push_str(&format!(" AND {} = ${}", column.sql(), number + 6));
    }
    sql + " ORDER BY at_ms DESC, id DESC LIMIT $5"
}

impl Store {
    /// One record of the organization's, without its texts.
    pub async fn model_call(&self, organization: &OrganizationId, id: &str) -> Result<Option<ModelCallRow>, Error> {
        let query = query_as(select!("WHERE organization = $1 AND id = $2")).bind(organization.as_str()).bind(id);
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// The records of a slice, the newest first, without their texts.
    pub async fn model_calls(&self, slice: &CallSlice<'_>) -> Result<Vec<ModelCallRow>, Error> {
        let (at_ms, id) = slice.before;
        let mut query = query_as(AssertSqlSafe(statement(slice)));
        query = query.bind(slice.organization.as_str()).bind(slice.from_ms).bind(at_ms).bind(id);
        query = query.bind(signed(slice.limit));
        for (_, value) in slice.filters {
            query = query.bind(&**value);
        }
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// The time of the record that comes `records` before the organization's newest up to `to_ms`, from `from_ms` on;
    /// `None` if there are not so many.
    pub async fn model_calls_step(
        &self,
        organization: &OrganizationId,
        from_ms: i64,
        to_ms: i64,
        records: u64,
    ) -> Result<Option<i64>, Error> {
        let sql = "SELECT at_ms FROM model_usage WHERE organization = $1 AND at_ms >= $2 AND at_ms <= $3 \
                   ORDER BY at_ms DESC LIMIT 1 OFFSET $4";
        let query = query_scalar(sql).bind(organization.as_str()).bind(from_ms).bind(to_ms).bind(signed(records));
        Ok(query.fetch_optional(&self.pool).await?)
    }
}
