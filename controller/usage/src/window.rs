//! Windows of time, aligned to UTC. Never reads a clock.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::budget::Window;

pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// The part of time in which a budget counts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub start_ms: i64,
    /// `None`: as long as the task.
    pub end_ms: Option<i64>,
}

impl Span {
    pub(crate) fn at(window: Window, now_ms: i64) -> Self {
        let aligned = |length: i64| {
            let start = now_ms.div_euclid(length) * length;
            Self { start_ms: start, end_ms: Some(start + length) }
        };
        match window {
            Window::Minute => aligned(MINUTE_MS),
            Window::Day => aligned(DAY_MS),
            Window::Month => month(now_ms),
            Window::Task => Self { start_ms: 0, end_ms: None },
        }
    }
}

fn month(now_ms: i64) -> Span {
    let first = date(now_ms).first_of_month();
    let next = first.last_of_month().tomorrow().unwrap_or(first);
    Span { start_ms: start_of(first), end_ms: Some(start_of(next)) }
}

/// The day of a time, in UTC.
pub(crate) fn date(now_ms: i64) -> Date {
    let time = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(time).date()
}

/// The first millisecond of a day, in UTC.
pub(crate) fn start_of(day: Date) -> i64 {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_or(0, Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let now = at("2028-02-29T23:59:59.5Z");
        for (window, start, end) in [
            (Window::Minute, "2028-02-29T23:59:00Z", "2028-03-01T00:00:00Z"),
            (Window::Day, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Window::Month, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ] {
            assert_eq!(Span::at(window, now), Span { start_ms: at(start), end_ms: Some(at(end)) }, "{window:?}");
        }
        assert_eq!(Span::at(Window::Month, at("2026-12-31T00:00:00Z")).end_ms, Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(Span::at(Window::Task, now).end_ms, None);
    }
}
