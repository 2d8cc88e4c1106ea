//! `/v1/usage`: the calls of models, summed up, as JSON or as CSV.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_usage::{Accounts, By, Ending, Order, UsageQuery, UsageRow, UsageTable, dollars};
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::refusals::InvalidValue;

const CSV: &str = "text/csv";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Json,
    Csv,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// From this time on: an RFC 3339 time, a date (UTC), or Unix time in seconds. Without it, from the oldest record on.
    from: Option<String>,
    /// Before this time; a date is meant with the whole day. Without it, up to now.
    to: Option<String>,
    /// Groups with commas between them: key, agent, task, model (asked for), served, upstream, door, ending, and one of
    /// minute, hour, day, month.
    group_by: Option<String>,
    /// Only the calls of the key with this id.
    key: Option<String>,
    /// Only the calls for this agent.
    agent: Option<String>,
    /// Only the calls of this task.
    task: Option<String>,
    /// Only calls that asked for this name.
    model: Option<String>,
    /// Only calls that this model answered.
    served: Option<String>,
    upstream: Option<String>,
    door: Option<String>,
    ending: Option<String>,
    /// The order of the rows.
    #[param(inline)]
    order: Option<Order>,
    /// The most rows.
    limit: Option<usize>,
    /// `csv`, or `json`; without it, as `Accept` says.
    #[param(inline)]
    format: Option<Format>,
}

/// Calls, summed up.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    rows: Vec<UsageSum>,
    /// Rows that were left out.
    left_out: usize,
}

/// The sums of a group.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageSum {
    /// The values that the group has in common, by what was grouped by.
    group: BTreeMap<&'static str, Option<String>>,
    requests: u64,
    /// Requests that did not end well.
    errors: u64,
    /// All tokens that went in, those of the caches too.
    input_tokens: u64,
    cached_tokens: u64,
    cache_written_tokens: u64,
    /// All tokens that came out, those of thinking too.
    output_tokens: u64,
    reasoning_tokens: u64,
    /// US dollars as a decimal text.
    cost_usd: String,
    first_token_avg_ms: Option<u64>,
    first_token_max_ms: Option<u64>,
    wall_avg_ms: u64,
    wall_max_ms: u64,
}

impl Usage {
    fn of(table: UsageTable) -> Self {
        let UsageTable { by, rows, left_out } = table;
        let sum = |row: UsageRow| UsageSum {
            group: by.iter().map(|by| by.name()).zip(row.group).collect(),
            requests: row.requests,
            errors: row.errors,
            input_tokens: row.input,
            cached_tokens: row.cached,
            cache_written_tokens: row.cache_written,
            output_tokens: row.output,
            reasoning_tokens: row.reasoning,
            cost_usd: dollars(row.money),
            first_token_avg_ms: row.first_token_avg_ms,
            first_token_max_ms: row.first_token_max_ms,
            wall_avg_ms: row.wall_avg_ms,
            wall_max_ms: row.wall_max_ms,
        };
        Self { rows: rows.into_iter().map(sum).collect(), left_out }
    }
}

impl Asked {
    fn query(&self) -> Result<UsageQuery, Problem> {
        let groups =
            self.group_by.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
        sensible(&self.ending, (&self.from, &self.to))?;
        let by = groups.map(str::parse).collect::<Result<Vec<By>, _>>();
        let filters = [
            (By::Key, &self.key),
            (By::Agent, &self.agent),
            (By::Task, &self.task),
            (By::Model, &self.model),
            (By::Served, &self.served),
            (By::Upstream, &self.upstream),
            (By::Door, &self.door),
            (By::Ending, &self.ending),
        ];
        Ok(UsageQuery {
            from_ms: self
                .from
                .as_deref()
                .map(|text| time(text, false))
                .transpose()
                .map_err(|why| invalid("from", &why))?,
            to_ms: self.to.as_deref().map(|text| time(text, true)).transpose().map_err(|why| invalid("to", &why))?,
            by: by.map_err(|why| invalid("group_by", &why))?,
            filters: filters.into_iter().filter_map(|(by, value)| Some((by, value.clone()?))).collect(),
            order: self.order.unwrap_or_default(),
            limit: self.limit,
        })
    }
}

/// True if the answer is to be CSV.
pub(super) fn wants_csv(format: Option<Format>, headers: &HeaderMap) -> bool {
    let accepts = || headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains(CSV));
    format.map_or_else(accepts, |format| format == Format::Csv)
}

/// An answer that a browser saves under this name.
pub(super) fn csv(text: String, name: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(saved) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, saved);
    }
    response
}

pub(super) fn invalid(field: &str, why: &str) -> Problem {
    Problem::invalid(format!("{field}: {why}"))
}

/// A time in milliseconds; `end`: a date is meant with its whole day.
pub(super) fn time(text: &str, end: bool) -> Result<i64, String> {
    let wrong = || {
        "an RFC 3339 time such as 2026-11-30T12:00:00Z, a date such as 2026-11-30, or Unix time in seconds".to_owned()
    };
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000).ok_or_else(wrong);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let day: Date = text.parse().map_err(|_| wrong())?;
    let start = day.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp();
    let time = if end { start.checked_add(SignedDuration::from_hours(24)).map_err(|_| wrong())? } else { start };
    Ok(time.as_millisecond())
}

/// Refuses a question that can have no answer: an ending that there is not, and an end before its start.
pub(super) fn sensible(ending: &Option<String>, (from, to): (&Option<String>, &Option<String>)) -> Result<(), Problem> {
    if let Some(ending) = ending
        && !Ending::ALL.iter().any(|known| known.name() == ending)
    {
        let known: Vec<&str> = Ending::ALL.iter().map(|known| known.name()).collect();
        return Err(invalid("ending", &format!("one of {}", known.join(", "))));
    }
    let at = |text: &Option<String>, end| text.as_deref().and_then(|text| time(text, end).ok());
    if let (Some(from), Some(to)) = (at(from, false), at(to, true))
        && from >= to
    {
        return Err(invalid("to", "has to be after `from`"));
    }
    Ok(())
}

/// Sum up the organization's calls of models.
#[utoipa::path(get, path = "/v1/usage", tag = "models", params(Asked),
    responses((status = 200, description = "JSON, or CSV", content((Usage = "application/json"), (String = "text/csv"))),
    InvalidValue))]
pub(super) async fn get_usage(
    State(accounts): State<Arc<Accounts>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let table = accounts.query(&caller.organization, &asked.query()?).await?;
    if wants_csv(asked.format, &headers) {
        return Ok(csv(table.csv(), "usage.csv"));
    }
    Ok(Json(Usage::of(table)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_times_and_numbers() {
        let day = 1_795_996_800_000;
        for (text, end, expected) in [
            ("2026-11-30", false, Some(day)),
            ("2026-11-30", true, Some(day + 86_400_000)),
            ("2026-11-30T00:00:00Z", true, Some(day)),
            ("2026-11-30T02:00:00+02:00", false, Some(day)),
            ("1795996800", false, Some(day)),
            ("yesterday", false, None),
            ("2026-13-01", false, None),
            ("9999-12-31", true, None),
            ("99999999999999999999", false, None),
            ("9223372036854775807", false, None),
            ("", false, None),
        ] {
            assert_eq!(time(text, end).ok(), expected, "{text} {end}");
        }
    }

    #[test]
    fn a_question_is_read_from_the_query() {
        let asked = Asked {
            group_by: Some("model, day".into()),
            key: Some("key_a".into()),
            from: Some("2026-11-30".into()),
            ..Asked::default()
        };
        let query = asked.query().unwrap();
        assert_eq!((query.by, query.filters), (vec![By::Model, By::Day], vec![(By::Key, "key_a".to_owned())]));
        for (from, to, ending, field) in [
            (None, None, Some("failed"), "ending: one of ok, refused"),
            (Some("2026-12-01"), Some("2026-11-30"), None, "to:"),
            (Some("1795996800"), Some("1795996800"), None, "to:"),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let asked = Asked { from: text(from), to: text(to), ending: text(ending), ..Asked::default() };
            assert!(asked.query().unwrap_err().detail.starts_with(field));
        }
        let day = Asked { from: Some("2026-11-30".into()), to: Some("2026-11-30".into()), ..Asked::default() };
        assert!(day.query().is_ok());
        let wrong = Asked { group_by: Some("model,colour".into()), ..Asked::default() };
        assert!(wrong.query().unwrap_err().detail.contains("group_by"));
        let mut headers = HeaderMap::new();
        assert!(!wants_csv(None, &headers));
        headers.insert(ACCEPT, HeaderValue::from_static("text/csv"));
        assert!(wants_csv(None, &headers));
        assert!(!wants_csv(Some(Format::Json), &headers));
    }
}
