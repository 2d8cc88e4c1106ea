//! Questions about what was used: which records, grouped how, in which order.

use std::str::FromStr;

use cofferdam_store::UsageColumn;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::budget::cut;
use crate::window::{DAY_MS, HOUR_MS, MINUTE_MS};

/// The most rows of an answer.
pub const MAX_ROWS: usize = 10_000;

/// A thing to group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Key,
    Agent,
    Task,
    /// The model that was asked for.
    Model,
    /// The model that answered.
    Served,
    Upstream,
    Door,
    Ending,
    Minute,
    Hour,
    Day,
    Month,
}

impl By {
    pub const ALL: [Self; 12] = [
        Self::Key,
        Self::Agent,
        Self::Task,
        Self::Model,
        Self::Served,
        Self::Upstream,
        Self::Door,
        Self::Ending,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Month,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Agent => "agent",
            Self::Task => "task",
            Self::Model => "model",
            Self::Served => "served",
            Self::Upstream => "upstream",
            Self::Door => "door",
            Self::Ending => "ending",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The store's column; `None` for a time.
    pub(crate) const fn column(self) -> Option<UsageColumn> {
        Some(match self {
            Self::Key => UsageColumn::Key,
            Self::Agent => UsageColumn::Agent,
            Self::Task => UsageColumn::Task,
            Self::Model => UsageColumn::Asked,
            Self::Served => UsageColumn::Served,
            Self::Upstream => UsageColumn::Upstream,
            Self::Door => UsageColumn::Door,
            Self::Ending => UsageColumn::Ending,
            Self::Minute | Self::Hour | Self::Day | Self::Month => return None,
        })
    }

    /// The length of the part of time that the store groups by; days make up months.
    pub(crate) const fn bucket_ms(self) -> Option<i64> {
        match self {
            Self::Minute => Some(MINUTE_MS),
            Self::Hour => Some(HOUR_MS),
            Self::Day | Self::Month => Some(DAY_MS),
            _ => None,
        }
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|by| by.name() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|by| by.name()).collect();
            format!("{:?} is none of {}", cut(text, 40), names.join(", "))
        })
    }
}

/// The order of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By the groups' values, times first.
    #[default]
    Group,
    /// The most requests first.
    Requests,
    /// The most tokens first.
    Tokens,
    /// The most money first.
    Money,
}

/// A question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// From this time on, as Unix time in milliseconds; `None` from the oldest record on.
    pub from_ms: Option<i64>,
    /// Before this time; `None` up to now.
    pub to_ms: Option<i64>,
    /// Several at once; of the times one.
    pub by: Vec<By>,
    /// Values that records must have. Not of times.
    pub filters: Vec<(By, String)>,
    pub order: Order,
    /// The most rows; `None` for [`MAX_ROWS`].
    pub limit: Option<usize>,
}

impl UsageQuery {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let times = self.by.iter().filter(|by| by.column().is_none()).count();
        if times > 1 {
            return Err("Only one of minute, hour, day and month can be grouped by.".to_owned());
        }
        if self.by.iter().enumerate().any(|(at, by)| self.by.iter().skip(at + 1).any(|other| other == by)) {
            return Err("A thing can be grouped by only once.".to_owned());
        }
        if let Some((by, _)) = self.filters.iter().find(|(by, _)| by.column().is_none()) {
            return Err(format!("`{}` is no filter; use from and to.", by.name()));
        }
        if self.filters.len() > By::ALL.len() {
            return Err("Too many filters.".to_owned());
        }
        if self.from_ms.zip(self.to_ms).is_some_and(|(from, to)| from > to) {
            return Err("`from` is after `to`.".to_owned());
        }
        if self.limit.is_some_and(|limit| limit == 0 || limit > MAX_ROWS) {
            return Err(format!("`limit` is 1 to {MAX_ROWS}."));
        }
        Ok(())
    }
}
