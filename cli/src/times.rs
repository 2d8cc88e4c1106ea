//! Points in time and the time since then, for people. Times of day are UTC, as in the server's log.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: i64 = 86_400;

/// The time now as a Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// A point in time and how long ago it was: `12:03:04 UTC (3 min)`, with the date if it was another day.
pub(crate) fn since(at_ms: i64, now_ms: i64) -> String {
    let (at, now) = (at_ms.div_euclid(1_000), now_ms.div_euclid(1_000));
    let (day, second) = (at.div_euclid(DAY_S), at.rem_euclid(DAY_S));
    let clock = format!("{:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60);
    // The server's clock may be ahead of ours.
    let ago = length(now.saturating_sub(at).max(0));
    if day == now.div_euclid(DAY_S) { format!("{clock} ({ago})") } else { format!("{} {clock} ({ago})", date(day)) }
}

/// A point in time, in Unix seconds, to the minute: `2026-11-30 12:03 UTC`.
pub(crate) fn on(at_s: i64) -> String {
    let (day, second) = (at_s.div_euclid(DAY_S), at_s.rem_euclid(DAY_S));
    format!("{} {:02}:{:02} UTC", date(day), second / 3_600, second / 60 % 60)
}

/// A length of time in its largest unit.
fn length(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..DAY_S => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / DAY_S, seconds / 3_600 % 24),
    }
}

/// The date of a day since 1970 (the algorithm `civil_from_days` of Howard Hinnant's date algorithms).
fn date(day: i64) -> String {
    const ERA_DAYS: i64 = 146_097;
    // Years begin in March, so that the day that some years lack is the last one.
    let day = day.saturating_add(719_468);
    let (era, of_era) = (day.div_euclid(ERA_DAYS), day.rem_euclid(ERA_DAYS));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let calendar = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(calendar <= 2);
    format!("{year:04}-{calendar:02}-{of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_with_how_long_ago_it_was() {
        // 2026-11-30 12:03:04 UTC.
        let at = 1_796_040_184_000;
        for (later_s, shown) in [
            (0, "12:03:04 UTC (0 s)"),
            (59, "12:03:04 UTC (59 s)"),
            (185, "12:03:04 UTC (3 min)"),
            (7_500, "12:03:04 UTC (2 h 5 min)"),
            (86_400 * 2 + 3_600, "2026-11-30 12:03:04 UTC (2 d 1 h)"),
            (-30, "12:03:04 UTC (0 s)"),
        ] {
            assert_eq!(since(at, at + later_s * 1_000), shown);
        }
        for (day, shown) in [(0, "1970-01-01"), (-1, "1969-12-31"), (11_016, "2000-02-29"), (20_787, "2026-11-30")] {
            assert_eq!(date(day), shown);
        }
    }
}
