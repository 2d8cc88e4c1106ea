//! Sums over the records of calls, for one slice of time at once: the caller asks for so much time that a slice has a
//! bounded number of records, and adds the slices up.

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Row, query_as, query_scalar};

use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// A column by which records are grouped or chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageColumn {
    Key,
    Agent,
    Task,
    Asked,
    Served,
    Upstream,
    Door,
    Ending,
}

impl UsageColumn {
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Key => "api_key",
            Self::Agent => "agent",
            Self::Task => "task",
            Self::Asked => "asked",
            Self::Served => "served",
            Self::Upstream => "upstream",
            Self::Door => "door",
            Self::Ending => "ending",
        }
    }
}

/// The records that are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSlice<'a> {
    pub organization: &'a OrganizationId,
    /// From this time on, in milliseconds.
    pub from_ms: i64,
    /// Before this time.
    pub to_ms: i64,
    pub columns: &'a [UsageColumn],
    /// The length of a part of time, if times are grouped.
    pub bucket_ms: Option<i64>,
    pub filters: &'a [(UsageColumn, String)],
}

/// The sums of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// The start of the part of time, in milliseconds; 0 if times are not grouped.
    pub bucket_ms: i64,
    /// In the order of the columns.
    pub group: Vec<Option<String>>,
    pub requests: u64,
    pub errors: u64,
    pub input: u64,
    pub cached: u64,
    pub cache_written: u64,
    pub reasoning: u64,
    pub output: u64,
    pub money: u64,
    pub first_tokens: u64,
    pub first_token_ms: u64,
    pub first_token_max_ms: u64,
    pub wall_ms: u64,
    pub wall_max_ms: u64,
}

impl FromRow<'_, AnyRow> for UsageSums {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let texts = row.columns().len().saturating_sub(SUMS.len() + 1);
        Ok(Self {
            bucket_ms: row.try_get("bucket")?,
            group: (1..=texts).map(|column| row.try_get(column)).collect::<Result<_, _>>()?,
            requests: row.count("requests")?,
            errors: row.count("errors")?,
            input: row.count("input")?,
            cached: row.count("cached")?,
            cache_written: row.count("cache_written")?,
            reasoning: row.count("reasoning")?,
            output: row.count("output")?,
            money: row.count("money")?,
            first_tokens: row.count("first_tokens")?,
            first_token_ms: row.count("first_token_ms")?,
            first_token_max_ms: row.count("first_token_max_ms")?,
            wall_ms: row.count("wall_ms")?,
            wall_max_ms: row.count("wall_max_ms")?,
        })
    }
}

/// The sums, and their names.
const SUMS: [(&str, &str); 13] = [
    ("COUNT(*)", "requests"),
    ("SUM(CASE WHEN ending IN ('ok', 'running') THEN 0 ELSE 1 END)", "errors"),
    // A call that runs has in its record what it may come to, not what it has used.
    ("SUM(CASE WHEN ending = 'running' THEN 0 ELSE input END)", "input"),
    ("SUM(cached)", "cached"),
    ("SUM(cache_written)", "cache_written"),
    ("SUM(reasoning)", "reasoning"),
    ("SUM(CASE WHEN ending = 'running' THEN 0 ELSE output END)", "output"),
    ("SUM(CASE WHEN ending = 'running' THEN 0 ELSE money END)", "money"),
    ("COUNT(first_token_ms)", "first_tokens"),
    ("COALESCE(SUM(first_token_ms), 0)", "first_token_ms"),
    ("COALESCE(MAX(first_token_ms), 0)", "first_token_max_ms"),
    ("SUM(wall_ms)", "wall_ms"),
    ("MAX(wall_ms)", "wall_max_ms"),
];

/// The statement. Nothing in it is a caller's text.
fn statement(slice: &UsageSlice<'_>) -> String {
    let bucket = slice.bucket_ms.map_or("0".to_owned(), |length| format!("at_ms / {length} * {length}"));
    let mut sql = format!("SELECT CAST({bucket} AS BIGINT) AS bucket");
    for column in slice.columns {
        sql.push_str(&format!(", {}", column.sql()));
    }
    for (sum, name) in SUMS {
        sql.push_str(&format!(", CAST({sum} AS BIGINT) AS {name}"));
    }
    sql.push_str(" FROM model_usage WHERE organization = $1 AND at_ms >= $2 AND at_ms < $3");
    for (number, (column, _)) in slice.filters.iter().enumerate() {
        sql.push_str(&format!(" AND {} = ${}", column.sql(), number + 4));
    }
    sql.push_str(" GROUP BY 1");
    for number in 0..slice.columns.len() {
        sql.push_str(&format!(", {}", number + 2));
    }
    // A slice without records has no group, not one of nothing.
    sql + " HAVING COUNT(*) > 0"
}

impl Store {
    /// The sums of a slice, in no order.
    pub async fn model_usage(&self, slice: &UsageSlice<'_>) -> Result<Vec<UsageSums>, Error> {
        let mut query = query_as(AssertSqlSafe(statement(slice)));
        query = query.bind(slice.organization.as_str()).bind(slice.from_ms).bind(slice.to_ms);
        for (_, value) in slice.filters {
            query = query.bind(&**value);
        }
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// The time of the record that `records` others of the organization come before, from `from_ms` on and before
    /// `to_ms`; `None` if there are not so many.
    pub async fn model_usage_step(
        &self,
        organization: &OrganizationId,
        from_ms: i64,
        to_ms: i64,
        records: u64,
    ) -> Result<Option<i64>, Error> {
        let sql = "SELECT at_ms FROM model_usage WHERE organization = $1 AND at_ms >= $2 AND at_ms < $3 \
                   ORDER BY at_ms LIMIT 1 OFFSET $4";
        let query = query_scalar(sql).bind(organization.as_str()).bind(from_ms).bind(to_ms).bind(signed(records));
        Ok(query.fetch_optional(&self.pool).await?)
    }
}
